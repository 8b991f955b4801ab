"""Leak canaries of the return dataset: they sing before a forecaster learns from what nobody could have known.

Belongs here: what listens to the rows and to the splits. Stays out: the features' own tests, and the models.

| canary | what makes it sing | false alarms on sound data |
|---|---|---|
| `permuted_targets` | a model that learns from targets that mean nothing: a pool on both sides of a split | <= 0.5 % |
| `future_columns` | a feature that ranks pools as only the future can | a true rank IC over the bound |
| `planted_future` | the canary above, gone blind | none |
| `splits` | pools, tokens or time shared by training and test | none, exact |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from scipy.special import stdtrit  # type: ignore[import-untyped]  # scipy ships no types

from pipeline.models.canary_permutation import THREE_SIGMA, is_sure, standard_error
from pipeline.models.canary_report import CanaryReport, CanaryResult, counted
from pipeline.models.returns.segments import return_splits
from pipeline.models.returns.spec import ReturnsSpec
from pipeline.models.returns.targets import feature_columns, scored
from pipeline.models.splits import POOL, TOKEN, Rows, Split

type Floats = np.ndarray[Any, np.dtype[np.float64]]

PLANTED: Final = "forward_return"
"""What is planted: the return that is forecast, which nobody can know at the decision."""
_MAX_BIN: Final = 64


@dataclass(frozen=True)
class ReturnCanarySpec:
    """How hard the canaries of the return dataset listen.

    Attributes:
        feature_ic_bound: a feature whose mean rank correlation with the target exceeds it, either way, is no feature:
            the best of a market is a tenth of that.
        ic_half_width: permuted targets must give a mean rank IC within this of 0.
        min_permutations, max_permutations: they are added until their mean is known within the half-width. Where the
            pools are too few for that, the mean must be within its own three standard errors of 0.
        max_pools: of which the permutation learns, drawn; all of them would take longer and say the same.
        n_rounds, max_depth, learning_rate: of the cheap trees that try to learn.
        seed: of permutations and draws.
    """

    feature_ic_bound: float = 0.35
    ic_half_width: float = 0.05
    min_permutations: int = 4
    max_permutations: int = 16
    max_pools: int = 300
    n_rounds: int = 12
    max_depth: int = 6
    learning_rate: float = 0.3
    seed: int = 20_200_908


def run_return_canaries(
    rows: pl.DataFrame,
    dataset_id: str,
    spec: ReturnsSpec,
    listening: ReturnCanarySpec | None = None,
    *,
    splits: Mapping[int, Sequence[Split]] | None = None,
) -> CanaryReport:
    """Every canary on every horizon of a dataset.

    Args:
        rows: its rows (`return_files.kept_rows`). spec: it was frozen under.
        listening: how hard they listen.
        splits: horizon -> the splits of its scored rows; default: those of the training (`return_splits`).

    Raises:
        InputError: too few pools for a split; such a dataset says so itself (`lacking`).
    """
    how = listening or ReturnCanarySpec()
    names = feature_columns(rows, spec)
    results: list[CanaryResult] = []
    for hours in spec.horizons_hours:
        frame = scored(rows, hours, spec)
        chosen = splits[hours] if splits else return_splits(frame, spec)
        results += [
            check_splits(frame, chosen, f"splits_{hours}h"),
            *check_future_columns(frame[chosen[-1].train], names, hours, how),
            check_permuted_targets(frame, names, chosen[:-1], hours, how),
        ]
    return CanaryReport(dataset_id, tuple(results))


def check_future_columns(
    frame: pl.DataFrame, names: Sequence[str], hours: int, spec: ReturnCanarySpec
) -> tuple[CanaryResult, CanaryResult]:
    """No feature may rank pools as only the future can; a planted return must.

    Args:
        frame: scored rows before the last block.
        names: the features.
        hours: the horizon.
        spec: the bound.
    """
    found = one_feature_ics(frame, [*names, PLANTED])
    planted = found.pop(PLANTED)
    over = {name: ic for name, ic in found.items() if abs(ic) > spec.feature_ic_bound}
    worst = max(found, key=lambda name: abs(found[name])) if found else "none"
    said = (
        f"rank IC over {spec.feature_ic_bound} at {hours} h: {', '.join(f'{n} {ic:+.2f}' for n, ic in over.items())}"
        if over
        else f"of {len(found)} features {worst} has the largest rank IC at {hours} h, {found.get(worst, 0.0):+.3f}"
    )
    return (
        CanaryResult(f"future_columns_{hours}h", not over, f"{said}; at most {spec.feature_ic_bound} is of this world",
                     {"largest_rank_ic": abs(found.get(worst, 0.0)), "n_over": float(len(over))}),
        CanaryResult(f"planted_future_{hours}h", planted > spec.feature_ic_bound,
                     f"the return itself, planted as a feature, has a rank IC of {planted:.3f}", {"rank_ic": planted}),
    )  # fmt: skip


def one_feature_ics(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, float]:
    """Mean over hours of Spearman's correlation of each column with `target`; 0 where it is nowhere defined."""
    ranked = [pl.corr(pl.col(name).cast(pl.Float64).fill_nan(None), "target", method="spearman") for name in names]
    by_hour = frame.group_by("event_time", maintain_order=True).agg(
        c.alias(n) for c, n in zip(ranked, names, strict=True)
    )
    means = by_hour.select(pl.col(name).fill_nan(None).mean() for name in names)
    return {name: float(means[name].item() or 0.0) for name in names}


def check_permuted_targets(
    frame: pl.DataFrame, names: Sequence[str], folds: Sequence[Split], hours: int, spec: ReturnCanarySpec
) -> CanaryResult:
    """With targets permuted by pool, the training path must find nothing: a mean rank IC around 0.

    A pool's targets move together to another pool, so that a pool on both sides of a split still shows.
    """
    rng = np.random.default_rng(spec.seed)
    some, chosen = _some_pools(frame, folds, spec.max_pools, rng)
    x = some.select(pl.col(names).cast(pl.Float32).fill_null(float("nan"))).to_numpy()
    y = some["target"].to_numpy()
    pool = some.select(pl.struct(POOL).rank("dense") - 1).to_series().to_numpy().astype(np.int64)
    benches = [_Bench.of(x, train, test) for train, test in chosen]
    ics: list[float] = []
    while len(ics) < spec.max_permutations and (
        len(ics) < spec.min_permutations or not is_sure(ics, spec.ic_half_width)
    ):
        ics.append(_learned_ic(some["event_time"], permute_targets(y, pool, rng), benches, spec, len(ics)))
    mean, error, sure = float(np.mean(ics)), standard_error(ics), is_sure(ics, spec.ic_half_width)
    reach = spec.ic_half_width if sure else float(stdtrit(len(ics) - 1, THREE_SIGMA)) * error
    words = (
        f"targets permuted by pool give a mean rank IC of {mean:+.3f} at {hours} h (standard error {error:.3f},"
        f" {len(ics)} permutations, {len(chosen)} folds); it must lie within {reach:.3f} of 0"
    )
    numbers = {"rank_ic": mean, "standard_error": error, "n_permutations": float(len(ics))}
    return CanaryResult(f"permuted_targets_{hours}h", abs(mean) <= reach, words, numbers)


def permute_targets(y: Floats, pool: Rows, rng: np.random.Generator) -> Floats:
    """Each pool's targets replaced by those of another pool, in their order but begun anywhere.

    Begun anywhere, because what a pool's targets are like may depend on its age, and that is no leak.

    Args:
        y: (n,) targets, each pool's in order of time.
        pool: (n,) the number of each row's pool, from 0 without gaps.
    """
    of = [np.flatnonzero(pool == k) for k in range(int(pool.max()) + 1)]
    moved = np.empty_like(y)
    for rows, other in zip(of, rng.permutation(len(of)), strict=True):
        theirs = y[of[other]]
        moved[rows] = theirs[(np.arange(len(rows)) + rng.integers(len(theirs))) % len(theirs)]
    return moved


def check_splits(frame: pl.DataFrame, splits: Sequence[Split], name: str) -> CanaryResult:
    """No pool, no base token and no moment may be on both sides of a split."""
    faults = {"test rows whose pool trains": 0, "test rows whose token trains": 0, "labels that end in the test": 0,
              "test rows decided before the block": 0}  # fmt: skip
    n_rows = 0
    for split in splits:
        train, test = frame[split.train], frame[split.test]
        n_rows += train.height + test.height
        faults["test rows whose pool trains"] += test.join(train, on=list(POOL), how="semi").height
        faults["test rows whose token trains"] += test.join(train, on=list(TOKEN), how="semi").height
        meets = (pl.col("label_end") >= split.start) & (pl.col("event_time") <= split.end)
        faults["test rows decided before the block"] += test.filter(pl.col("event_time") < split.start).height
        faults["labels that end in the test"] += train.filter(meets).height
    return counted(name, n_rows, "rows of splits", faults)


def _some_pools(
    frame: pl.DataFrame, folds: Sequence[Split], n: int, rng: np.random.Generator
) -> tuple[pl.DataFrame, list[tuple[Rows, Rows]]]:
    """The rows of at most `n` pools in order of pool and time, and the folds' rows among them."""
    pools = frame.select(POOL).unique().sort(POOL)
    drawn = pools[np.sort(rng.choice(pools.height, min(n, pools.height), replace=False))]
    numbered = frame.with_row_index("row").join(drawn, on=list(POOL), how="semi").sort(*POOL, "event_time")
    at = numbered["row"].to_numpy()
    chosen = [(np.flatnonzero(np.isin(at, f.train)), np.flatnonzero(np.isin(at, f.test))) for f in folds]
    return numbered, [(train, test) for train, test in chosen if len(train) and len(test)]


@dataclass(frozen=True, eq=False)
class _Bench:
    """A fold's features, binned once: what every permutation learns from differs in its targets alone."""

    train: Rows
    test: Rows
    learned_from: Any
    asked: Any

    @staticmethod
    def of(x: Any, train: Rows, test: Rows) -> "_Bench":
        """The rows of a fold among those of `x`."""
        import xgboost  # noqa: PLC0415 - takes a second

        return _Bench(train, test, xgboost.QuantileDMatrix(x[train], max_bin=_MAX_BIN), x[test])


def _learned_ic(time: pl.Series, y: Floats, benches: Sequence[_Bench], spec: ReturnCanarySpec, at: int) -> float:
    """Mean rank IC, over folds, of cheap trees that learned from these targets."""
    import xgboost  # noqa: PLC0415 - takes a second

    params = {
        "objective": "reg:squarederror", "max_depth": spec.max_depth, "learning_rate": spec.learning_rate,
        "tree_method": "hist", "max_bin": _MAX_BIN, "nthread": 1, "seed": spec.seed + at,
    }  # fmt: skip
    found = []
    for bench in benches:
        bench.learned_from.set_label(y[bench.train])
        booster = xgboost.train(params, bench.learned_from, spec.n_rounds)
        said = pl.Series("said", booster.inplace_predict(bench.asked)).cast(pl.Float64)
        told = pl.DataFrame({"event_time": time.gather(bench.test), "target": y[bench.test], "said": said})
        found.append(one_feature_ics(told, ["said"])["said"])
    return float(np.mean(found)) if found else 0.0
