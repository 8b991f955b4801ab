"""What is derived for a model: features, one table a family and one of them all.

Belongs here: each feature's name, unit, range and meaning. Stays out: formulas (`pipeline.features`).
"""

from typing import Final

import polars as pl

from pipeline.tables.columns import (
    EVENT_TIME,
    KNOWN_AT,
    NETWORK,
    POOL,
    POOL_TIME_KEY,
    SOURCE,
    Change,
    Column,
    Table,
    count_column,
    flag_column,
    real_column,
)

BAR_MINUTES: Final = (5, 15, 60)
"""Lengths of the bars that indicators are computed on."""

_CORE: Final = (
    real_column("reserve_usd", "value of both reserves", "USD", 0),
    real_column("risk_score", "share of the risk points that what is known of the pool earns it", "%", 0, 100),
    count_column("n_holders", "wallets that hold the base token", nullable=True),
    real_column("top10_pct", "share of the base token's ten largest holders", "%", 0, 100),
    flag_column("is_mint_revoked", "nobody can mint more of the base token"),
    flag_column("is_freeze_revoked", "nobody can freeze holders of the base token"),
    real_column("lp_burned_pct", "share of the liquidity tokens that is burned or locked", "%", 0, 100),
    flag_column("has_socials", "the base token names a website or an account"),
    real_column("age_hours", "time since the pool was created", "h", 0),
)
_MOMENTUM: Final = (
    real_column("price_change_5m_pct", "price change over 5 min", "%", -100),
    real_column("price_change_1h_pct", "price change over 1 h, or since birth if that is later", "%", -100),
    real_column("price_change_24h_pct", "price change over 24 h, or since birth if that is later", "%", -100),
    real_column("volume_change_1h_pct", "traded value of the last hour against the hour before", "%", -100),
    real_column("volume_change_24h_pct", "traded value of the last 24 h against the 24 h before", "%", -100),
    real_column("buy_pressure_1h", "share of purchases among the trades of the last hour", "1", 0, 1),
)
_SMART_MONEY: Final = (
    Column("smart_money_net_buys", pl.Int64(), "purchases less sales by smart wallets in the last hour", "trades",
           nullable=True),
    real_column("smart_money_holding", "share of the base tokens held since purchase that smart wallets hold", "1", 0,
                1),
    flag_column("is_smart_money_bullish", "smart wallets bought more often than they sold, and hold"),
)  # fmt: skip
_TRENDS: Final = (
    real_column("price_velocity", "mean price change per hour over the last hour", "%/h"),
    real_column("volume_acceleration", "traded value of 5 min against the mean 5 min of the last hour", "1", 0),
    real_column("liquidity_trend", "reserve now against the reserve an hour before", "%", -100),
    real_column("holder_trend", "holders now against the holders an hour before", "%", -100),
    real_column("price_drawdown_24h_pct", "price against the highest snapshot of the last 24 h", "%", -100, 0),
    real_column("reserve_drawdown_24h_pct", "reserve against the largest snapshot of the last 24 h", "%", -100, 0),
)
_PATTERNS: Final = (
    flag_column("has_volume_spike", "the last 5 min traded at least three times the hour's mean"),
    flag_column("is_pumping", "price up over 10 % in 5 min with most trades purchases"),
    flag_column("is_dumping", "price down over 10 % in 5 min with most trades sales"),
)
_SENTIMENT: Final = (
    real_column("sentiment_score", "what is said of the token, from all bad to all good", "1", -1, 1),
    real_column("sentiment_confidence", "how sure the score is", "1", 0, 1),
    flag_column("has_sentiment", "somebody said something of the token"),
)
_ACTIVITY: Final = (
    real_column("volume_1h_usd", "traded value of the last hour", "USD", 0),
    real_column("volume_24h_usd", "traded value of the last 24 h", "USD", 0),
    count_column("n_buys_1h", "purchases in the last hour", nullable=True),
    count_column("n_sells_1h", "sales in the last hour", nullable=True),
    count_column("n_trades_24h", "trades in the last 24 h", nullable=True),
    real_column("turnover_1h", "traded value of the last hour over the reserve", "1", 0),
)

_PRICE: Final = "quote tokens"
TECHNICAL_FIELDS: Final = (
    ("open", "first price of the last closed bar", _PRICE, 0, None),
    ("high", "highest price of the last closed bar", _PRICE, 0, None),
    ("low", "lowest price of the last closed bar", _PRICE, 0, None),
    ("close", "last price of the last closed bar", _PRICE, 0, None),
    ("volume", "traded value of the last closed bar", "USD", 0, None),
    ("vwap", "volume-weighted average price of the UTC day so far", _PRICE, 0, None),
    ("atr", "average true range, Wilder, 14 bars", _PRICE, 0, None),
    ("rsi", "relative strength index, Wilder, 14 bars", "1", 0, 100),
    ("macd", "difference of the 12- and 26-bar exponential averages", _PRICE, None, None),
    ("macd_signal", "9-bar exponential average of macd", _PRICE, None, None),
    ("macd_histogram", "macd less its signal", _PRICE, None, None),
    ("bollinger_upper", "20-bar mean plus two standard deviations", _PRICE, None, None),
    ("bollinger_middle", "20-bar mean", _PRICE, 0, None),
    ("bollinger_lower", "20-bar mean less two standard deviations", _PRICE, None, None),
    ("bollinger_position", "place between the bands, 0 at the lower, 1 at the upper", "1", None, None),
    ("stoch_k", "stochastic %K, 14 bars, smoothed over 3", "1", 0, 100),
    ("stoch_d", "3-bar mean of stoch_k", "1", 0, 100),
    ("williams_r", "Williams %R, 14 bars", "1", -100, 0),
    ("cci", "commodity channel index, 14 bars", "1", None, None),
    ("adx", "average directional index, 14 bars", "1", 0, 100),
    ("obv", "on-balance volume since the first bar", "USD", None, None),
    ("mfi", "money flow index, 14 bars", "1", 0, 100),
    ("trend_strength", "macd over atr", "1", None, None),
)  # fmt: skip
"""Field, meaning, unit, minimum, maximum; each is a column for every one of BAR_MINUTES."""
_TECHNICAL: Final = tuple(
    real_column(f"{field}_{minutes}m", f"{meaning}; bars of {minutes} min", unit, low, high)
    for minutes in BAR_MINUTES
    for field, meaning, unit, low, high in TECHNICAL_FIELDS
)
EXTRA_COLUMNS: Final[tuple[str, ...]] = ()
"""Columns of the pandas-ta indicators that `FeaturesSpec.extra_indicators` switches on: `ta_aroonu_14_5m` and the like.
Where the two do not agree, nothing starts, and the message says what to write here. Rows that are stored already lack
the column: say so in `FEATURE_CHANGES` too."""
_EXTRA: Final = tuple(real_column(name, "an indicator of pandas-ta, as it computes it", "1") for name in EXTRA_COLUMNS)
_MARKET: Final = (
    *(real_column(f"price_momentum_{h}_pct", f"last close against the close {h} before", "%", -100)
      for h in ("15m", "1h", "6h", "24h")),
    real_column("volume_profile_24h", "share of the value traded in 24 h that was traded near the price of now", "1", 0,
                1),
    *(real_column(f"liquidity_depth_{usd}_usd_pct", f"how far a purchase of {usd} USD would move the price", "%", 0)
      for usd in (100, 1000, 10000)),
    real_column("spread_roll_1h_pct", "effective spread by the bounce of trade prices (Roll 1984)", "%", 0),
    real_column("spread_corwin_schultz_24h_pct", "effective spread by highs and lows (Corwin & Schultz 2012)", "%", 0,
                200),
    *(real_column(f"volatility_{name}_{w}_pct", f"standard deviation of a 5-min return over {w}, {how}", "%", 0)
      for w in ("1h", "24h")
      for name, how in (("parkinson", "by highs and lows (Parkinson 1980)"),
                        ("garman_klass", "by open, high, low, close (Garman & Klass 1980)"),
                        ("realised", "by closes"))),
    real_column("liquidity_stability_24h", "1 over 1 + coefficient of variation of the reserve", "1", 0, 1),
    real_column("liquidity_growth_rate_6h", "mean growth of the reserve per hour over 6 h", "%/h"),
)  # fmt: skip
_CORRELATION: Final = (
    real_column("quote_correlation_24h", "correlation of 5-min returns with the quote token's USD price", "1", -1, 1),
    real_column("quote_beta_24h", "slope of 5-min returns on those of the quote token's USD price", "1"),
    real_column("index_correlation_24h", "correlation of 5-min returns with the network's pool index", "1", -1, 1),
    real_column("index_beta_24h", "slope of 5-min returns on those of the network's pool index", "1"),
    real_column("share_rising_1h", "share of the network's pools that traded in the last hour and rose", "1", 0, 1),
    real_column("lead_lag_24h", "correlation with the index's next return less that with its last one", "1", -2, 2),
)
_FLOW: Final = (
    real_column("order_flow_imbalance_1h", "value bought less value sold, over both, last hour", "1", -1, 1),
    real_column("largest_trade_share_1h", "share of the largest trade in the value of the last hour", "1", 0, 1),
    real_column("buyer_herfindahl_1h", "concentration of the value bought in the last hour over its buyers", "1", 0, 1),
    real_column("first_minute_buy_share", "share of the first hour's purchases made in the first minute", "1", 0, 1),
    count_column("n_first_minute_buyers", "wallets that bought in the first minute", nullable=True),
)

FAMILY_COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "core": _CORE,
    "momentum": _MOMENTUM,
    "smart_money": _SMART_MONEY,
    "trends": _TRENDS,
    "patterns": _PATTERNS,
    "sentiment": _SENTIMENT,
    "activity": _ACTIVITY,
    "technical": (*_TECHNICAL, *_EXTRA),
    "market": _MARKET,
    "correlation": _CORRELATION,
    "flow": _FLOW,
}
"""Every feature, by family; the first six families are the 28 of the snapshot model and two drawdowns."""

FEATURE_HEAD: Final = (SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT)

FEATURE_CHANGES: Final[tuple[tuple[str, Change], ...]] = ()
"""How features changed since the first release, oldest first, each with its family: `("flow", Added("n_sells_1h"))`."""

FAMILY_TABLES: Final = {
    family: Table(
        f"features_{family}",
        "features",
        f"pool, time: the {family.replace('_', ' ')} features alone",
        (*FEATURE_HEAD, *columns),
        key=POOL_TIME_KEY,
        changes=tuple(change for of, change in FEATURE_CHANGES if of == family),
    )
    for family, columns in FAMILY_COLUMNS.items()
}
FAMILY_TABLE_NAMES: Final = tuple(target.name for target in FAMILY_TABLES.values())

FEATURES: Final = Table(
    "features",
    "features",
    "pool, time: what a model may know at that time",
    (*FEATURE_HEAD, *(column for columns in FAMILY_COLUMNS.values() for column in columns)),
    key=POOL_TIME_KEY,
    changes=tuple(change for _, change in FEATURE_CHANGES),
)
