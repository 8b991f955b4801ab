"""The sentiment family: what is said of the token. No source tells it yet; the columns wait for one.

A source that does becomes an engine of its own, and its values take the place of `Untold` here.
"""

from typing import Final

from pipeline.features.algebra import Value
from pipeline.features.feature import Example, feature
from pipeline.features.inputs import Row, Untold
from pipeline.features.spec import FeaturesSpec

_SCORE: Final = Untold("sentiment_score")
_CONFIDENCE: Final = Untold("sentiment_confidence")
_HAS: Final = Untold("has_sentiment")
_RULE: Final = "no source tells it yet"


@feature(
    "sentiment_score",
    family="sentiment",
    inputs=(_SCORE,),
    null_rule=_RULE,
    example=Example({_SCORE.name: None}, None),
)
def sentiment_score(x: Row, _: FeaturesSpec) -> Value:
    """The source's score of what was said by t, from -1 (all bad) to 1 (all good)."""
    return x[_SCORE]


@feature(
    "sentiment_confidence",
    family="sentiment",
    inputs=(_CONFIDENCE,),
    null_rule=_RULE,
    example=Example({_CONFIDENCE.name: None}, None),
)
def sentiment_confidence(x: Row, _: FeaturesSpec) -> Value:
    """The source's confidence in its score."""
    return x[_CONFIDENCE]


@feature(
    "has_sentiment",
    family="sentiment",
    inputs=(_HAS,),
    null_rule=_RULE,
    example=Example({_HAS.name: None}, None),
)
def has_sentiment(x: Row, _: FeaturesSpec) -> Value:
    """Whether anybody said anything by t; null, not no, while nobody listens."""
    return x[_HAS]
