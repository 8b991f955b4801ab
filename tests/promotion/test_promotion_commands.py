"""`poolcast promotion`: what a person sees and says, and what becomes of it in the ledger and the registry."""

import getpass
import json

import polars as pl
import pytest
from command_bench import Run, Unregistered, a_comparison, in_charge
from deltalake import write_deltalake
from training_runs import AT, a_model, a_run, model_file

from pipeline.cli.promotion import user_name
from pipeline.errors import RegistryError, UsageError
from pipeline.features.definitions import feature_definitions
from pipeline.features.registry import named
from pipeline.lake import Lake
from pipeline.promotion.cache import load_in_charge
from pipeline.promotion.chain import row_hash
from pipeline.promotion.ledger import evidence_of, next_deployment
from pipeline.promotion.moves import Move, Moves
from pipeline.promotion.versions import LoadedModel, RegisteredVersion, proven
from pipeline.tables import COMPARISONS, DEPLOYMENTS


def test_the_status_says_who_stands_where_since_when_and_why(run, lake):
    assert run("status").stdout.strip() == "Nobody is in charge."
    in_charge(lake, None, Unregistered(1), Unregistered(2), reason="beats \N{LEFTWARDS ARROW} [red]all[/red] of them")
    shown = run("status").stdout
    assert "champion   2        2020-11-01 00:00  gate  beats ← [red]all[/red] of them" in shown
    assert "former     1" in shown
    told = json.loads(run("status", "--json").stdout)
    assert set(told) == {"deployments", "comparisons", "standings"}
    stands = told["standings"]["pool-outcome"]
    assert (stands["champion"]["version"], stands["former"]["version"], stands["shadow"]) == (2, 1, None)
    assert [row["version"] for row in told["deployments"]] == [1, 2]


def test_a_long_reason_takes_several_lines_and_the_former_champion_is_not_given_that_of_the_next(run, lake):
    words = " ".join(f"word{place:03}" for place in range(40))
    in_charge(lake, None, Unregistered(1))
    in_charge(lake, None, Unregistered(2), reason=words)
    lines = run("status").stdout.splitlines()
    assert max(len(line) for line in lines if "word" in line) <= 140
    assert " ".join(" ".join(lines).split()).count("word0") == 40, "none of it is cut"
    (former,) = [line for line in lines if "former" in line]
    assert "word" not in former
    assert former.rstrip().endswith("version 2 took its place")


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({}, "features have changed since it learned"),
        ({"feature_definitions": {"age_hours": "0"}}, "of its 1 features 1 is defined otherwise since it learned"),
        ({"feature_definitions": None}, ""),
    ],
    ids=["of before", "of its own", "as it was"],
)
def test_the_status_says_who_cannot_be_asked_any_more(run, lake, folder, tags, why):
    told = {"feature_names": ("age_hours",), **tags}
    if told.get("feature_definitions", 1) is None:
        told["feature_definitions"] = feature_definitions(features=[named("age_hours")])
    made = a_run(**told)
    version = RegisteredVersion.from_tags(
        "pool-outcome", 1, "r", {**made.identity, **made.told_inputs, **made.kind.tags}
    )
    in_charge(lake, None, version)
    deployed = Moves(lake, None).standing("pool-outcome").champion
    assert "cannot be asked" not in run("status").stdout, "of a file that is not in the cache nothing is known"
    load_in_charge(OneVersion(version, made.model_bytes), folder / "model_cache", deployed)
    shown = " ".join(run("status").stdout.split())
    assert (f"version 1, champion, cannot be asked any more: {why}" in shown) == bool(why)
    mute = json.loads(run("status", "--json").stdout)["standings"]["pool-outcome"]["cannot_be_asked"]
    assert set(mute) == ({"champion"} if why else set())


class OneVersion:
    """A registry of one version."""

    def __init__(self, version: RegisteredVersion, model_bytes: bytes) -> None:
        self.version, self.model_bytes = version, model_bytes

    def load(self, *_: object, expected_sha256: str) -> LoadedModel:
        return proven(self.version, self.model_bytes, expected_sha256)


def test_the_history_is_the_ledger_row_by_row(run, lake):
    assert "Nothing has moved" in run("history").stdout
    in_charge(lake, None, Unregistered(1), Unregistered(2))
    rows = json.loads(run("history", "--json").stdout)
    assert [(row["sequence"], row["action"], row["version"], row["previous_version"]) for row in rows] == [
        (1, "promote", 1, None),
        (2, "promote", 2, 1),
    ]
    assert json.loads(run("history", "--model", "pool-return", "--json").stdout) == []
    assert "beats all baselines" in run("history").stdout


def test_a_changed_ledger_is_neither_shown_nor_found_sound(run, lake):
    in_charge(lake, None, Unregistered(1))
    row = lake.scan(DEPLOYMENTS).collect().with_columns(version=pl.lit(2, pl.Int64))
    lake.upsert(DEPLOYMENTS, row)
    for command in ("status", "history"):
        with pytest.raises(RegistryError, match="row 1"):
            run(command)
    found = {each["check"]: each["state"] for each in json.loads(run("audit", "--json", exit_code=1).stdout)}
    assert found == {"chain": "broken", "rules": "unchecked", "evidence": "unchecked", "registry": "unchecked"}


def test_an_audit_without_a_registry_says_what_it_left_out(run, lake, down):
    in_charge(lake, None, Unregistered(1))
    asked, unasked = run("audit", "--offline"), run("audit", exit_code=1)
    for told in (asked, unasked):
        assert "unchecked" in told.stdout
        assert "model files" in " ".join(told.stdout.split())


def test_evidence_that_is_not_on_record_or_says_otherwise_is_found(run, lake):
    in_charge(lake, None, Unregistered(1))
    lost = evidence_of(a_comparison(comparison_id="lost"))
    told = ("pool-outcome", "promote", 2, f"{2:064x}", "gate", "because")
    Moves(lake, None).move(Move(*told, lost), at=AT)
    other = evidence_of(a_comparison(comparison_id="c1", gain_pct=99.0))
    Moves(lake, None).move(Move("pool-outcome", "promote", 3, f"{3:064x}", "gate", "because", other), at=AT)
    found = {each["check"]: each for each in json.loads(run("audit", "--offline", "--json", exit_code=1).stdout)}
    assert found["evidence"]["state"] == "broken"
    assert "row 2: comparison 'lost'" in found["evidence"]["told"]
    assert "row 3: gain_pct of 'c1' is 99.0 here" in found["evidence"]["told"]


def evidence_found(lake: Lake, run: Run, comparisons: pl.DataFrame, told: str, exit_code: int = 1) -> str:
    """What an audit says of the evidence `told`, with these rows in `comparisons`."""
    write_deltalake(lake.root / "comparisons", comparisons.to_arrow(), mode="overwrite")
    Moves(lake, None).move(Move("pool-outcome", "promote", 2, f"{2:064x}", "gate", "because", told), at=AT)
    said = json.loads(run("audit", "--offline", "--json", exit_code=exit_code).stdout)
    found = {each["check"]: each for each in said}
    assert found["evidence"]["state"] == ("broken" if exit_code else "sound")
    return found["evidence"]["told"]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_comparison_that_stands_twice_is_found_whichever_comes_first(run, lake, is_first):
    in_charge(lake, None, Unregistered(1))
    one = a_comparison(comparison_id="c1")
    other = a_comparison(comparison_id="c1", gain_pct=99.0)
    told = evidence_found(lake, run, pl.concat([one, other] if is_first else [other, one]), evidence_of(one))
    assert "2 rows of `comparisons` call themselves 'c1'" in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("opponent", "baseline:nobody"), ("procedure", "harm"), ("loss_challenger", 9.0), ("loss_opponent", 9.0),
        ("wealth", 9.0), ("wealth_needed", 9.0), ("alpha", 0.9), ("n_pools", 9), ("is_passed", None),
    ],
)  # fmt: skip
def test_every_figure_that_a_row_tells_is_compared(run, lake, name, value):
    in_charge(lake, None, Unregistered(1))
    one = a_comparison(comparison_id="c1", procedure="trial", wealth=25.0, wealth_needed=20.0, alpha=0.05)
    forged = one.with_columns(pl.lit(not one["is_passed"][0] if value is None else value).alias(name)).cast(
        dict(COMPARISONS.schema)  # type: ignore[arg-type]
    )
    assert f"row 2: {name} of 'c1'" in evidence_found(lake, run, forged, evidence_of(one))


TRIED = {"procedure": "trial", "wealth": 25.0, "wealth_needed": 20.0, "alpha": 0.05, "is_passed": True}


@pytest.mark.parametrize(
    "by_hours",
    [
        {"n_hours": 9, "wealth": 19.0, "wealth_needed": 20.0, "is_passed": True},
        {"n_hours": 9, "wealth": 19.0, "wealth_needed": 18.0, "is_passed": True},
        {"n_hours": 9, "wealth": "many", "wealth_needed": 20.0, "is_passed": True},
        {"wealth": float("nan")}, {}, 3,
    ],
)  # fmt: skip
def test_a_promotion_whose_proof_by_hours_is_none_is_found(run, lake, by_hours):
    in_charge(lake, None, Unregistered(1))
    one = a_comparison(comparison_id="c1", **TRIED)
    told = json.dumps([{**json.loads(evidence_of(one))[0], "by_hours": by_hours}])
    found = evidence_found(lake, run, one, told)
    assert "row 2 promotes on a trial that by hours proves nothing" in found


def test_rows_from_before_the_proof_by_hours_was_told_stay_sound_beside_those_that_tell_it(run, lake):
    """The first row is as an older version wrote it, the second tells both proofs: the chain holds over both."""
    one = a_comparison(comparison_id="c1", **TRIED)
    Moves(lake, None).move(Move("pool-outcome", "promote", 1, f"{1:064x}", "gate", "because", evidence_of(one)), at=AT)
    told = evidence_of(one, {"n_hours": 9, "wealth": 21.5, "wealth_needed": 20.0, "is_passed": True})
    found = evidence_found(lake, run, one, told, exit_code=0)
    assert found.endswith("with the figures told; the proof by hours is told of 1 of 2 promotions by trial")
    assert "by_hours" not in Moves(lake, None).ledger()["evidence"][0]


def test_a_row_that_tells_less_and_a_mean_taken_in_another_order_stay_sound(run, lake):
    one = a_comparison(comparison_id="c1", loss_challenger=0.1 + 0.2)
    Moves(lake, None).move(Move("pool-outcome", "promote", 1, f"{1:064x}", "gate", "because"), at=AT)
    older = [{key: each[key] for key in ("comparison_id", "opponent", "gain_pct")} for each in one.to_dicts()]
    again = json.loads(evidence_of(one.with_columns(loss_challenger=0.3)))
    evidence_found(lake, run, one, json.dumps([*older, *again]), exit_code=0)


def test_status_says_beside_each_gain_what_was_asked_for(run, lake):
    live = {"procedure": "trial", "wealth": 25.0, "wealth_needed": 578.0, "alpha": 0.00173}
    offline = {"procedure": "offline", "wealth": None, "wealth_needed": None, "alpha": None}
    told = [("o", "pool-outcome", offline), ("r", "pool-return", offline), ("t", "pool-outcome", live)]
    lake.append(COMPARISONS, pl.concat([a_comparison(comparison_id=i, model_name=m, **kept) for i, m, kept in told]))
    shown = [line for line in run("status").stdout.splitlines() if "pool-" in line]
    assert sorted(("pool-return" in line, line.split("│")[-3].strip()) for line in shown) == [
        (False, "a wealth of 578"), (False, "over 5 %"), (True, "over 1 %"),
    ]  # fmt: skip


def test_a_model_that_nobody_knows_has_no_history(run, lake):
    in_charge(lake, None, Unregistered(1))
    with pytest.raises(UsageError, match="nobody knows a model 'pool-outcom'; known are"):
        run("history", "--model", "pool-outcom")


@pytest.mark.slow
def test_a_model_that_nobody_knows_is_not_reconciled(run, lake, registry, model_name, up):
    with pytest.raises(UsageError, match="nobody knows a model"):
        run("reconcile", "--model", model_name)
    registry.register(a_run(model_name=model_name))
    run("reconcile", "--model", model_name)


@pytest.mark.slow
def test_an_audit_says_which_model_the_ledger_tells_nothing_of(run, lake, registry, model_name, up):
    in_charge(lake, registry, registry.register(a_run(0, model_name)))
    found = {each["model_name"]: each["told"] for each in json.loads(run("audit", "--json").stdout)
             if each["check"] == "registry"}  # fmt: skip
    assert found == {
        model_name: "the registry remembers the ledger's last row of it",
        "pool-outcome": "the ledger has no row of it, and the registry remembers none",
        "pool-return": "the ledger has no row of it, and the registry remembers none",
    }


@pytest.mark.slow
def test_a_registry_that_lost_its_memory_is_found_though_no_row_is_missed(run, lake, registry, model_name, client, up):
    one, two = (registry.register(a_run(seed, model_name)) for seed in (0, 1))
    in_charge(lake, registry, one, two)
    client.delete_registered_model_tag(model_name, "ledger_head")

    def found() -> str:
        told = json.loads(run("audit", "--json", exit_code=1).stdout)
        return next(each["told"] for each in told if (each["check"], each["model_name"]) == ("registry", model_name))

    assert found() == "the registry remembers no row, so a cut end cannot be seen"
    rows = lake.scan(DEPLOYMENTS).sort("sequence").collect()
    write_deltalake(lake.root / "deployments", rows.head(1).to_arrow(), mode="overwrite")
    assert found() == "the registry remembers no row, so a cut end cannot be seen"
    assert "remembered no row" in run("reconcile", "--model", model_name).stderr
    run("audit")


def test_a_row_that_breaks_a_rule_is_found_though_its_hash_is_right(run, lake):
    in_charge(lake, None, Unregistered(1))
    row = next_deployment(
        lake.scan(DEPLOYMENTS).collect(), model_name="pool-outcome", action="promote", version=2, approval="none",
        model_sha256=f"{2:064x}", actor="gate", reason="r", evidence="[]", at=AT,
    )  # fmt: skip
    forged = {**row.row(0, named=True), "version": 1}
    forged["row_hash"] = row_hash(forged)
    lake.append(DEPLOYMENTS, pl.DataFrame([forged], schema=DEPLOYMENTS.schema))
    found = {each["check"]: each for each in json.loads(run("audit", "--offline", "--json", exit_code=1).stdout)}
    assert found["chain"]["state"] == "sound"
    assert "row 2, promote version 1: the ledger knows its model file" in found["rules"]["told"]


@pytest.mark.slow
def test_a_sound_record_passes_and_each_damage_is_named(run, lake, registry, model_name, client, tmp_path, up):
    one, two = (registry.register(a_run(seed, model_name)) for seed in (0, 1))
    in_charge(lake, registry, one, two)

    def broken() -> dict[str, str]:
        told = json.loads(run("audit", "--json", exit_code=1).stdout)
        return {each["check"]: each["told"] for each in told if each["state"] == "broken"}

    told = json.loads(run("audit", "--json").stdout)
    assert {each["state"] for each in told} == {"sound"}
    assert {each["check"] for each in told} == {"chain", "rules", "evidence", "registry", "aliases", "files"}
    registry.set_alias(model_name, "champion", 1)
    assert broken() == {"aliases": "champion must be version 2"}
    run("reconcile", "--model", model_name)
    run("audit")
    model_file(tmp_path, a_run(0, model_name).model_bytes).write_bytes(a_model(7))
    assert "hashes to" in broken()["files"]
    registry.remember(model_name, "f" * 64)
    assert "rows were cut off" in broken()["registry"]


def test_the_user_is_whom_the_system_knows_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("LOGNAME", "root-of-all-evil")
    assert getpass.getuser() == "root-of-all-evil"
    assert user_name() != "root-of-all-evil"


def test_no_server_is_made_where_there_never_was_a_registry(run, lake, folder, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("POOLCAST_POSTGRES_URL", raising=False)
    in_charge(lake, None, Unregistered(1))
    assert "there is none yet" in run("pin", "--reason", "x").stdout.replace("\n", " ")
    assert not (folder / "postgres").exists()
