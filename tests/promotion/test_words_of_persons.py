"""A person's word on a model: what becomes of it in ledger and registry, and what is said where it makes no sense."""

import json
import re

import pytest
from command_bench import Unregistered, in_charge
from training_runs import AT, a_run

from pipeline.cli.screen import user_name
from pipeline.errors import RegistryError, UsageError
from pipeline.promotion.moves import Move, Moves
from pipeline.tables import DEPLOYMENTS


@pytest.mark.slow
def test_a_word_is_a_row_and_an_alias_at_once(run, lake, registry, model_name, up):
    one, two, third = (registry.register(a_run(seed, model_name)) for seed in (0, 1, 2))
    in_charge(lake, registry, one, two)
    aliases = lambda: dict(registry.pointers(model_name).aliases)  # noqa: E731
    told = run("rollback", "--reason", "it calls everything a rug", "--model", model_name).stdout
    assert "Version 1 is in charge." in told
    assert aliases() == {"champion": 1}
    run("pin", model_name, "--reason", "holidays")
    run("veto", "3", "--reason", "trained on a broken day", "--model", model_name)
    run("approve", "2", "--reason", "the feed was broken, not the model", "--model", model_name)
    run("unpin", model_name, "--reason", "back")
    rows = lake.scan(DEPLOYMENTS).sort("sequence").collect()
    assert rows["action"].to_list() == ["promote", "promote", "rollback", "pin", "veto", "approve", "unpin"]
    assert set(rows["actor"][2:]) == {f"person:{user_name()}"}
    assert rows["reason"][4] == "trained on a broken day"
    assert rows["model_sha256"][4] == third.model_sha256
    found = {v.version: v.tags["standing"] for v in registry.versions(model_name)}
    assert (found[2], found[3]) == ("approved", "vetoed")
    stands = json.loads(run("status", "--json").stdout)["standings"][model_name]
    assert (stands["pinned"], stands["approved"], stands["vetoed"]) == (False, [2], [3])
    run("rollback", "--to", "2", "--reason", "better after all", "--model", model_name)
    assert aliases() == {"champion": 2}
    run("audit")
    with pytest.raises(RegistryError, match=r"approve version 9 .* has no such version; versions there are: 1, 2, 3"):
        run("approve", "9", "--reason", "x", "--model", model_name)
    with pytest.raises(RegistryError, match="has no such version; in charge before were 1"):
        run("rollback", "--to", "9", "--reason", "x", "--model", model_name)


def test_a_word_said_while_the_registry_is_away_waits_for_it(run, lake, down):
    in_charge(lake, None, Unregistered(1), Unregistered(2))
    told = run("rollback", "--reason", "it is wrong").stdout
    assert "The aliases follow at the next reconciliation" in told
    assert Moves(lake, None).standing("pool-outcome").champion.version == 1
    with pytest.raises(UsageError, match="registry, which knows"):
        run("approve", "9", "--reason", "good")


def test_a_word_needs_a_reason_and_sense(run, lake, down):
    for word in (("pin",), ("veto", "1"), ("rollback",)):
        run(*word, exit_code=2)
    with pytest.raises(UsageError, match="no champion yet"):
        run("pin", "--reason", "x")
    with pytest.raises(UsageError, match="'pool-outcome': nobody is in charge, so there is nothing to go back from"):
        run("rollback", "--reason", "x")
    in_charge(lake, None, Unregistered(1))
    with pytest.raises(UsageError, match=r"wrote nothing into the ledger: the reason must be one line .*, found ' '"):
        run("pin", "--reason", " ")
    with pytest.raises(UsageError, match="one line"):
        run("pin", "--reason", "two\nlines")
    with pytest.raises(UsageError, match="rollback` throws it out"):
        run("veto", "1", "--reason", "x")
    assert lake.scan(DEPLOYMENTS).collect().height == 1


@pytest.mark.parametrize("asked", [(), ("--to", "9")])
def test_where_nobody_was_in_charge_before_a_rollback_is_told_what_helps(run, lake, down, asked):
    in_charge(lake, None, Unregistered(1))
    Moves(lake, None).move(Move("pool-outcome", "challenge", 9, f"{9:064x}", "gate", "may be better"), at=AT)
    with pytest.raises(UsageError) as raised:
        run("rollback", *asked, "--reason", "x")
    assert "nobody was in charge before version 1: train (`poolcast models train`)" in str(raised.value)
    assert "--to" not in str(raised.value)


def test_where_those_before_were_thrown_out_a_rollback_names_them(run, lake, down):
    in_charge(lake, None, Unregistered(1), Unregistered(2))
    run("rollback", "--reason", "it is wrong")
    words = "keeps nobody to go back to; in charge before were 2: name one with --to"
    with pytest.raises(UsageError, match=words):
        run("rollback", "--reason", "so is this")


@pytest.mark.parametrize("word", [("rollback", "--model"), ("pin",), ("unpin",), ("veto", "1", "--model")])
def test_a_word_on_a_model_that_nobody_knows_says_which_there_are(run, lake, down, word):
    in_charge(lake, None, Unregistered(1))
    words = r"nobody knows a model 'pool-outcom'; known are \['pool-outcome', 'pool-return'\]"
    with pytest.raises(UsageError, match=words):
        run(*word, "pool-outcom", "--reason", "x")
    assert lake.scan(DEPLOYMENTS).collect().height == 1


def test_the_status_says_who_pinned_a_model_when_and_why(run, lake, down):
    in_charge(lake, None, Unregistered(1))
    run("pin", "--reason", "an older one")
    run("unpin", "--reason", "back")
    run("pin", "--reason", "[red]holidays[/red]")
    shown = " ".join(run("status").stdout.split())
    by = f"by person:{user_name()}: [red]holidays[/red]. Nothing moves by itself until `poolcast promotion unpin`."
    assert re.search(r"pool-outcome: pinned since \d{4}-\d\d-\d\d \d\d:\d\d UTC " + re.escape(by), shown)
    assert "an older one" not in shown
    run("unpin", "--reason", "back again")
    assert "pinned" not in run("status").stdout
