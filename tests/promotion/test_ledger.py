import json
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RegistryError, UsageError
from pipeline.promotion.ledger import GENESIS, current_champion, evidence_of, next_deployment, quoted, row_hash, verify
from pipeline.tables import COMPARISONS, DEPLOYMENTS

AT = datetime(2020, 11, 1, tzinfo=UTC)
NAMES = DEPLOYMENTS.schema.names()


def a_move(ledger: pl.DataFrame, version: int, model_name: str = "pool-outcome", **other) -> pl.DataFrame:
    told = {
        "model_name": model_name,
        "action": "promote",
        "version": version,
        "model_sha256": f"{version:064x}",
        "actor": "test",
        "reason": "beats all 3 baselines",
        "evidence": "[]",
        "at": AT + timedelta(hours=ledger.height),
    }
    return next_deployment(ledger, **{**told, **other})


def a_ledger(*moves: tuple[int, str]) -> pl.DataFrame:
    ledger = DEPLOYMENTS.empty()
    for version, model_name in moves:
        ledger = pl.concat([ledger, a_move(ledger, version, model_name)])
    return ledger


WHOLE = a_ledger((1, "pool-outcome"), (2, "pool-outcome"), (7, "pool-price"), (3, "pool-outcome"), (2, "pool-outcome"))


def other_than(value: object) -> object:
    """Another value of the same kind."""
    if isinstance(value, int):
        return value + 1
    if isinstance(value, datetime):
        return value + timedelta(microseconds=1)
    return 1 if value is None else str(value)[:-1] + ("x" if str(value)[-1:] != "x" else "y")


def test_an_untouched_ledger_is_whole():
    verify(WHOLE)
    verify(DEPLOYMENTS.empty())


def test_rows_are_numbered_bound_and_know_what_they_replace():
    assert WHOLE.schema == DEPLOYMENTS.schema
    assert WHOLE["sequence"].to_list() == [1, 2, 3, 4, 5]
    assert WHOLE["previous_hash"].to_list() == [GENESIS, *WHOLE["row_hash"].to_list()[:-1]]
    assert WHOLE["previous_version"].to_list() == [None, 1, None, 2, 3]


def test_the_hash_is_the_sha256_of_the_canonical_json_and_so_stays_what_it_is():
    said = (
        '{"action":"promote","actor":"test","alias":"champion","evidence":"[]",'
        '"known_at":"2020-11-01T00:00:00.000000+00:00",'
        f'"model_name":"pool-outcome","model_sha256":"{1:064x}","previous_hash":"{0:064x}",'
        '"previous_version":null,"reason":"beats all 3 baselines","sequence":1,"version":1}'
    )
    assert WHOLE["row_hash"][0] == sha256(said.encode()).hexdigest()
    row = WHOLE.row(1, named=True)
    assert row_hash(row) == row_hash(dict(reversed(row.items())))


@given(row=st.integers(0, WHOLE.height - 1), name=st.sampled_from(NAMES))
@settings(deadline=None)
def test_changing_any_single_cell_is_caught(row, name):
    values = WHOLE[name].to_list()
    values[row] = other_than(values[row])
    changed = WHOLE.with_columns(pl.Series(name, values, dtype=WHOLE.schema[name]))
    with pytest.raises(RegistryError, match="verified the ledger: row"):
        verify(changed)


@given(st.integers(0, WHOLE.height - 1), st.sampled_from([n for n in NAMES if n not in {"sequence", "row_hash"}]))
@settings(deadline=None)
def test_changing_a_cell_and_its_own_hash_is_caught_unless_it_is_the_last_row(row, name):
    forged = WHOLE.row(row, named=True)
    forged[name] = other_than(forged[name])
    forged["row_hash"] = row_hash(forged)
    changed = pl.concat([WHOLE[:row], pl.DataFrame([forged], schema=DEPLOYMENTS.schema), WHOLE[row + 1 :]])
    with pytest.raises(RegistryError):
        verify(changed, head=WHOLE["row_hash"][-1])
    if row < WHOLE.height - 1:
        with pytest.raises(RegistryError, match=f"row {row + 1 if name == 'previous_hash' else row + 2} "):
            verify(changed)


@given(st.permutations(range(WHOLE.height)))
@settings(deadline=None)
def test_any_other_order_is_caught(order):
    if order == sorted(order):
        verify(WHOLE[order])
        return
    with pytest.raises(RegistryError, match="dropped, moved or slipped in"):
        verify(WHOLE[order])


@given(st.sets(st.integers(0, WHOLE.height - 1), min_size=1))
@settings(deadline=None)
def test_dropping_rows_is_caught_when_somebody_remembers_the_head(dropped):
    left = WHOLE[[i for i in range(WHOLE.height) if i not in dropped]]
    with pytest.raises(RegistryError):
        verify(left, head=WHOLE["row_hash"][-1])


@given(st.integers(0, WHOLE.height - 2))
@settings(deadline=None)
def test_dropping_a_row_that_is_not_the_last_is_caught_by_the_chain_alone(dropped):
    with pytest.raises(RegistryError, match="dropped, moved or slipped in"):
        verify(pl.concat([WHOLE[:dropped], WHOLE[dropped + 1 :]]))


@given(st.integers(0, WHOLE.height - 1), st.integers(0, WHOLE.height), st.booleans())
@settings(deadline=None)
def test_slipping_a_row_in_is_caught(copied, place, is_renumbered):
    row = WHOLE.row(copied, named=True)
    if is_renumbered:
        row["sequence"] = place + 1
        row["row_hash"] = row_hash(row)
    slipped = pl.concat([WHOLE[:place], pl.DataFrame([row], schema=DEPLOYMENTS.schema), WHOLE[place:]])
    if copied == place == WHOLE.height:
        return
    with pytest.raises(RegistryError, match=f"row {place + 1} |row {place + 2} "):
        verify(slipped)


def test_a_ledger_written_anew_is_caught_by_the_head():
    anew = a_ledger((1, "pool-outcome"), (9, "pool-outcome"))
    verify(anew)
    with pytest.raises(RegistryError, match="written anew"):
        verify(anew, head=WHOLE["row_hash"][-1])


def test_a_table_with_other_columns_is_no_ledger():
    with pytest.raises(RegistryError, match="expected columns"):
        verify(WHOLE.drop("actor"))


def test_a_broken_ledger_is_not_made_longer():
    broken = WHOLE.with_columns(version=pl.lit(4, pl.Int64))
    with pytest.raises(RegistryError, match="row 1 "):
        a_move(broken, 5)


def test_the_champion_is_what_the_last_move_of_that_model_says():
    champion = current_champion(WHOLE, "pool-outcome")
    assert champion is not None
    assert (champion.version, champion.sequence, champion.row_hash) == (2, 5, WHOLE["row_hash"][4])
    assert current_champion(WHOLE, "pool-nothing") is None


@given(st.permutations(range(WHOLE.height)))
@settings(max_examples=10, deadline=None)
def test_the_champion_and_the_next_row_do_not_depend_on_the_order_a_lake_gives(order):
    assert current_champion(WHOLE[order], "pool-outcome") == current_champion(WHOLE, "pool-outcome")
    assert a_move(WHOLE[order], 4).equals(a_move(WHOLE, 4))


def test_evidence_must_be_json_and_times_utc():
    with pytest.raises(UsageError, match="JSON"):
        a_move(WHOLE, 4, evidence="because")
    with pytest.raises(UsageError, match="UTC"):
        a_move(WHOLE, 4, at=datetime(2020, 11, 1, tzinfo=timezone(timedelta(hours=1))))


@pytest.mark.parametrize(("name", "most"), [("reason", 1_000), ("actor", 200)])
def test_a_text_longer_than_anybody_reads_is_refused(name, most):
    a_move(WHOLE, 4, **{name: "x" * most})
    with pytest.raises(UsageError, match=f"{name} may have {most:,} characters, found {most + 1:,}"):
        a_move(WHOLE, 4, **{name: "x" * (most + 1)})


def test_evidence_tells_how_it_was_reached_and_what_was_lost():
    row = dict.fromkeys(COMPARISONS.schema.names())
    row |= {"comparison_id": "c1", "procedure": "trial", "wealth": 25.0, "wealth_needed": 20.0, "alpha": 0.05}
    (told,) = json.loads(evidence_of(pl.DataFrame([row], schema=COMPARISONS.schema)))
    assert (told["procedure"], told["wealth"], told["wealth_needed"], told["alpha"]) == ("trial", 25.0, 20.0, 0.05)
    assert (told["loss_challenger"], told["loss_opponent"]) == (None, None)


def test_evidence_keeps_the_figures_of_the_comparisons():
    row = dict.fromkeys(COMPARISONS.schema.names())
    row |= {"comparison_id": "c1", "opponent": "baseline:prior", "n_pools": 40, "gain_pct": 12.5, "is_passed": True}
    told = json.loads(evidence_of(pl.DataFrame([row], schema=COMPARISONS.schema)))
    assert told[0]["comparison_id"] == "c1"
    assert told[0]["gain_pct"] == 12.5


@pytest.mark.parametrize(
    "said", ["no\nsuch\tartifact", "\x1b[31m" + "x" * 5_000, "\u202etrap\u2028", "RegistryError('{}')"]
)
def test_what_a_registry_answered_never_hinders_a_move(said):
    row = a_move(DEPLOYMENTS.empty(), 1, reason=f"artifact: {quoted(said)}; " * 3)
    assert row["reason"][0].startswith("artifact: ")
