"""Two judgements of one model at once: one of them moves the alias, and the other sees that it did."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import polars as pl
import pytest

import assets.promotion
from assets.promotion import Challenger, decided
from pipeline.calendars import FixedClock
from pipeline.lake import Lake
from pipeline.models.returns.spec import RETURN_BASELINES
from pipeline.promotion.ledger import verify
from pipeline.promotion.spec import RETURN
from pipeline.promotion.versions import Pointers, RegisteredVersion
from pipeline.tables import DEPLOYMENTS, RETURN_DATASETS

NOW = datetime(2024, 1, 1, tzinfo=UTC)
CLOCK = FixedClock(NOW)


class Held:
    """Aliases and the ledger's row they follow, in memory; `asked` is told whenever somebody begins to reconcile."""

    def __init__(self) -> None:
        self.aliases: dict[str, int] = {}
        self.head: str | None = None
        self.asked: Callable[[], object] = lambda: None

    @property
    def alias(self) -> int | None:
        return self.aliases.get("champion")

    def pointers(self, _name: str) -> Pointers:
        self.asked()
        return Pointers(dict(self.aliases), self.head)

    def load(self, *_: object, **__: object) -> None:
        """Every file is what it should be."""

    def set_alias(self, _name: str, alias: str, number: int) -> None:
        self.aliases[alias] = number

    def clear_alias(self, _name: str, alias: str) -> None:
        del self.aliases[alias]

    def remember(self, _name: str, ledger_head: str) -> None:
        self.head = ledger_head

    def tag(self, *_: object) -> None:
        """What a page says is of no interest here."""

    def versions(self, name: str) -> list[RegisteredVersion]:
        return [version(1, name), version(2, name)]


def version(number: int, name: str = RETURN.model_name) -> RegisteredVersion:
    return RegisteredVersion(name, number, "r", f"{number}" * 64, "set", "features", "code", {})


def challenger(number: int) -> Challenger:
    """A version that plainly beats every baseline, learned from a recording."""
    target = np.random.default_rng(0).normal(size=40)
    rows = pl.DataFrame({"pool": [f"p{i}" for i in range(40)], "target": target}).with_columns(
        pl.lit(NOW).alias("time"), pl.lit(1).alias("horizon"), pl.lit(0.0).alias("forecast")
    )
    said = {"model": rows.with_columns(pl.col("target") * 0.5, forecast=pl.col("target") * 0.5)}
    said |= {name: rows.with_columns(pl.col("target") * 0.5) for name in RETURN_BASELINES}
    return Challenger(version(number), "recording:x", said, RETURN_BASELINES, RETURN_DATASETS, 1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def judge_version(lake: Lake, registry: Held, number: int) -> dict[str, Any]:
    done = decided(lake, registry, CLOCK, challenger(number), RETURN)  # type: ignore[arg-type]
    return {name: getattr(value, "value", value) for name, value in (done.metadata or {}).items()}


def test_of_two_at_once_one_takes_over_and_the_other_finds_it_in_charge(lake: Lake, monkeypatch) -> None:
    both, real, registry = Barrier(2, timeout=20), assets.promotion.judge, Held()
    n_judged = []

    def judge(*args: Any, **named: Any) -> Any:
        n_judged.append(named["version"])
        if len(n_judged) <= 2:
            both.wait()  # neither moves before both have judged, against the incumbent of before
        return real(*args, **named)

    monkeypatch.setattr(assets.promotion, "judge", judge)
    with ThreadPoolExecutor(2) as at_once:
        said = list(at_once.map(lambda number: judge_version(lake, registry, number), (1, 2)))
    (moved,) = lake.scan(DEPLOYMENTS).collect().to_dicts()
    first, second = sorted(said, key=lambda one: not one["is_promoted"])
    assert (first["is_promoted"], second["is_promoted"]) == (True, False)
    assert "in its shadow" in second["verdict"]
    assert first["champion_version"] == second["champion_version"] == moved["version"] == registry.alias
    assert len(n_judged) == 3


def test_nobody_takes_the_alias_for_wrong_because_it_moved_while_he_looked(lake: Lake) -> None:
    registry = Held()
    with ThreadPoolExecutor(2) as at_once:
        others = []

        def interrupt() -> None:
            # Between one's reading of the ledger and of the alias, another tries to move both.
            registry.asked = lambda: None
            others.append(at_once.submit(judge_version, lake, registry, 2))
            wait(others, timeout=1)

        registry.asked = interrupt
        said = [at_once.submit(judge_version, lake, registry, 1).result(), others[0].result()]
    ledger = lake.scan(DEPLOYMENTS).collect()
    verify(ledger, head=registry.head)
    assert [one["is_promoted"] for one in said].count(True) == ledger.height == 1
    assert registry.alias == ledger["version"].item()
