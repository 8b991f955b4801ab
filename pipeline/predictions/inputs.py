"""What a model was fed, as one text: written beside each prediction, and read back.

Belongs here: the text. A JSON object by feature's name, in the order in which the model takes them; numbers as the
shortest text that gives them back to the last bit, null where one was missing. Stays out: what is made of them.
"""

from collections.abc import Sequence

import polars as pl

from pipeline.tables import FEATURES


def as_inputs(feature_names: Sequence[str]) -> pl.Expr:
    """The features of a row as text.

    >>> frame = pl.DataFrame({"a": [0.1, None], "b": [True, False]})
    >>> frame.select(as_inputs(["b", "a"])).to_series().to_list()
    ['{"b":true,"a":0.1}', '{"b":false,"a":null}']
    """
    return pl.struct(list(feature_names)).struct.json_encode().alias("inputs")


def read_inputs(predictions: pl.DataFrame, feature_names: Sequence[str]) -> pl.DataFrame:
    """The rows with `inputs` taken apart into one column a feature; null where the text does not name it, or is gone.

    Args:
        predictions: rows of `tables.PREDICTIONS`.
        feature_names: columns of `tables.FEATURES`.
    """
    told = pl.Struct({name: FEATURES.schema[name] for name in feature_names})
    clear = predictions.drop([name for name in feature_names if name in predictions.columns])
    return clear.with_columns(pl.col("inputs").str.json_decode(told)).unnest("inputs")
