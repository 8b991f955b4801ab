"""Pools: what the market told us, kept as told, then parsed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from assets.hours import asked_span, hourly_asset, hours_of, refreshed, span_of, told_in
from assets.metadata import frame_metadata, n_rows, table_value
from pipeline.calendars import DAY, HOUR, Clock, Span, spans_of
from pipeline.lake import Lake
from pipeline.pools import candles as bars
from pipeline.pools.collecting_spec import CollectionSpec, SamplerSpec
from pipeline.pools.collector_setup import CollectorSetup
from pipeline.pools.cycle import Cycle
from pipeline.pools.drain import drain
from pipeline.pools.listing import births_told_in, list_pools
from pipeline.pools.parse import parse_ohlcv, parse_pools, parse_token_infos, parse_trades, richest
from pipeline.pools.shelf import Shelf, content_at, replace_pools, together
from pipeline.pools.spec import PoolsSpec
from pipeline.pools.told_candles import told_candles
from pipeline.provenance import Input, Recipe, code_of, mark, record_hours, unmarked
from pipeline.tables import (
    CANDLES,
    LABELS,
    POOLS,
    PREDICTIONS,
    QUARANTINE,
    RAW_CANDLES,
    RAW_POOLS,
    RESERVES,
    TOKENS,
    TRADES,
    Table,
)

SPEC = PoolsSpec()
COLLECTION = CollectionSpec()
SAMPLER = SamplerSpec()
COLLECTING = (
    "attention", "breaker", "budget", "clock_check", "collecting_spec", "collector", "collector_setup", "cycle",
    "details", "discovery", "draws", "feeds", "journal", "memory", "sampler", "source", "transfer", "watch",
)  # fmt: skip
"""Modules that decide what is asked; no row that is parsed from an answer depends on them."""
CODE = code_of("pools", SPEC, without=COLLECTING)
A_FEW_HOURS = 6 * HOUR
"""Answers are large: so much of them is parsed at once."""
RAW = Recipe("raw_pools", (Input("answers"),), CODE)
TOLD_TOKENS = Recipe("tokens", (Input("answers"),), CODE)
TOLD_TRADES = Recipe("trades told", (Input("answers"),), CODE)
TOLD_CANDLES = Recipe("raw_candles told", (Input("answers"),), CODE)
"""Swaps and bars are filed by when they were; which hours of answers they were read from is on record beside them."""


def answers_asset(networks: Sequence[str]) -> dg.AssetsDefinition:
    """The asset that collects, with one check a network: a network that fails fails its own check, not the others."""
    checks = [
        dg.AssetCheckSpec(
            name=_check_of(network),
            asset="answers",
            description=f"`{network}` answered in the last cycle, and no pool born there can have been missed.",
        )
        for network in networks
    ]

    @dg.asset(name="answers", group_name="pools", check_specs=checks, pool="api")
    def answers(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], collector: dg.ResourceParam[CollectorSetup]
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]  # with checks, Dagster takes the bare class alone
        """One collection cycle: new pools and due visits within the budget, every answer kept as told."""
        now = collector.timer.now()
        setup = replace(collector, outcome_counts=outcome_counts(lake, collector.source, now))
        with setup.open(context.log.info) as desk:
            if desk.watch.n_watched() == 0:
                desk.watch.restore(last_seen(lake, collector, now))
            desk.watch.lift(with_live_prediction(lake, collector.source, now), desk.next_slot())
            cycle = desk.cycle(desk.next_slot())
            hours = drain(desk.journal, lake)
        context.log.info(f"{len(hours)} hours of answers brought to the lake")
        return dg.MaterializeResult(
            metadata={
                **cycle.totals(),
                "networks": table_value(cycle.networks),
            },
            check_results=[_verdict(network, cycle) for network in networks],
        )

    return answers


def told_once(
    context: dg.AssetExecutionContext,
    lake: Lake,
    target: Table,
    recipe: Recipe,
    endpoint: str,
    parse: Callable[[pl.DataFrame, PoolsSpec], tuple[pl.DataFrame, pl.DataFrame]],
) -> dg.MaterializeResult[Any]:
    """Add what the run's hours of answers tell, and record the hours it falls into and those it was read from.

    Hours that were read already, by this code, are left alone.
    """
    added = [target.empty()]
    for run in spans_of(unmarked(lake, recipe, asked_span(context))):
        for piece in run.pieces(A_FEW_HOURS):
            rows, refused = parse(told_in(lake, piece, endpoint), SPEC)
            lake.append(QUARANTINE, refused)
            lake.append(target, rows)
            record_hours(lake, target, hours_of(rows), columns=target.key)
            mark(lake, recipe, piece)
            added.append(rows)
    return dg.MaterializeResult(metadata=frame_metadata(target, pl.concat(added), n_rows(lake, target)))


def last_seen(lake: Lake, collector: CollectorSetup, now: datetime) -> pl.DataFrame:
    """The newest record of every pool that would still be followed: what a lost watch list is made again from."""
    followed = Span(now - timedelta(days=SAMPLER.follow_days), now + HOUR)
    rows = lake.scan(RAW_POOLS, followed).filter(pl.col("source") == collector.source).sort("event_time")
    return rows.unique(["network", "pool"], keep="last", maintain_order=True).collect()


def with_live_prediction(lake: Lake, source: str, now: datetime) -> list[tuple[str, str, datetime]]:
    """The pools of which a prediction was made whose horizon is not over, and until when: they are lifted."""
    end = (pl.col("event_time") + pl.duration(hours="horizon_hours")).alias("end")
    rows = lake.scan(PREDICTIONS, Span(now - DAY, now + HOUR), sources=[source]).with_columns(end)
    live = rows.filter(pl.col("known_at") <= pl.col("end"), pl.col("end") > now)
    found = live.group_by("network", "pool").agg(pl.col("end").max()).sort("network", "pool").collect()
    return list(found.iter_rows())


def outcome_counts(lake: Lake, source: str, now: datetime) -> dict[str, int]:
    """How often each outcome was seen lately: pools whose story looks like a rare one are taken more often."""
    lately = Span(now - timedelta(days=SAMPLER.follow_days), now + HOUR)
    known = lake.scan(LABELS, lately, sources=[source]).filter(pl.col("status") == "labelled")
    return dict(known.group_by("outcome").len().sort("outcome").collect().iter_rows())


def _check_of(network: str) -> str:
    return "collected_" + network.replace("-", "_")


def _verdict(network: str, cycle: Cycle) -> dg.AssetCheckResult:
    is_passed, words = cycle.verdict(network)
    return dg.AssetCheckResult(
        check_name=_check_of(network), passed=is_passed, severity=dg.AssetCheckSeverity.WARN, description=words
    )


@hourly_asset(deps=["answers"])
def raw_pools(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
    """Every pool in every answer, as told. What cannot be true lies in `quarantine`, each record with its reason."""
    refused = [QUARANTINE.empty()]

    def compute(span: Span) -> pl.DataFrame:
        parsed = parse_pools(told_in(lake, span, "new_pools", "pools_multi", "pool"), SPEC)
        lake.append(QUARANTINE, parsed.quarantine)
        refused.append(parsed.quarantine)
        return parsed.raw_pools

    done = refreshed(context, lake, RAW, compute, piece=A_FEW_HOURS)
    return done._replace(metadata={**(done.metadata or {}), "quarantined": sum(map(len, refused))})


@hourly_asset(deps=["answers"])
def tokens(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
    """Every token in every answer: what it calls itself, who holds it, who may mint it, as far as it was told."""

    def compute(span: Span) -> pl.DataFrame:
        told = told_in(lake, span, "new_pools", "pools_multi", "pool", "token_info", "tokens_recently_updated")
        infos = parse_token_infos(told, SPEC)
        lake.append(QUARANTINE, infos.quarantine)
        return richest(pl.concat([infos.tokens, parse_pools(told, SPEC).tokens]))

    return refreshed(context, lake, TOLD_TOKENS, compute, piece=A_FEW_HOURS)


@hourly_asset(deps=["answers"])
def trades(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
    """Every swap that was told of, once, as first told; told in the hours of the run, filed by its block's time."""
    return told_once(context, lake, TRADES, TOLD_TRADES, "trades", parse_trades)


@hourly_asset(deps=["answers"])
def raw_candles(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
    """Every finished bar that was told of, once, as first told; told in the hours of the run, filed by its start."""
    return told_once(context, lake, RAW_CANDLES, TOLD_CANDLES, "ohlcv", parse_ohlcv)


@hourly_asset()
def reserves(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    shelf: dg.ResourceParam[Shelf],
    wall_clock: dg.ResourceParam[Clock],
) -> dg.MaterializeResult[Any]:
    """Every reserve update of every recording, as told. What cannot be true lies in `quarantine`, with its reason."""
    # The machine's own time, also in a replay: what is later than that nobody can have recorded.
    told = shelf.read(SPEC, wall_clock.now())
    frames = together(told)
    lake.append(QUARANTINE, frames.quarantine)
    replace_pools(lake, frames.pools)
    recipe = Recipe("reserves", (), CODE, depends_on=lambda hour: content_at(told, hour))

    def compute(span: Span) -> pl.DataFrame:
        return frames.reserves.filter(pl.col("event_time").is_between(span.start, span.end, closed="left"))

    return refreshed(context, lake, recipe, compute)


@dg.asset(deps=[reserves, raw_pools, tokens])
def pools(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
    """Every pool told of: its tokens and its birth as first told, and until when its source vouches for its record."""
    # It has no partitions, so its page asks for no hours: then all that was ever told is looked through.
    span = span_of(context.run.tags)
    records = lake.scan(RAW_POOLS, span).collect()
    known = lake.scan(POOLS, births_told_in(records)).collect()
    found = list_pools(records, lake.scan(TOKENS, span).collect(), known, SPEC)
    lake.append(POOLS, found)
    return dg.MaterializeResult(metadata=frame_metadata(POOLS, found, n_rows(lake, POOLS)))


@hourly_asset(deps=[reserves, pools, raw_candles, trades, raw_pools])
def candles(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], shelf: dg.ResourceParam[Shelf]
) -> dg.MaterializeResult[Any]:
    """Five-minute bars of price, volume and reserve. Bars without an update do not exist; none is invented."""
    refused = [QUARANTINE.empty()]

    def compute(span: Span) -> pl.DataFrame:
        updates = lake.scan(RESERVES, span).collect()
        recorded_pools = lake.scan(POOLS, sources=updates["source"].unique().to_list()).collect()
        told = told_candles(
            lake.scan(RAW_CANDLES, span).collect(),
            lake.scan(TRADES, span.widened(back=DAY, ahead=HOUR)).collect(),
            lake.scan(RAW_POOLS, span.widened(ahead=HOUR)).collect(),
            span,
            SPEC,
            COLLECTION.late,
        )
        lake.append(QUARANTINE, told.quarantine)
        refused.append(told.quarantine)
        # A recording may be imported and collected from a sandbox, too; the import saw every update.
        both = pl.concat([bars.candles(updates, recorded_pools, SPEC), told.candles])
        return both.unique(CANDLES.key, keep="first", maintain_order=True)

    done = refreshed(context, lake, candles_recipe(shelf), compute)
    return done._replace(metadata={**(done.metadata or {}), "quarantined": sum(map(len, refused))})


def candles_recipe(shelf: Shelf) -> Recipe:
    """What an hour of candles is made from; of a recording's pools it takes more than their updates."""
    told = f"{shelf.content()} {COLLECTION.late}"
    inputs = (
        Input("reserves"), Input("raw_candles"), Input("trades", back=DAY, ahead=HOUR), Input("raw_pools", ahead=HOUR),
    )  # fmt: skip
    return Recipe("candles", inputs, CODE, depends_on=lambda _hour: told)
