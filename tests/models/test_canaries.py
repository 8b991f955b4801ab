"""Each canary by itself; what they hear together is in `test_planted_leaks`."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from model_rows import BIRTH, SPEC, frozen, tables, training_set, with_further

from pipeline.calendars import HOUR, MINUTE
from pipeline.models import canary_permutation
from pipeline.models.canaries import (
    check_arrivals,
    check_future_columns,
    check_future_cut,
    check_labels,
    check_permuted_labels,
    permute_by_pool,
    run_canaries,
)
from pipeline.models.canary_history import N_DECISIONS, N_MOMENTS, differs, windows
from pipeline.models.canary_permutation import is_sure
from pipeline.models.canary_splits import check_splits, training_splits
from pipeline.models.splits import Split
from pipeline.tables import ANSWERS, CANDLES, RAW_CANDLES, RAW_POOLS, SNAPSHOTS, TRADES, Table


def test_a_sound_training_set_passes_although_its_features_tell_a_lot():
    report = run_canaries(training_set(300))
    assert report.is_passed, report.words
    assert report.failed == ()


def test_a_split_at_random_rows_makes_the_permutation_canary_sing(monkeypatch: pytest.MonkeyPatch):
    def at_random(frame: pl.DataFrame, *, n_folds: int, embargo: object) -> list[Split]:
        order = np.random.default_rng(0).permutation(frame.height)
        return [Split(f"fold_{k}", np.sort(order[k::2]), np.sort(order[1 - k :: 2]), BIRTH, BIRTH) for k in range(2)]

    monkeypatch.setattr(canary_permutation, "walk_forward", at_random)
    made = tables(100)
    # The pool can be told from this feature: with rows of it on both sides, a model learns its outcome by heart.
    known = made["features"].with_columns(signal=pl.col("pool").str.slice(2).cast(pl.Float64))
    spec = replace(SPEC, canaries=replace(SPEC.canaries, n_rounds=30, max_depth=6))
    result = check_permuted_labels(frozen(made | {"features": known}, spec=spec))
    assert not result.is_passed
    assert result.numbers["auc"] > 0.55


def test_too_few_pools_do_not_pass_by_luck():
    spec = replace(SPEC, canaries=replace(SPEC.canaries, max_permutations=5, auc_low=0.4999, auc_high=0.5001))
    result = check_permuted_labels(training_set(130, spec=spec))
    assert not result.is_passed
    assert "too few pools" in result.words


def test_a_permutation_moves_a_pools_outcomes_together_and_keeps_their_counts():
    made = training_set(80)
    moved = permute_by_pool(made.frame, made.y, np.random.default_rng(1))
    assert np.bincount(moved, minlength=7).tolist() == np.bincount(made.y, minlength=7).tolist()
    assert made.frame.with_columns(moved=pl.Series(moved)).group_by("pool").agg(pl.col("moved").n_unique())[
        "moved"
    ].unique().to_list() == [1]
    assert (moved != made.y).any()


def test_a_permutation_fills_ages_a_pool_does_not_have():
    made = training_set(40)
    keep = np.random.default_rng(2).random(made.n_rows) < 0.5
    frame, y = made.frame.filter(keep), made.y[keep]
    moved = permute_by_pool(frame, y, np.random.default_rng(1))
    assert moved.min() >= 0


def test_a_planted_column_from_the_future_is_caught_and_named():
    made = tables(300)
    future = made["labels"].select("pool", "event_time", "return_end_pct")
    leaky = made["features"].join(future, on=["pool", "event_time"]).with_columns(noise=pl.col("return_end_pct"))
    leaks, sees = check_future_columns(frozen(made | {"features": leaky}))
    assert not leaks.is_passed
    assert "'noise'" in leaks.words
    assert sees.is_passed
    report = run_canaries(frozen(made | {"features": leaky}))
    assert not report.is_passed
    assert "FAILED future_columns" in report.words


def features_of(prices: pl.DataFrame, *, is_peeking: bool) -> pl.DataFrame:
    shift = -1 if is_peeking else 1
    return prices.with_columns(change=pl.col("price") - pl.col("price").shift(shift))


@pytest.mark.parametrize("is_peeking", [False, True])
def test_cutting_the_future_tells_a_feature_that_peeks(is_peeking: bool):
    moment = BIRTH + 5 * HOUR
    times = [BIRTH + i * HOUR for i in range(10)]
    prices = pl.DataFrame({"pool": ["p"] * 10, "event_time": times, "price": [float(i * i) for i in range(10)]})
    past = prices.filter(pl.col("event_time") <= moment)
    full, cut = (features_of(f, is_peeking=is_peeking) for f in (prices, past))
    result = check_future_cut(full, cut, moment)
    assert result.is_passed is not is_peeking
    assert ("'change'" in result.words) is is_peeking


def test_cutting_the_future_tells_rows_and_columns_that_come_and_go():
    times = [BIRTH + i * HOUR for i in range(3)]
    full = pl.DataFrame({"pool": ["p"] * 3, "event_time": times, "a": [1.0, None, 3.0]})
    assert check_future_cut(full, full, times[2]).is_passed
    assert "one side only" in check_future_cut(full, full.head(1), times[2]).words
    assert not check_future_cut(full, full.with_columns(b=1), times[2]).is_passed
    assert not check_future_cut(full, full.fill_null(0.0), times[2]).is_passed
    assert not check_future_cut(full, full, BIRTH - HOUR).is_passed


# The rule by which permutations are added.


def refused(spread: float, n_sets: int = 20_000) -> float:
    """Share of sound sets, whose mean AUC is 0.5, that the rule is sure of and refuses."""
    rng, n_refused = np.random.default_rng(0), 0
    drawn = rng.normal(0.5, spread, (n_sets, 40))
    n = np.arange(1, 41)
    mean = drawn.cumsum(axis=1) / n
    error = np.sqrt(np.maximum((drawn**2).cumsum(axis=1) - n * mean**2, 0) / np.maximum(n - 1, 1) / n)
    quantile = np.array([1e9, *(quantile_of_rule(k) for k in range(2, 41))])
    sure = (quantile * error <= 0.05) & (n >= 5)
    for row in np.flatnonzero(sure.any(axis=1)):
        n_refused += abs(mean[row, sure[row].argmax()] - 0.5) > 0.05
    return n_refused / n_sets


def quantile_of_rule(n: int) -> float:
    """By how much `is_sure` widens the standard error of n values, found from outside by halving."""
    values = np.linspace(-1, 1, n)
    error, low, high = values.std(ddof=1) / np.sqrt(n), 0.1, 1e4
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if is_sure(values.tolist(), middle * error) else (middle, high)
    return high


@pytest.mark.parametrize("spread", [0.02, 0.04, 0.06, 0.08, 0.1, 0.12])
def test_at_most_one_sound_set_in_200_is_refused_whatever_the_spread_of_its_permutations(spread: float):
    assert refused(spread) <= 0.005


def test_one_permutation_is_never_sure():
    assert not is_sure([0.5], 0.05)
    assert is_sure([0.5, 0.5], 0.05)


# Computing again from the past.


def test_moments_are_spread_over_all_decisions_and_enough_lie_before_each():
    times = pl.Series("event_time", [BIRTH + i * MINUTE for i in range(400 * N_MOMENTS)])
    found = windows(times)
    assert len(found) == N_MOMENTS
    assert [(span.end - BIRTH) // MINUTE // 400 for span in found] == list(range(N_MOMENTS))
    assert all(times.is_between(s.start, s.end, closed="right").sum() >= N_DECISIONS for s in found)


def test_where_most_is_decided_at_one_moment_that_moment_is_chosen():
    times = [BIRTH + i * HOUR for i in range(10 * N_MOMENTS)] + [BIRTH + 14 * HOUR] * 3
    assert BIRTH + 14 * HOUR in {span.end for span in windows(pl.Series("event_time", times))}


def test_two_values_differ_if_one_is_null_or_they_are_a_billionth_apart():
    pairs = pl.DataFrame(
        {"a": [1.0, None, 1.0, None, 1.0, 0.0, 0.0, 1e-30], "b": [1.0, None, None, 1.0, 1 + 1e-10, 0.0, 1e-20, 2e-30]}
    )
    assert pairs.select(differs("a", "b")).to_series().to_list() == [False, False, True, True, False, False, True, True]


# Labels.

DECIDED, DAY = pl.col("event_time"), timedelta(hours=24)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label_known_at": pl.lit(BIRTH + timedelta(days=3651))}, "known after the set's moment"),
        ({"event_time": pl.lit(BIRTH + timedelta(days=3650))}, "whose horizon is not over"),
        ({"label_known_at": DECIDED}, "known before they could be"),
        ({"label_known_at": DECIDED + DAY - timedelta(seconds=1), "outcome": pl.lit("DIP")}, "known before they could"),
        ({"label_end": DECIDED + DAY - timedelta(seconds=1)}, "that end later than they say"),
        ({"label_known_at": DECIDED + DAY + timedelta(seconds=1)}, "that end later than they say"),
    ],
)
def test_a_label_with_a_time_that_cannot_be_is_counted_under_its_fault(change: dict[str, pl.Expr], words: str):
    made = training_set(20)
    assert check_labels(made).is_passed
    changed = replace(made, frame=made.frame.with_columns(**change))
    result = check_labels(changed)
    assert not result.is_passed
    assert f"{made.n_rows} {words}" in result.words


def test_a_rug_may_be_known_before_its_horizon_is_over():
    made = training_set(20)
    early = {"label_known_at": DECIDED + timedelta(minutes=5), "outcome": pl.lit("RUG")}
    assert check_labels(replace(made, frame=made.frame.with_columns(**early))).is_passed


# Arrivals.


def rows_of(table: Table, **columns: Iterable[object]) -> pl.LazyFrame:
    """Rows of a table of which the columns named alone are filled."""
    head = {"source": "geckoterminal", "network": "eth", "pool": "0x1"}
    named = {name: [value] if isinstance(value, str | datetime) else list(value) for name, value in columns.items()}
    found = pl.DataFrame(named, schema_overrides={n: t for n, t in table.schema.items() if n in named})
    return found.with_columns(
        pl.lit(v).alias(n) for n, v in head.items() if n in table.schema and n not in named
    ).lazy()


def arrivals(**told: pl.LazyFrame) -> str:
    answers = rows_of(ANSWERS, answer_id="a", known_at=BIRTH + HOUR)
    result = check_arrivals(told, answers)
    assert result.is_passed is (" rows: nothing wrong" in result.words)
    return result.words


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (timedelta(hours=1), "nothing wrong"),
        (timedelta(minutes=59), "1 of trades known before they were told"),
        (timedelta(minutes=-1), "1 of trades known before they were true, 1 of trades known before they were told"),
    ],
)
def test_a_trade_is_not_known_before_its_answer_arrived(told: timedelta, words: str):
    trades = rows_of(TRADES, event_time=BIRTH, known_at=BIRTH + told, answer_id="a")
    assert arrivals(trades=trades).endswith(words)


def test_a_row_whose_answer_is_not_on_record_any_more_is_counted_and_not_judged_by_it():
    before, since = BIRTH + 59 * MINUTE, BIRTH + HOUR
    gone = rows_of(TRADES, event_time=[BIRTH] * 2, known_at=[before, since], answer_id=["gone"] * 2)
    held = rows_of(TRADES, event_time=BIRTH, known_at=since, answer_id="a")
    left_out = " (2 comparisons with what is not on record any more left out)"
    assert arrivals(trades=pl.concat([gone, held])) == f"3 rows: nothing wrong{left_out}"
    # Not one trade has its answer, though one was learned while answers were kept.
    none = "1 of trades known before they were told (none of them is on record)"
    assert arrivals(trades=gone) == f"2 rows: {none}{left_out}"


def test_a_table_from_before_the_first_answer_on_record_is_left_in_peace():
    before = rows_of(TRADES, event_time=BIRTH, known_at=BIRTH + 59 * MINUTE, answer_id="gone")
    assert arrivals(trades=before).startswith("1 rows: nothing wrong")


def test_a_source_without_answers_has_none_to_miss():
    bars = rows_of(CANDLES, event_time=BIRTH, known_at=BIRTH + HOUR, timeframe="5min", built_from="ohlcv")
    told = {"candles": bars, "raw_candles": RAW_CANDLES.empty().lazy()}
    assert check_arrivals(told, ANSWERS.empty().lazy()).is_passed
    assert not check_arrivals(told, rows_of(ANSWERS, answer_id="a", known_at=BIRTH)).is_passed


@pytest.mark.parametrize(("minutes", "is_sound"), [(59, False), (60, True)])
def test_a_bar_made_of_swaps_is_not_known_before_the_first_of_them(minutes: int, is_sound: bool):
    told = BIRTH + HOUR
    swaps = rows_of(
        TRADES, event_time=[BIRTH + MINUTE, BIRTH + 2 * MINUTE], known_at=[told, told + HOUR], answer_id=["a"] * 2
    )
    known_at = BIRTH + minutes * MINUTE
    bar = rows_of(CANDLES, event_time=BIRTH, known_at=known_at, timeframe="5min", built_from="trades")
    assert arrivals(candles=bar, trades=swaps).endswith("nothing wrong") is is_sound


@pytest.mark.parametrize(("close", "is_sound"), [(1.0, True), (100.0, False)])
def test_a_told_bar_holds_the_prices_of_a_telling_that_was_known_by_then(close: float, is_sound: bool):
    first, second = BIRTH + HOUR, BIRTH + 2 * HOUR
    raw = rows_of(
        RAW_CANDLES, event_time=[BIRTH] * 2, known_at=[first, second], timeframe=["5min"] * 2, answer_id=["a"] * 2,
        close=[1.0, 100.0], open=[9.0, 9.0],
    )  # fmt: skip
    bar = {"event_time": BIRTH, "timeframe": "5min", "built_from": "ohlcv", "close": [close], "open": [None]}
    assert arrivals(candles=rows_of(CANDLES, **bar, known_at=first), raw_candles=raw).endswith("wrong") is is_sound
    assert arrivals(candles=rows_of(CANDLES, **bar, known_at=second), raw_candles=raw).endswith("nothing wrong")


@pytest.mark.parametrize(("minutes", "is_sound"), [(4, False), (5, True)])
def test_a_bar_is_not_known_before_it_is_over(minutes: int, is_sound: bool):
    bars = rows_of(
        CANDLES, event_time=BIRTH, known_at=BIRTH + minutes * MINUTE, timeframe="5min", built_from="reserves"
    )
    assert arrivals(candles=bars).endswith("nothing wrong") is is_sound


@pytest.mark.parametrize(("minutes", "is_sound"), [(59, False), (60, True)])
def test_a_told_bar_is_not_known_before_it_was_told(minutes: int, is_sound: bool):
    raw = rows_of(RAW_CANDLES, event_time=BIRTH, known_at=BIRTH + HOUR, timeframe="5min", answer_id="a")
    bar = {"event_time": BIRTH, "known_at": BIRTH + minutes * MINUTE, "timeframe": "5min"}
    assert arrivals(candles=rows_of(CANDLES, **bar, built_from="ohlcv"), raw_candles=raw).endswith("wrong") is is_sound
    assert arrivals(candles=rows_of(CANDLES, **bar, built_from="trades"), raw_candles=raw).endswith("nothing wrong")


@pytest.mark.parametrize(("minutes", "is_sound"), [(-5, False), (0, False), (60, True)])
def test_a_snapshot_is_not_known_before_its_record_was(minutes: int, is_sound: bool):
    seen = BIRTH + minutes * MINUTE
    raw = rows_of(RAW_POOLS, event_time=BIRTH, known_at=BIRTH + HOUR, answer_id="a")
    snapshot = rows_of(SNAPSHOTS, event_time=seen, known_at=seen, observed_at=BIRTH)
    assert arrivals(snapshots=snapshot, raw_pools=raw).endswith("nothing wrong") is is_sound


def test_nothing_told_is_nothing_proven():
    assert not check_arrivals({"trades": TRADES.empty().lazy()}, ANSWERS.empty().lazy()).is_passed


def test_a_label_of_a_further_horizon_known_too_early_is_caught():
    made = frozen(with_further(tables(20)))
    assert check_labels(made).is_passed
    is_first = pl.int_range(pl.len()) == 0
    early = pl.when(is_first).then(pl.col("event_time")).otherwise("label_known_at_1h")
    result = check_labels(replace(made, frame=made.frame.with_columns(label_known_at_1h=early)))
    assert not result.is_passed
    assert result.words.endswith("1 known before they could be")


def test_a_training_label_that_ends_as_the_test_block_begins_meets_it():
    made = training_set(40)
    block = training_splits(made)[0]
    last = int(block.train[0])
    for before, is_apart in ((timedelta(microseconds=1), True), (timedelta(0), False)):
        ends = pl.when(pl.int_range(pl.len()) == last).then(pl.lit(block.start) - before).otherwise("label_end")
        touched = replace(made, frame=made.frame.with_columns(ends.alias("label_end")))
        assert check_splits(touched, [block]).is_passed is is_apart
