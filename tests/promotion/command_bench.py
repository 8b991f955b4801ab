"""What tests of `poolcast promotion` share: evidence on record, and versions in charge with or without a registry."""

from collections.abc import Callable

import polars as pl
from click.testing import Result
from training_runs import AT

from pipeline.lake import Lake
from pipeline.promotion.ledger import evidence_of
from pipeline.promotion.moves import Move, Moves
from pipeline.promotion.registry import Registry
from pipeline.tables import COMPARISONS
from tests.builders import valid_frame

Run = Callable[..., Result]
AWAY = "postgresql://nobody@127.0.0.1:1/mlflow"


def a_comparison(**other: object) -> pl.DataFrame:
    """A row of evidence; its figures are some."""
    cells = [pl.lit(value).alias(name) for name, value in other.items()]
    told = valid_frame(COMPARISONS, n_rows=1).with_columns(*cells)
    return told.cast(dict(COMPARISONS.schema)).select(COMPARISONS.schema.names())  # type: ignore[arg-type]


def in_charge(lake: Lake, registry: Registry | None, *versions, reason: str = "beats all baselines") -> None:
    """Put versions in charge, one after the other, on evidence that is on record."""
    for version in versions:
        compared = a_comparison(comparison_id=f"c{version.version}")
        lake.append(COMPARISONS, compared)
        told = (version.version, version.model_sha256, "gate", reason, evidence_of(compared))
        Moves(lake, registry).move(Move(version.model_name, "promote", *told), at=AT)


class Unregistered:
    """A version that the ledger may name without a registry."""

    def __init__(self, version: int) -> None:
        self.version, self.model_name, self.model_sha256 = version, "pool-outcome", f"{version:064x}"
