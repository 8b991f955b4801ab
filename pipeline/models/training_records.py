"""How a model was chosen, and what its high signal is worth, as rows and in words.

Stays out: the choice (`competition`) and the threshold (`conformal`) themselves, and every other figure (`records`).
"""

from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.models.spec import KINDS, LAST_BLOCK, LOT_ALPHA, MODEL

if TYPE_CHECKING:
    # Not imported when this runs: it brings XGBoost and matplotlib, and readers of the records need neither.
    from pipeline.models.signal_worth import Worth
    from pipeline.models.trained import Trained

WALK_FORWARD = "walk_forward"
LATER_HALF = "last_block_later_half"
"""The later half of the last block's pools, judged by a threshold that was set on the earlier half."""
POOL_LOG_LOSS = "pool_log_loss"
N_TRIALS = "n_trials"
SET_ON = "set on the last block"
LATER = "set on its earlier half, seen on its later half"


def competition_rows(trained: "Trained") -> list[dict[str, Any]]:
    """Each kind's log loss on each inner fold, each pool one unit, and how many settings of a learner were tried."""
    rows = [
        {
            "predictor": row["kind"], "block": row["fold"], "metric": POOL_LOG_LOSS, "value": row["log_loss"],
            "n_rows": row["n_rows"], "n_pools": row["n_pools"],
        }
        for row in trained.standings.iter_rows(named=True)
    ]  # fmt: skip
    tried = trained.trials.group_by("learner", maintain_order=True).len()
    folds = trained.standings.filter(pl.col("kind") == trained.standings["kind"][0])
    extent = {"n_rows": int(folds["n_rows"].sum()), "n_pools": int(folds["n_pools"].sum())}
    return rows + [
        {"predictor": learner, "block": WALK_FORWARD, "metric": N_TRIALS, "value": float(n), **extent}
        for learner, n in tried.iter_rows()
    ]


def signal_rows(trained: "Trained") -> list[dict[str, Any]]:
    """What the high signal comes to: on the last block, where its threshold is set, and set on the half before.

    None where the model abstains; why, the run's parameters say.
    """
    own, later, n_rows = trained.certificate, trained.later_pools, trained.evaluation.height
    if own.threshold is None:
        return []
    on_block = {
        "signal_threshold": own.threshold, "signal_false_positive_rate": own.rate, "signal_coverage": own.coverage,
        "signal_paid_recall": own.recall,
    }  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"block": LAST_BLOCK, "metric": metric, "value": value, "n_pools": own.n_pools}
        for metric, value in on_block.items()
        if value is not None
    ]
    if trained.worth is not None:
        rows += _worth_rows(trained.worth)
    if later is not None and later.rate is not None:
        rate = {"value": later.rate, "low": later.low, "high": later.high}
        rows.append({"block": LATER_HALF, "metric": "signal_false_positive_rate", "n_pools": later.n_pools, **rate})
        coverage = {"metric": "signal_coverage", "value": later.coverage, "n_pools": later.n_pools}
        rows.append({"block": LATER_HALF, **coverage})
    return [{"predictor": MODEL, "n_rows": n_rows, **row} for row in rows]


def _worth_rows(worth: "Worth") -> list[dict[str, Any]]:
    """How many signals paid, beside how many of all decisions did: each of its own rows and pools."""
    share, base = worth.paid, worth.base_rate
    called = {"n_rows": share.n_rows, "n_pools": share.n_pools}
    rows: list[dict[str, Any]] = [
        {"metric": "signal_paid_share", "value": share.value, "low": share.low, "high": share.high, **called},
        {"metric": "signal_paid_pools", "value": float(worth.n_pools_paid), **called},
        {"metric": "signal_unknown_share", "value": worth.unknown, **called},
        {"metric": "signal_lot_p_value", "value": worth.p_value, **called},
        {"metric": "signal_base_rate", "value": base.value, "n_rows": base.n_rows, "n_pools": base.n_pools},
    ]
    return [{"block": LAST_BLOCK, **row} for row in rows]


def signal_in_words(figures: pl.DataFrame) -> str:
    """What the high signal comes to, in a sentence."""
    told = _signal_figures(figures)
    if (LAST_BLOCK, "threshold") not in told:
        return "abstains: no threshold could be certified; the run's parameter `signal` says why"
    threshold, rate, coverage = (told[LAST_BLOCK, name][0] for name in ("threshold", "false_positive_rate", "coverage"))
    words = (
        f"scores above {threshold:.3f}: {coverage:.1%} of the decisions of the last block, where {rate:.2%} of the"
        " pools that did not pay are called so"
    )
    paid = paid_in_words(figures)
    if paid is not None:
        words += f"; {paid}"
    if (LATER_HALF, "false_positive_rate") in told:
        value, low, high = told[LATER_HALF, "false_positive_rate"]
        words += f"; set on its earlier half, {value:.2%} [{low:.2%}, {high:.2%}] on its later half"
    return words


def paid_in_words(figures: pl.DataFrame) -> str | None:
    """How many signals paid beside how many of all decisions did, and whether that is more than a lot would give.

    None where nothing is known of what was called, and of models of before, which counted what rose.
    """
    told = _signal_figures(figures)
    if (LAST_BLOCK, "lot_p_value") not in told:
        return None
    (share, low, high), (n_pools, *_), (unknown, *_), (p, *_), (of_all, *_) = (
        told[LAST_BLOCK, name] for name in ("paid_share", "paid_pools", "unknown_share", "lot_p_value", "base_rate")
    )
    interval = "" if low is None else f" [{low:.1%}, {high:.1%}]"
    verdict = "better" if p <= LOT_ALPHA else "not shown to be better"
    pools = f"{n_pools:.0f} pool{'' if n_pools == 1 else 's'}"
    words = (
        f"{share:.1%}{interval} of the signals paid, in {pools}, of all decisions {of_all:.1%}: {verdict} than calling"
        f" by lot (p {p:.3f})"
    )
    return words if not unknown else f"{words}; of {unknown:.0%} of the signals nobody knows what they came to"


def _signal_figures(figures: pl.DataFrame) -> dict[tuple[str, str], tuple[Any, Any, Any]]:
    """(block, figure) -> value, low, high."""
    own = figures.filter(pl.col("metric").str.starts_with("signal_"))
    rows = own.select("block", pl.col("metric").str.strip_prefix("signal_"), "value", "low", "high").iter_rows()
    return {(block, metric): (value, low, high) for block, metric, value, low, high in rows}


def kinds_by_fold(figures: pl.DataFrame) -> pl.DataFrame:
    """The competition side by side: one row a kind, one column a fold, log loss to four places; a dash for silence."""
    found = figures.filter(pl.col("metric") == POOL_LOG_LOSS).sort("block")
    wide = found.pivot("block", index="predictor", values="value").sort(
        pl.col("predictor").replace_strict({kind: k for k, kind in enumerate(KINDS)}, default=len(KINDS))
    )
    n_trials = dict(figures.filter(pl.col("metric") == N_TRIALS).select("predictor", "value").iter_rows())
    text = [
        {
            "kind": row["predictor"],
            **{k: "-" if v is None else f"{v:.4f}" for k, v in row.items() if k != "predictor"},
            "settings tried": f"{n_trials[row['predictor']]:.0f}" if row["predictor"] in n_trials else "-",
        }
        for row in wide.iter_rows(named=True)
    ]
    return pl.DataFrame(text)


def signal_table(trained: "Trained") -> pl.DataFrame:
    """`pools` it speaks of, `n_pools` that did not pay, their `false_positive_rate` with its interval, `coverage`.

    The first row is what the threshold was set on: its rate is at most the bound by construction, and in words stands
    what that guarantees. The second is a check on pools that a threshold had not seen. Null: not defined, or abstained.
    """
    own, later = trained.certificate, trained.later_pools
    rows: list[tuple[object, ...]] = [
        (SET_ON, own.n_pools, own.rate, None, None, own.coverage if own.threshold is not None else None,
         own.recall, *_paid(trained.worth), own.threshold, own.words)
    ]  # fmt: skip
    if later is not None:
        rows.append((LATER, later.n_pools, later.rate, later.low, later.high, later.coverage, *[None] * 7, ""))
    schema = {
        "pools": pl.String, "n_pools": pl.Int64, "false_positive_rate": pl.Float64, "low": pl.Float64,
        "high": pl.Float64, "coverage": pl.Float64, "paid_recall": pl.Float64, "paid_share": pl.Float64,
        "paid_low": pl.Float64, "paid_high": pl.Float64, "base_rate": pl.Float64, "lot_p_value": pl.Float64,
        "threshold": pl.Float64, "in_words": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def _paid(worth: "Worth | None") -> tuple[float | None, ...]:
    if worth is None:
        return (None,) * 5
    return worth.paid.value, worth.paid.low, worth.paid.high, worth.base_rate.value, worth.p_value
