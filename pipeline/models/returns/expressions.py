"""The features of a decision as QLib expressions: Alpha158's, and ours beside them.

Belongs here: names and expressions. Stays out: their evaluation (`rows`).

Ours are made for pools: young series with gaps. Every one looks back only, over at most `LONGEST_HOURS` bars, and is a
ratio or a logarithm, so that it does not depend on the quote token. `$volume` is in quote tokens, hence a value.
"""

from typing import Final

from pipeline.models.returns.spec import ReturnsSpec

LONGEST_HOURS: Final = 72
BAR_FEATURES: Final = ("age_hours", "n_bars_until_now")
"""Counted from the bars since birth, which no rolling expression can: hours since birth, bars traded until then."""
REVERSAL_FEATURE: Final = "change_1h"
MOMENTUM_FEATURE: Final = "change_24h"

_TINY: Final = "1e-12"
_INSIDE: Final = "Log($close/$open)"


def own_expressions() -> dict[str, str]:
    """Our expressions by feature name; hours are bars.

    >>> own_expressions()["traded_share_24h"]
    'Count($close,24)/24'
    """
    found = {f"change_{h}h": f"Log($close/Ref($close,{h}))" for h in (1, 2, 3, 6, 12, 24)}
    found["range_1h"] = "Log($high/$low)"
    for h in (6, 24, LONGEST_HOURS):
        found |= {
            f"traded_share_{h}h": f"Count($close,{h})/{h}",
            f"volatility_{h}h": f"Std({_INSIDE},{h})",
            f"range_{h}h": f"Log(Max($high,{h})/Min($low,{h}))",
            f"drawdown_{h}h": f"Log($close/Max($high,{h}))",
            f"vwap_distance_{h}h": f"Log($close*Sum($volume,{h})/(Sum($vwap*$volume,{h})+{_TINY}))",
        }
    found |= {
        "volume_change_1_6h": f"Log(($volume+{_TINY})/(Mean($volume,6)+{_TINY}))",
        "volume_change_6_24h": f"Log((Sum($volume,6)+{_TINY})/(Sum($volume,24)+{_TINY}))",
        "volume_change_24_72h": f"Log((Sum($volume,24)+{_TINY})/(Sum($volume,{LONGEST_HOURS})+{_TINY}))",
        "skewness_24h": f"Skew({_INSIDE},24)",
        "price_volume_24h": f"Corr({_INSIDE},Log($volume+{_TINY}),24)",
    }
    return found


def expressions(spec: ReturnsSpec) -> dict[str, str]:
    """Every expression by feature name: those of QLib's Alpha158 with the windows of the spec, then ours."""
    from qlib.contrib.data.loader import Alpha158DL  # noqa: PLC0415  QLib takes seconds to import

    config = {
        "kbar": {},
        "price": {"windows": [0], "feature": ["OPEN", "HIGH", "LOW", "VWAP"]},
        "rolling": {"windows": list(spec.windows)},
    }
    fields, names = Alpha158DL.get_feature_config(config)
    return dict(zip(names, fields, strict=True)) | own_expressions()


def feature_names(spec: ReturnsSpec) -> tuple[str, ...]:
    """The feature columns of the rows, in their order."""
    return (*expressions(spec), *BAR_FEATURES)
