"""What a model was fed, as one text, written beside each prediction.

Belongs here: the text. A JSON object by feature's name, in the order in which the model takes them; numbers as the
shortest text that gives them back to the last bit, null where one was missing. Stays out: what is made of them.
"""

from collections.abc import Sequence

import polars as pl


def as_inputs(feature_names: Sequence[str]) -> pl.Expr:
    """The features of a row as text.

    >>> frame = pl.DataFrame({"a": [0.1, None], "b": [True, False]})
    >>> frame.select(as_inputs(["b", "a"])).to_series().to_list()
    ['{"b":true,"a":0.1}', '{"b":false,"a":null}']
    """
    return pl.struct(list(feature_names)).struct.json_encode().alias("inputs")
