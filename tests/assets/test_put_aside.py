"""Around one hourly asset: broken rows lie in the quarantine, hours stop, people let records in, kills lose nothing."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from assets.aside import admitted, put_aside_in, stopped_hours
from assets.checks import EXPECTATION_CHECKS
from assets.hours import hourly_asset, range_tags, refreshed
from pipeline.calendars import HOUR, Span
from pipeline.cli.quality import quality
from pipeline.errors import InputError, UsageError
from pipeline.expectations.releases import listed, release
from pipeline.lake import Lake
from pipeline.provenance import Recipe, refresh, stale_hours
from pipeline.tables import QUARANTINE, RELEASES, SNAPSHOTS, TABLES, Table
from tests.builders import START, valid_frame

# Dagster's own, where it stores the verdict of a check.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")

SPAN = Span(START, START + 2 * HOUR)
RECIPE = Recipe("snapshots", (), "code")
NOW = START + timedelta(days=1)
DOUBT = pl.when(pl.int_range(pl.len()) == 3).then(-5.0).otherwise("reserve_usd")


def rows(**changed: Any) -> pl.DataFrame:
    """Ten sound snapshots an hour, with columns changed."""
    return valid_frame(SNAPSHOTS, 20).with_columns(pl.col("event_time").alias("observed_at")).with_columns(**changed)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def run(lake: Lake, made: pl.DataFrame, code: str = "code") -> dg.ExecuteInProcessResult:
    """One run of an asset that makes these rows, with its check and something that depends on it."""

    @hourly_asset(name="snapshots")
    def snapshots(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        recipe = Recipe("snapshots", (), code)
        return refreshed(context, lake, recipe, lambda span: inside(made, span))

    @hourly_asset(name="downstream", deps=["snapshots"])
    def downstream() -> None: ...

    (check,) = [c for c in EXPECTATION_CHECKS if next(iter(c.check_keys)).name == "snapshots_as_specified"]
    return dg.materialize(
        [snapshots, downstream, check],
        resources={"lake": lake},
        tags=range_tags(SPAN),
        raise_on_error=False,
    )


def inside(made: pl.DataFrame, span: Span) -> pl.DataFrame:
    return made.filter(pl.col("event_time").is_between(span.start, span.end, closed="left"))


def refreshed_with(lake: Lake, made: pl.DataFrame, recipe: Recipe = RECIPE) -> None:
    refresh(lake, recipe, SPAN, lambda span: admitted(lake, SNAPSHOTS, inside(made, span), span))


def kept(lake: Lake, table: Table) -> pl.DataFrame:
    return lake.scan(table).collect()


def test_a_run_puts_the_broken_row_aside_warns_and_goes_on(lake: Lake) -> None:
    result = run(lake, rows(reserve_usd=DOUBT))
    assert result.success
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert evaluation.metadata["put_aside"].value == 1
    assert "seconds" in evaluation.metadata
    assert "1 rows were put aside" in str(evaluation.description)
    assert kept(lake, SNAPSHOTS).height == 19
    assert kept(lake, QUARANTINE)["reason"].to_list() == ["reserve_usd is at least 0 USD"]
    assert len(result.asset_materializations_for_node("downstream")) == 2


def test_a_run_in_which_nothing_is_broken_writes_what_was_made_and_says_so(lake: Lake) -> None:
    result = run(lake, rows())
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed
    assert kept(lake, SNAPSHOTS).sort("event_time").equals(rows().sort("event_time"))
    assert lake.version(QUARANTINE) is None


def test_a_run_stops_where_too_many_rows_are_broken_and_nothing_of_the_hour_is_written(lake: Lake) -> None:
    made = pl.concat([rows(), *(rows(pool=pl.lit(f"0xa{i}"), reserve_usd=pl.lit(-5.0)) for i in range(3))])
    result = run(lake, made)
    assert not result.success
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "is stopped" in str(evaluation.description)
    assert result.asset_materializations_for_node("downstream") == []
    assert kept(lake, SNAPSHOTS).filter(pl.col("reserve_usd") < 0).is_empty()
    assert len(stale_hours(lake, RECIPE, SPAN)) == 2
    # Once mended, the same hours go through and nothing of the stop is left.
    assert run(lake, rows(), "mended").success
    assert put_aside_in(lake, SNAPSHOTS, SPAN).is_empty()
    assert kept(lake, SNAPSHOTS).height == 20


def test_killed_before_its_check_a_stopped_hour_is_due_all_the_same_and_the_other_is_not(lake: Lake) -> None:
    late = pl.col("event_time") >= START + HOUR
    made = pl.concat([rows(), *(rows(pool=pl.lit(f"0xa{i}"), reserve_usd=pl.lit(-5.0)).filter(late) for i in range(5))])

    @hourly_asset(name="snapshots")
    def snapshots(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        return refreshed(context, lake, RECIPE, lambda span: inside(made, span))

    dg.materialize([snapshots], resources={"lake": lake}, tags=range_tags(SPAN))
    (hour,) = stopped_hours(lake, SNAPSHOTS, SPAN)
    assert stale_hours(lake, RECIPE, SPAN) == [hour] == [START + HOUR]
    assert kept(lake, SNAPSHOTS).filter(late).is_empty()


def test_computed_again_an_hour_puts_aside_the_same_records_and_takes_back_what_is_sound_now(lake: Lake) -> None:
    refreshed_with(lake, rows(reserve_usd=DOUBT))
    first = kept(lake, QUARANTINE)
    refreshed_with(lake, rows(reserve_usd=DOUBT), Recipe("snapshots", (), "same rows, other code"))
    assert kept(lake, QUARANTINE).equals(first)
    refreshed_with(lake, rows(), Recipe("snapshots", (), "mended"))
    assert kept(lake, QUARANTINE)["reason"].to_list() == ["withdrawn"]
    assert kept(lake, SNAPSHOTS).height == 20


def test_records_that_parsers_refused_stay_as_they_are(lake: Lake) -> None:
    refused = valid_frame(QUARANTINE, 1).with_columns(
        table_name=pl.lit("snapshots"), reason=pl.lit("not_finite"), event_time=pl.lit(START)
    )
    lake.append(QUARANTINE, refused)
    refreshed_with(lake, rows(reserve_usd=DOUBT))
    refreshed_with(lake, rows(), Recipe("snapshots", (), "mended"))
    assert sorted(kept(lake, QUARANTINE)["reason"]) == ["not_finite", "withdrawn"]


def test_a_kill_between_quarantine_and_table_costs_computing_again_and_no_row(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            refreshed_with(lake, rows(reserve_usd=DOUBT))
    assert kept(lake, QUARANTINE).height == 1
    refreshed_with(lake, rows(reserve_usd=DOUBT))
    assert (kept(lake, SNAPSHOTS).height, kept(lake, QUARANTINE).height) == (19, 1)


def test_a_released_record_passes_at_its_hour_survives_recomputation_and_its_check_accepts_it(lake: Lake) -> None:
    refreshed_with(lake, rows(reserve_usd=DOUBT))
    (record,) = kept(lake, QUARANTINE)["record_id"]
    release(lake, [record], reason="a debt, not an error", actor="ann", now=NOW)
    assert [hour.hour for hour in stale_hours(lake, RECIPE, SPAN)] == [18]
    assert listed(lake)["release"].to_list() == ["waits until its hour is computed again"]
    for code in ("code", "computed again"):
        result = run(lake, rows(reserve_usd=DOUBT), code)
        (evaluation,) = result.get_asset_check_evaluations()
        assert (evaluation.passed, evaluation.metadata["released"].value) == (True, 1)
        assert kept(lake, SNAPSHOTS).height == 20
    assert kept(lake, QUARANTINE)["reason"].to_list() == ["released"]
    (row,) = kept(lake, RELEASES).to_dicts()
    assert (row["actor"], row["reason"], row["known_at"]) == ("ann", "a debt, not an error", NOW)


def test_a_second_release_is_told_of_the_first_and_two_at_once_are_one(lake: Lake) -> None:
    refreshed_with(lake, rows(reserve_usd=DOUBT))
    (record,) = kept(lake, QUARANTINE)["record_id"]

    def says(actor: str) -> str:
        return str(release(Lake(lake.root), [record], reason="why", actor=actor, now=NOW)["actor"].item())

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(says, ("ann", "bob")))
    assert [*said, says("eve")] == kept(lake, RELEASES)["actor"].to_list() * 3


def test_what_cannot_be_released_is_refused_and_nothing_is_written(lake: Lake) -> None:
    nan = pl.when(pl.int_range(pl.len()) == 3).then(float("nan")).otherwise("price_usd")
    refreshed_with(lake, rows(price_usd=nan))
    (record,) = kept(lake, QUARANTINE)["record_id"]
    for ids, reason, words in (([record], "why", "never"), (["0" * 64], "why", "no such"), ([record], " ", "who and")):
        with pytest.raises(UsageError, match=words):
            release(lake, ids, reason=reason, actor="ann", now=NOW)
    assert lake.version(RELEASES) is None


def test_the_commands_list_and_release(lake: Lake, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=window.pwned=1>\x1b[2J"
    refreshed_with(lake, rows(reserve_usd=DOUBT, pool=pl.lit(hostile)).unique(SNAPSHOTS.key))
    where = ["--data-dir", str(tmp_path)]
    runner = CliRunner()
    shown = runner.invoke(quality, ["quarantine", "list", *where])
    assert shown.exit_code == 0
    assert "\x1b" not in shown.output
    assert "<img" not in shown.output
    told = json.loads(runner.invoke(quality, ["quarantine", "list", "--json", "--table", "snapshots", *where]).stdout)
    assert [row["release"] for row in told] == ["may be released"]
    nothing = runner.invoke(quality, ["quarantine", "list", "--json", "--since", "2030-01-01", *where])
    assert json.loads(nothing.stdout) == []
    done = runner.invoke(
        quality, ["quarantine", "release", told[0]["record_id"], "--reason", "looked at", "--actor", "ann", *where]
    )
    assert done.exit_code == 0, done.output
    assert "snapshots: materialise 2020-09-08-18:00" in done.stdout
    assert kept(lake, RELEASES)["actor"].to_list() == ["ann"]


def one(**values: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The second row with other values."""
    at = pl.int_range(pl.len()) == 1
    return lambda frame: frame.with_columns(
        pl.when(at).then(_value(value, frame.schema[name])).otherwise(name).alias(name)
        for name, value in values.items()
    )


def _value(value: Any, dtype: pl.DataType) -> pl.Expr:
    return value if isinstance(value, pl.Expr) else pl.lit(value, dtype)


AT, HOURS_LATER = pl.col("event_time"), timedelta(hours=9)
PLANTED: dict[str, tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]] = {
    "a row twice": ("snapshots", lambda f: pl.concat([f, f.head(1)])),
    "one key with two values": ("features_core", lambda f: pl.concat([f, one(risk_score=1.0)(f)[1:2]])),
    "a missing column": ("snapshots", lambda f: f.drop("reserve_usd")),
    "an extra column": ("labels", lambda f: f.with_columns(extra=pl.lit(1))),
    "a text where a number belongs": ("candles", lambda f: f.with_columns(pl.col("close").cast(pl.String))),
    "times without a zone": ("candles", lambda f: f.with_columns(AT.dt.replace_time_zone(None))),
    "a missing pool": ("snapshots", one(pool=None)),
    "a missing count": ("snapshots", one(n_missed=None)),
    "a missing price of a bar": ("candles", one(high=None)),
    "NaN": ("features_market", one(price_momentum_1h_pct=float("nan"))),
    "infinity": ("snapshots", one(price_usd=float("inf"))),
    "a negative reserve": ("snapshots", one(quote_reserve=-1.0)),
    "a negative volume": ("candles", one(volume_usd=-1.0)),
    "a reserve of zero": ("reserves", one(base_reserve=0.0)),
    "a share above one": ("snapshots", one(inclusion_probability=1.5)),
    "a feature outside its range": ("features_technical", one(rsi_5m=101.0)),
    "a fall of more than everything": ("snapshots", one(price_change_h1_pct=-150.0)),
    "an unknown outcome": ("labels", one(outcome="MOONSHOT")),
    "an unknown way of building a bar": ("candles", one(built_from="</script><script>window.pwned=1</script>")),
    "high below low": ("candles", one(high=pl.col("low") - 1e-3, low=pl.col("high") + 1e-3)),
    "a close outside its bar": ("candles", one(close=pl.col("high") * 2 + 1)),
    "windows inverted": ("snapshots", one(volume_h1_usd=pl.col("volume_h24_usd") + 1)),
    "trades that shrink with the window": ("snapshots", one(n_buys_m5=pl.col("n_buys_h24") + 1)),
    "known before it was true": ("snapshots", one(known_at=AT - HOURS_LATER, observed_at=AT - 2 * HOURS_LATER)),
    "observed after it was true": ("snapshots", one(observed_at=AT + HOURS_LATER)),
    "older than its pool": ("snapshots", one(created_at=AT + HOURS_LATER)),
    "a time off the grid": ("snapshots", one(event_time=AT + timedelta(seconds=7), known_at=AT + HOURS_LATER)),
    "a bar known before it ended": ("candles", one(known_at=AT + timedelta(minutes=4))),
    "a RISE that fell": ("labels", lambda f: f.with_columns(
        return_end_pct=pl.when(pl.col("outcome") == "RISE").then(-4.0).otherwise("return_end_pct"))),
    "a label known before its horizon": ("labels", lambda f: f.with_columns(
        label_known_at=pl.when(pl.col("outcome") == "RISE").then(AT).otherwise("label_known_at"))),
    "an outcome without a status": ("labels", one(status="pending")),
    "a peak below its trough": ("labels", one(return_peak_pct=-100.0, return_trough_pct=500.0)),
    "a touch that was not": ("labels", lambda f: f.with_columns(
        first_touch=pl.when(AT.is_not_null()).then(pl.lit("lower")), return_trough_pct=pl.lit(-1.0))),
    "a MACD that does not add up": ("features_technical", one(macd_histogram_5m=pl.col("macd_5m") + 1e6)),
    "more trades in an hour than in a day": ("features_activity", one(n_trades_24h=0)),
    "a bull that fell": ("market_labels", one(kind="regime", status="labelled", value="bull", return_pct=-5.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_never_reaches_its_table(name: str, lake: Lake) -> None:
    """It is put aside, it stops its hour, or the lake refuses it: in each case somebody is told."""
    table_name, plant = PLANTED[name]
    target = TABLES[table_name]
    sound = valid_frame(target, 12)
    span = Span(START - HOUR, START + 48 * HOUR)
    bad = plant(sound)
    try:
        passed = admitted(lake, target, bad, span)
        lake.replace(target, passed, span)
    except InputError:
        assert lake.version(target) is None
        return
    n_aside = put_aside_in(lake, target, span).height
    assert n_aside > 0
    assert kept(lake, target).join(bad, on=target.schema.names(), how="anti", nulls_equal=True).is_empty()
    assert passed.join(sound, on=target.schema.names(), how="anti", nulls_equal=True).is_empty()


def test_thirty_kinds_of_faults_are_planted() -> None:
    assert len(PLANTED) >= 30
