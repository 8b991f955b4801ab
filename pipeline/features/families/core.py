"""The core family: what a pool is worth, who holds its token, how old it is, and how risky all that makes it.

Belongs here: state. Stays out: change (`momentum`, `trends`), flags (`patterns`).
"""

from datetime import timedelta
from typing import Final

from pipeline.calendars import HOUR
from pipeline.features.algebra import Value, first_known, is_known, number, ratio, where
from pipeline.features.feature import Example, feature
from pipeline.features.inputs import Age, Input, Now, OfToken, Row, now
from pipeline.features.spec import FeaturesSpec

HOUR_US: Final = HOUR // timedelta(microseconds=1)
AGE: Final = Age()
N_HOLDERS: Final = OfToken("n_holders")
TOP10: Final = OfToken("top10_pct")
MINT: Final = OfToken("is_mint_revoked")
FREEZE: Final = OfToken("is_freeze_revoked")
SOCIALS: Final = OfToken("has_socials")
LOCKED: Final = Now("lp_burned_pct")
_UNTOLD: Final = "no answer spoke of it within the spec's `token_tolerance_hours`"
_RISKS: Final[tuple[Input, ...]] = (Now("reserve_usd"), N_HOLDERS, TOP10, MINT, FREEZE, LOCKED, SOCIALS, AGE)


def age_in_hours(x: Row) -> Value:
    """Hours since birth, as a real number, exact at whole hours; null before birth.

    No division by a constant: Polars multiplies a long column by the reciprocal but divides a single row, so the last
    bit would depend on how many rows are computed at once.
    """
    age = x[AGE]
    return age // HOUR_US + (age % HOUR_US) * (1 / HOUR_US)


@feature(
    "reserve_usd",
    family="core",
    inputs=now("reserve_usd"),
    null_rule="the reserve or the quote token's price is unknown",
    example=Example({"reserve_usd": 7_500.0}, 7_500.0),
)
def reserve_usd(x: Row, _: FeaturesSpec) -> Value:
    """reserve_usd(t), USD."""
    return x["reserve_usd"]


@feature(
    "n_holders",
    family="core",
    inputs=(N_HOLDERS,),
    null_rule=_UNTOLD,
    example=Example({N_HOLDERS.name: 12}, 12),
)
def n_holders(x: Row, _: FeaturesSpec) -> Value:
    """Wallets that hold the base token, as last told by t."""
    return x[N_HOLDERS]


@feature(
    "top10_pct",
    family="core",
    inputs=(TOP10,),
    null_rule=_UNTOLD,
    example=Example({TOP10.name: 63.5}, 63.5),
)
def top10_pct(x: Row, _: FeaturesSpec) -> Value:
    """Share of the base token that its ten largest holders hold, in per cent, as last told by t."""
    return x[TOP10]


@feature(
    "is_mint_revoked",
    family="core",
    inputs=(MINT,),
    null_rule=_UNTOLD,
    example=Example({MINT.name: True}, True),
)
def is_mint_revoked(x: Row, _: FeaturesSpec) -> Value:
    """Whether nobody can mint more of the base token, as last told by t."""
    return x[MINT]


@feature(
    "is_freeze_revoked",
    family="core",
    inputs=(FREEZE,),
    null_rule=_UNTOLD,
    example=Example({FREEZE.name: False}, False),
)
def is_freeze_revoked(x: Row, _: FeaturesSpec) -> Value:
    """Whether nobody can freeze holders of the base token, as last told by t."""
    return x[FREEZE]


@feature(
    "lp_burned_pct",
    family="core",
    inputs=(LOCKED,),
    null_rule="the source does not tell how much of the liquidity is locked",
    example=Example({LOCKED.name: 99.5}, 99.5),
)
def lp_burned_pct(x: Row, _: FeaturesSpec) -> Value:
    """Share of the liquidity tokens that nobody can withdraw, burned or locked, in per cent, as the snapshot says."""
    return x[LOCKED]


@feature(
    "has_socials",
    family="core",
    inputs=(SOCIALS,),
    null_rule=_UNTOLD,
    example=Example({SOCIALS.name: False}, False),
)
def has_socials(x: Row, _: FeaturesSpec) -> Value:
    """Whether the base token names a website or an account, as last told by t."""
    return x[SOCIALS]


@feature(
    "age_hours",
    family="core",
    inputs=(AGE,),
    null_rule="the birth is unknown or lies after the snapshot",
    example=Example({AGE.name: 90 * HOUR_US // 60}, 1.5),
)
def age_hours(x: Row, _: FeaturesSpec) -> Value:
    """(t - created_at) in hours, t being the snapshot's event_time."""
    return age_in_hours(x)


@feature(
    "risk_score",
    family="core",
    inputs=_RISKS,
    null_rule="none of what it weighs is known",
    needs_all=False,
    example=Example(
        {
            "reserve_usd": 500.0,
            N_HOLDERS.name: 40,
            TOP10.name: 90.0,
            MINT.name: False,
            FREEZE.name: True,
            LOCKED.name: None,
            SOCIALS.name: None,
            AGE.name: 2 * HOUR_US,
        },
        100 * (25 + 10 + 20 + 20) / 95,
    ),
)
def risk_score(x: Row, spec: FeaturesSpec) -> Value:
    """100 x the points of the risks that hold / the points of the risks of which something is known.

    A transparent rule, not a model: each risk has its points and its bound in the spec (`RiskPoints`). What is unknown
    neither adds to the score nor lowers it.
    """
    points = spec.risk
    risks = (
        (x["reserve_usd"] < points.small_reserve_usd, points.small_reserve),
        (x[N_HOLDERS] < points.few_holders_n, points.few_holders),
        (x[TOP10] > points.concentrated_pct, points.concentrated),
        (~x[MINT], points.mintable),
        (~x[FREEZE], points.freezable),
        (x[LOCKED] < points.unlocked_pct, points.unlocked),
        (~x[SOCIALS], points.no_socials),
        (age_in_hours(x) < points.young_hours, points.young),
    )
    held: Value = 0.0
    possible: Value = 0.0
    for risk, weight in risks:
        held = held + first_known(number(risk), 0.0) * weight
        possible = possible + number(is_known(risk)) * weight
    return where(possible > 0, ratio(held, possible) * 100)
