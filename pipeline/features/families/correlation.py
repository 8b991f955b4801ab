"""The correlation family: how the pool goes along with its quote token and with the other pools of its network.

Belongs here: what compares the pool with the market; these features change when other pools do. Stays out: the pool by
itself (`market`, `technical`), the index and the pairs (`market_index`, `from_index`).

All over pairs of 5-min log returns of the same bars, as known at t, whose bars ended in the 24 h up to the end of the
last pair's bar; the pool's own returns are not in the index it is compared with.
"""

from typing import Final

from pipeline.features.algebra import Value, clamp
from pipeline.features.feature import Example, feature
from pipeline.features.inputs import OfIndex, Row
from pipeline.features.spec import FeaturesSpec

_QUOTE_CORRELATION: Final = OfIndex("quote_correlation")
_QUOTE_BETA: Final = OfIndex("quote_beta")
_INDEX_CORRELATION: Final = OfIndex("index_correlation")
_INDEX_BETA: Final = OfIndex("index_beta")
_LEAD: Final = OfIndex("lead_correlation")
_LAG: Final = OfIndex("lag_correlation")
_SHARE: Final = OfIndex("share_rising")
_FEW: Final = "fewer than `min_returns` pairs of returns, one side did not move, or the last pair is stale"
_NO_QUOTE: Final = f"{_FEW}; a recording takes the quote token's USD price as given, so there it never moves"


@feature(
    "quote_correlation_24h",
    family="correlation",
    inputs=(_QUOTE_CORRELATION,),
    null_rule=_NO_QUOTE,
    example=Example({_QUOTE_CORRELATION.name: -0.25}, -0.25),
)
def quote_correlation_24h(x: Row, _: FeaturesSpec) -> Value:
    """cov(r, q) / (sd(r) sd(q)), r the pool's price in quote tokens, q the quote token's USD price (Pearson 1895)."""
    return clamp(x[_QUOTE_CORRELATION], -1.0, 1.0)


@feature(
    "quote_beta_24h",
    family="correlation",
    inputs=(_QUOTE_BETA,),
    null_rule=_NO_QUOTE,
    example=Example({_QUOTE_BETA.name: 1.5}, 1.5),
)
def quote_beta_24h(x: Row, _: FeaturesSpec) -> Value:
    """cov(r, q) / var(q), r the pool's price in quote tokens, q the quote token's USD price (Sharpe 1964)."""
    return x[_QUOTE_BETA]


@feature(
    "index_correlation_24h",
    family="correlation",
    inputs=(_INDEX_CORRELATION,),
    null_rule=_FEW,
    example=Example({_INDEX_CORRELATION.name: 0.5}, 0.5),
)
def index_correlation_24h(x: Row, _: FeaturesSpec) -> Value:
    """cov(r, m) / (sd(r) sd(m)), m the mean return of the network's other pools, each cut at +-0.2 (Pearson 1895)."""
    return clamp(x[_INDEX_CORRELATION], -1.0, 1.0)


@feature(
    "index_beta_24h",
    family="correlation",
    inputs=(_INDEX_BETA,),
    null_rule=_FEW,
    example=Example({_INDEX_BETA.name: 0.75}, 0.75),
)
def index_beta_24h(x: Row, _: FeaturesSpec) -> Value:
    """cov(r, m) / var(m), m the mean return of the network's other pools, each cut at +-0.2 (Sharpe 1964)."""
    return x[_INDEX_BETA]


@feature(
    "share_rising_1h",
    family="correlation",
    inputs=(_SHARE,),
    null_rule="no pool of the network has two closes to compare, or the last bar of the index is stale",
    example=Example({_SHARE.name: 0.625}, 0.625),
)
def share_rising_1h(x: Row, _: FeaturesSpec) -> Value:
    """Share of the network's pools with a bar in the last hour whose last close is above their close an hour before.

    Of the last index bar known at t, this pool included. The close an hour before is that of the latest bar that ended
    by then, in the last 24 h; else the first close since. Advances over advances and declines, as in market breadth.
    """
    return x[_SHARE]


@feature(
    "lead_lag_24h",
    family="correlation",
    inputs=(_LEAD, _LAG),
    null_rule=_FEW,
    example=Example({_LEAD.name: 0.5, _LAG.name: 0.75}, -0.25),
)
def lead_lag_24h(x: Row, _: FeaturesSpec) -> Value:
    """corr(r_b, m_(b+1)) - corr(r_b, m_(b-1)), m as in `index_correlation_24h`: above zero where the pool goes ahead.

    Both over the same returns r_b of the pool, those for which the index has a bar before and a bar after. After
    Lo & MacKinlay (1990), "When Are Contrarian Profits Due to Stock Market Overreaction?", who compare
    cross-autocorrelations either way.
    """
    return clamp(x[_LEAD], -1.0, 1.0) - clamp(x[_LAG], -1.0, 1.0)
