"""The life of a champion through the real assets and the real registry: trials, promotions, faults, rollbacks."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from assets.labels import SPEC as LABELS_SPEC
from pipeline.errors import (
    CommitConflictError,
    LockLostError,
    PoolcastError,
    RegistryAwayError,
    RegistryError,
    StoreAwayError,
    UsageError,
)
from pipeline.promotion.cache import load_in_charge
from pipeline.promotion.chain import verify
from pipeline.promotion.looks import Looks
from pipeline.promotion.registry import Registry
from pipeline.promotion.standing import Deployed, Standing
from pipeline.promotion.versions import LoadedModel
from pipeline.tables import COMPARISONS, PREDICTIONS
from tests.life.life_bench import BEGIN, DAY, HOUR, NAME, NAMES, Life

pytestmark = pytest.mark.slow
GOOD, WEAK, INVERTED = 1.4, 0.2, -1.4


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """A life of its own; whatever happens in it, the ledger is whole and the registry agrees with it."""
    registry = Registry(f"sqlite:///{tmp_path}/registry.db", tmp_path / "artifacts")
    made = Life(tmp_path, registry)
    yield made
    verify(made.moves.ledger())
    stands = made.moves.reconciled(NAME)
    assert stands.champion is not None
    aliases = registry.pointers(NAME).aliases
    assert aliases == {alias: who.version for alias, who in stands.placed.items()}


def test_a_better_challenger_takes_charge_and_the_old_champion_stays_in_shadow(life: Life) -> None:
    weak, good = life.on_trial(WEAK, GOOD)
    day = life.days_until(lambda stands: stands.champion.version == good, first=1, last=8)
    assert day >= 2, "no pool's window is over before its second day"
    assert life.standing().former.version == weak  # type: ignore[union-attr]
    proof = life.lake.scan(COMPARISONS).filter(pl.col("is_passed")).collect()
    assert proof.select("procedure", "opponent").rows() == [("trial", f"version:{weak}")]
    life.look(BEGIN + (day + 1) * DAY)
    spoke = life.lake.scan(PREDICTIONS).filter(pl.col("known_at") > BEGIN + day * DAY).collect()
    assert dict(spoke.group_by("role").agg(pl.col("model_version").unique().first()).iter_rows()) == {
        "champion": good, "former": weak,
    }  # fmt: skip


def test_a_challenger_with_the_labels_the_wrong_way_round_is_rejected(life: Life) -> None:
    good, _ = life.on_trial(GOOD, INVERTED)
    life.days_until(lambda stands: stands.shadow is None, first=1, last=5)
    assert life.standing().champion.version == good  # type: ignore[union-attr]
    assert life.moves.ledger()["action"][-1] == "reject"


def test_a_trial_ends_when_the_thresholds_of_labels_change_under_it(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak, _ = life.on_trial(WEAK, GOOD)
    monkeypatch.setattr("assets.trial.LABELS_SPEC", replace(LABELS_SPEC, rug_price_pct=-60.0))
    said = life.look(BEGIN + DAY)["trial"]
    assert (said["decision"], said["is_moved"]) == ("reject", True)
    assert f"rug_price_pct was {LABELS_SPEC.rug_price_pct}, is -60.0" in said["reason"]
    assert (life.standing().champion.version, life.standing().shadow) == (weak, None)  # type: ignore[union-attr]


def test_a_shadow_that_is_no_better_is_never_promoted(life: Life) -> None:
    good, _ = life.on_trial(GOOD, GOOD)
    for day in (2, 4, 6, 8, 10):
        life.look(BEGIN + day * DAY)
        assert life.standing().champion.version == good  # type: ignore[union-attr]


def test_a_shadow_that_abstains_is_rejected_for_what_it_does_not_say(life: Life) -> None:
    good, _ = life.on_trial(WEAK, GOOD, of=(*NAMES, "turnover_1h", "price_change_1h_pct", "n_trades_1h"))
    life.days_until(lambda stands: stands.shadow is None, first=1, last=5)
    assert life.standing().champion.version == good  # type: ignore[union-attr]
    assert "answered" in life.moves.ledger()["reason"][-1]


def promoted(life: Life, skill: float, *, of: tuple[str, ...] = NAMES) -> tuple[int, int]:
    """A champion of that skill since the third day, and a good one before it: (champion, former)."""
    good, other = life.register(GOOD, 1), life.register(skill, 2, of)
    life.move("promote", good, BEGIN)
    life.look(BEGIN + 2 * DAY)
    life.move("promote", other, BEGIN + 2 * DAY)
    return other[0], good[0]


def test_a_champion_that_does_harm_gives_the_office_back_and_cannot_return(life: Life) -> None:
    bad, good = promoted(life, INVERTED)
    day = life.days_until(lambda stands: stands.champion.version == good, first=3, last=8)
    assert day <= 5
    assert life.standing().barred == {bad}
    harm = life.lake.scan(COMPARISONS).filter(pl.col("procedure") == "harm", pl.col("is_passed")).collect()
    assert f"version:{good}" in harm["opponent"].to_list()


def test_a_healthy_champion_is_left_in_charge(life: Life) -> None:
    healthy, _ = promoted(life, GOOD)
    for day in (3, 5, 7, 10):
        life.look(BEGIN + day * DAY)
    assert life.standing().champion.version == healthy  # type: ignore[union-attr]


def test_a_champion_that_cannot_answer_is_out_at_the_next_look(life: Life) -> None:
    """It needs a column that the table of features lost: what is left of a stale one."""
    _, good = promoted(life, GOOD, of=("age_hours", "reserve_usd", "a_column_that_is_gone"))
    life.look(BEGIN + 2 * DAY + 6 * HOUR)
    assert life.standing().champion.version == good  # type: ignore[union-attr]
    assert "answers" in life.moves.ledger()["reason"][-1]


def spoil(life: Life, version: int) -> None:
    """Change a byte of a version's file wherever it lies."""
    sha256 = next(v.model_sha256 for v in life.registry.versions(NAME) if v.version == version)
    shutil.rmtree(life.cache, ignore_errors=True)
    for path in life.cache.parent.rglob("model.json"):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == sha256:
            path.write_bytes(content[:-2] + b" }")


def test_a_champion_whose_file_was_changed_is_out_at_the_next_look_and_never_asked(life: Life) -> None:
    other, good = promoted(life, GOOD)
    spoil(life, other)
    life.look(BEGIN + 2 * DAY + 6 * HOUR)
    assert life.standing().champion.version == good  # type: ignore[union-attr]
    assert "artifact" in life.moves.ledger()["reason"][-1]
    since = pl.col("known_at") > BEGIN + 2 * DAY
    told = life.lake.scan(PREDICTIONS).filter(since, pl.col("model_version") == other).collect()
    assert told.is_empty()


def test_while_the_registry_is_down_predictions_go_on_and_the_move_is_made_afterwards(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak, good = life.on_trial(WEAK, GOOD)
    life.look(BEGIN + DAY)
    before = life.lake.scan(PREDICTIONS).collect().height
    registry, away = life.registry, Registry("postgresql://localhost:1/nowhere", life.cache.parent / "nowhere")
    life.registry = away
    said = life.look(BEGIN + 9 * DAY)["trial"]
    assert (said["decision"], said["reason"]) == ("wait", "the registry is away")
    assert not life.checks["registry_answers"]
    assert life.lake.scan(PREDICTIONS).collect().height > before
    assert life.standing().champion.version == weak  # type: ignore[union-attr]
    life.registry = registry
    life.look(BEGIN + 9 * DAY)
    assert life.checks["registry_answers"]
    assert life.standing().champion.version == good  # type: ignore[union-attr]


@pytest.mark.parametrize("error", [LockLostError, StoreAwayError, CommitConflictError])
def test_what_is_the_lakes_trouble_is_not_called_the_registrys(
    life: Life, monkeypatch: pytest.MonkeyPatch, error: type[PoolcastError]
) -> None:
    life.on_trial(WEAK, GOOD)

    def lost(_looks: Looks, _at: object) -> None:
        raise error("the object store did not answer")

    monkeypatch.setattr(Looks, "begin", lost)
    with pytest.raises(error):
        life.look(BEGIN + DAY)


def test_a_registry_that_goes_after_a_move_fails_no_run_and_the_move_stands(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, good = life.on_trial(WEAK, GOOD)
    life.look(BEGIN + DAY)
    begin, begun = Looks.begin, list[object]()

    def once(looks: Looks, at: datetime) -> Standing:
        begun.append(at)
        if len(begun) > 1:
            raise RegistryAwayError("it went away meanwhile")
        return begin(looks, at)

    with monkeypatch.context() as patch:
        patch.setattr(Looks, "begin", once)
        said = life.look(BEGIN + 9 * DAY)["trial"]
    assert (said["decision"], said["reason"]) == ("wait", "the registry is away")
    assert not life.checks["registry_answers"]
    assert life.standing().champion.version == good  # type: ignore[union-attr]
    life.look(BEGIN + 9 * DAY + HOUR)
    assert life.checks["registry_answers"]


@pytest.mark.parametrize("error", [RegistryAwayError, RegistryError])
@pytest.mark.parametrize("whose", ["the champion's", "the challenger's"])
def test_a_trial_decides_nothing_without_the_files_it_needs(
    life: Life, monkeypatch: pytest.MonkeyPatch, error: type[PoolcastError], whose: str
) -> None:
    weak, good = life.on_trial(WEAK, GOOD)
    life.look(BEGIN + DAY)
    number, verdicts = weak if whose == "the champion's" else good, pl.col("challenger_version") == good

    def gone(registry: Registry, cache: Path, who: Deployed) -> LoadedModel:
        if who.version == number:
            raise error("loaded the model: no answer")
        return load_in_charge(registry, cache, who)

    with monkeypatch.context() as patch:
        patch.setattr("assets.sides.load_in_charge", gone)
        if (whose, error) == ("the challenger's", RegistryError):
            # Whatever it said before stands, and what it did not say is counted against it.
            assert life.look(BEGIN + 9 * DAY)["trial"]["decision"] != "wait"
            return
        assert life.look(BEGIN + 9 * DAY)["trial"]["decision"] == "wait"
        assert life.lake.scan(COMPARISONS).filter(verdicts).collect().is_empty()
        assert life.standing().champion.version == weak  # type: ignore[union-attr]
        assert life.checks["registry_answers"] == (error is RegistryError)
    life.look(BEGIN + 9 * DAY)
    assert life.standing().champion.version == good  # type: ignore[union-attr]


def test_a_champion_that_does_harm_goes_though_the_registry_is_away(life: Life) -> None:
    _, good = promoted(life, INVERTED)
    life.look(BEGIN + 2 * DAY + 6 * HOUR)
    registry, away = life.registry, Registry("postgresql://localhost:1/nowhere", life.cache.parent / "nowhere")
    life.registry = away
    life.look(BEGIN + 7 * DAY)  # the trial needs it and waits; the reign does not
    assert not life.checks["registry_answers"]
    assert life.standing().champion.version == good  # type: ignore[union-attr]
    life.registry = registry


def test_a_pinned_champion_stays_and_the_check_tells_what_is_wrong(life: Life) -> None:
    other, _ = promoted(life, GOOD, of=("age_hours", "reserve_usd", "a_column_that_is_gone"))
    sha256 = life.standing().champion.model_sha256  # type: ignore[union-attr]
    life.move("pin", (other, sha256), BEGIN + 2 * DAY, "person:somebody")
    said = life.look(BEGIN + 2 * DAY + 6 * HOUR)
    assert life.standing().champion.version == other  # type: ignore[union-attr]
    assert "pinned" in said["reign"]["reason"]


def test_who_was_thrown_out_may_return_only_by_a_persons_word(life: Life) -> None:
    bad, good = promoted(life, INVERTED)
    life.days_until(lambda stands: stands.champion.version == good, first=3, last=8)
    sha256 = life.standing().files[bad]
    with pytest.raises(UsageError, match="thrown out"):
        life.move("challenge", (bad, sha256), BEGIN + 9 * DAY)
    life.move("approve", (bad, sha256), BEGIN + 9 * DAY, "person:somebody")
    life.move("challenge", (bad, sha256), BEGIN + 9 * DAY)
    assert life.standing().challenger.version == bad  # type: ignore[union-attr]
