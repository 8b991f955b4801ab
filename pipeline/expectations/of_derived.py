"""What a row must mean in the tables of what was derived: features and labels.

Belongs here: rules of one table each. Stays out: ranges of single features (their columns say those).
"""

from typing import Final

import polars as pl

from pipeline.expectations.bands import NEAR, OutcomeBands
from pipeline.expectations.rule import SLACK, Rule, iff, means, on_grid, ordered, together
from pipeline.tables import BAR_MINUTES

_HORIZON_END: Final = pl.col("event_time") + pl.duration(hours=pl.col("horizon_hours"))
_END: Final = pl.col("return_end_pct")
_TROUGH: Final = pl.col("return_trough_pct")
_PEAK: Final = pl.col("return_peak_pct")


def _bar(minutes: int) -> tuple[Rule, ...]:
    pairs = (
        ("low", "high"), ("open", "high"), ("close", "high"), ("low", "open"), ("low", "close"),
        ("bollinger_lower", "bollinger_middle"), ("bollinger_middle", "bollinger_upper"),
    )  # fmt: skip
    return tuple(ordered(f"{low}_{minutes}m", f"{high}_{minutes}m") for low, high in pairs)


def _histogram(minutes: int) -> Rule:
    names = tuple(f"{name}_{minutes}m" for name in ("macd_histogram", "macd", "macd_signal"))
    histogram, macd, signal = (pl.col(name) for name in names)
    size = macd.abs() + signal.abs()
    holds = (histogram - (macd - signal)).abs() <= SLACK * size
    return Rule(f"{names[0]} is {names[1]} less {names[2]}", names, holds)


def _pressure() -> Rule:
    buys, sells = pl.col("n_buys_1h"), pl.col("n_sells_1h")
    return Rule(
        "buy_pressure_1h is the share of n_buys_1h among all",
        ("buy_pressure_1h", "n_buys_1h", "n_sells_1h"),
        (pl.col("buy_pressure_1h") - buys / (buys + sells)).abs() <= SLACK,
    )


_TECHNICAL: Final = tuple(rule for minutes in BAR_MINUTES for rule in (*_bar(minutes), _histogram(minutes)))
_ACTIVITY: Final = (
    ordered("volume_1h_usd", "volume_24h_usd", SLACK),
    Rule(
        "n_buys_1h + n_sells_1h <= n_trades_24h",
        ("n_buys_1h", "n_sells_1h", "n_trades_24h"),
        pl.col("n_buys_1h") + pl.col("n_sells_1h") <= pl.col("n_trades_24h"),
    ),
)
_MARKET: Final = (
    ordered("liquidity_depth_100_usd_pct", "liquidity_depth_1000_usd_pct", SLACK),
    ordered("liquidity_depth_1000_usd_pct", "liquidity_depth_10000_usd_pct", SLACK),
)


def outcome_rules(bands: OutcomeBands) -> tuple[Rule, ...]:
    """An outcome and the path beside it do not contradict each other, by the very thresholds it was named by.

    Where the path is not known, nothing is said.
    """
    b = bands
    readings = {
        "MOON": (f"return_end_pct > {b.moon_pct:g}", b.moon_pct - NEAR <= _END),
        "PUMP": _between(b.pump_pct, b.moon_pct),
        "RISE": _between(b.stable_pct, b.pump_pct),
        "STABLE": _between(-b.stable_pct, b.stable_pct),
        "DIP": _between(b.decline_pct, -b.stable_pct),
        "DECLINE": (f"return_end_pct < {b.decline_pct:g}", b.decline_pct + NEAR >= _END),
    }
    if b.rug_drained_pct is None:
        edge = b.rug_reserve_price_pct
        readings["RUG"] = (f"return_trough_pct < {edge:g}", edge + NEAR >= _TROUGH)
    fell = Rule(
        f"what fell more than {-b.rug_price_pct:g} % is a RUG",
        ("outcome", "return_trough_pct"),
        (pl.col("outcome") == "RUG") | (b.rug_price_pct - NEAR <= _TROUGH),
    )
    path = (ordered("return_trough_pct", "return_end_pct"), ordered("return_end_pct", "return_peak_pct"))
    return (*path, *means("outcome", readings, "return_end_pct", "return_trough_pct"), fell)


def _between(low: float, high: float) -> tuple[str, pl.Expr]:
    return f"return_end_pct from {low:g} to {high:g}", _END.is_between(low - NEAR, high + NEAR)


def known_after_its_end() -> Rule:
    """Only of a rug one may know before the horizon is over."""
    return Rule(
        "label_known_at is not before the horizon's end, but of a RUG",
        ("label_known_at", "event_time", "horizon_hours", "outcome"),
        (pl.col("outcome") == "RUG") | (pl.col("label_known_at") >= _HORIZON_END),
    )


def _inside(column: str) -> Rule:
    """A moment of the path lies within the label's window."""
    return Rule(
        f"{column} lies within the horizon",
        (column, "event_time", "horizon_hours"),
        pl.col(column).is_between(pl.col("event_time"), _HORIZON_END),
    )


def _direction(bands: OutcomeBands) -> tuple[Rule, ...]:
    edge = bands.stable_pct
    readings = {
        "up": (f"return_end_pct > {edge:g}", edge - NEAR <= _END),
        "down": (f"return_end_pct < {-edge:g}", -edge + NEAR >= _END),
        "flat": _between(-edge, edge),
    }
    return means("direction", readings, "return_end_pct")


def _touch(bands: OutcomeBands) -> tuple[Rule, ...]:
    upper, lower = bands.barrier_upper_pct, bands.barrier_lower_pct
    neither = (upper + NEAR >= _PEAK) & (lower - NEAR <= _TROUGH)
    readings = {
        "upper": (f"return_peak_pct >= {upper:g}", upper - NEAR <= _PEAK),
        "lower": (f"return_trough_pct <= {lower:g}", lower + NEAR >= _TROUGH),
        "vertical": ("that neither barrier was met", neither),
    }
    return means("first_touch", readings, "return_peak_pct", "return_trough_pct")


def _labels(bands: OutcomeBands) -> tuple[Rule, ...]:
    labelled = pl.col("status") == "labelled"
    is_rug = (pl.col("outcome") == "RUG").fill_null(value=False)
    return (
        iff("outcome", "status is labelled", labelled, "status"),
        iff("censor_reason", "status is censored", pl.col("status") == "censored", "status"),
        ordered("return_trough_pct", "return_peak_pct"),
        iff("rug_kind", "the outcome is RUG", is_rug, "outcome"),
        iff("rug_at", "the outcome is RUG", is_rug, "outcome"),
        ordered("event_time", "executable_entry_at"),
        iff("label_known_at", "status is labelled", labelled, "status"),
        together("executable_entry_at", "return_executable_pct"),
        together("path_known_at", "return_end_pct"),
        together("peak_at", "return_peak_pct"),
        together("trough_at", "return_trough_pct"),
        together("first_touch_at", "first_touch"),
        ordered("label_known_at", "path_known_at"),
        ordered("event_time", "path_known_at"),
        ordered("event_time", "rug_at"),
        ordered("rug_at", "label_known_at"),
        *(_inside(column) for column in ("peak_at", "trough_at", "first_touch_at")),
        known_after_its_end(),
        Rule("average_uniqueness is above zero", ("average_uniqueness",), pl.col("average_uniqueness") > 0),
        *outcome_rules(bands),
        *_direction(bands),
        *_touch(bands),
    )


def _market_labels() -> tuple[Rule, ...]:
    change = pl.col("return_pct")
    readings = {
        "bull": ("return_pct > 0", change > 0),
        "bear": ("return_pct < 0", change < 0),
        "into_base": ("return_pct > 0", change > 0),
        "into_pools": ("return_pct < 0", change < 0),
    }
    return (
        iff("value", "status is labelled", pl.col("status") == "labelled", "status"),
        iff("censor_reason", "status is censored", pl.col("status") == "censored", "status"),
        iff("label_known_at", "status is labelled", pl.col("status") == "labelled", "status"),
        Rule(
            "a regime is bull, bear or sideways, a rotation into_base, into_pools or none",
            ("kind", "value"),
            (pl.col("kind") == "regime") == pl.col("value").is_in(["bull", "bear", "sideways"]),
        ),
        on_grid("event_time", "1h", "the start of an hour"),
        *means("value", readings, "return_pct"),
    )


def derived(bands: OutcomeBands) -> dict[str, tuple[Rule, ...]]:
    """The rules of each table, by its name."""
    return {
        "features_technical": _TECHNICAL,
        "features_activity": _ACTIVITY,
        "features_market": _MARKET,
        "features": (*_TECHNICAL, *_ACTIVITY, *_MARKET, _pressure()),
        "labels": _labels(bands),
        "market_labels": _market_labels(),
    }
