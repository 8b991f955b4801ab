"""The health of the bins: what is wrong with each export, before anybody trains on it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.metadata import table_value
from assets.pictures import picture
from pipeline.bins.describe import Described, describe_bins
from pipeline.bins.health.check import HealthReport, check_bins, freqs_of
from pipeline.bins.health.spec import FINDING_SCHEMA, HealthSpec
from pipeline.bins.store import reading

SPEC = HealthSpec()
WORST_SHOWN = 50
CHECK = "qlib_bins_are_healthy"


@dg.asset(
    deps=["qlib_bins"],
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset="qlib_health",
            blocking=True,
            description="No export would give a reader wrong numbers, lack what it promises, or crash. What is merely "
            "suspicious passes with a warning; gaps and large steps are natural for pools.",
        )
    ],
)
def qlib_health(qlib: dg.ResourceParam[Path]) -> dg.MaterializeResult:  # type: ignore[type-arg]  # dagster: bare or none
    """Every file of every export looked at: calendars, lists, headers, values; what is missing, as a picture."""
    from pipeline.bins.health.plots import missing_plot  # noqa: PLC0415 - matplotlib is slow to import

    looked = {name: (report, told) for name, report, told in looked_at(qlib)}
    problems = _side_by_side({name: report.problems for name, (report, _) in looked.items()})
    metadata: dict[str, Any] = {
        "exports": len(looked),
        "instruments": sum(report.n_instruments for report, _ in looked.values()),
        "dagster/row_count": problems.height,
        "counts": table_value(_side_by_side({name: report.counts() for name, (report, _) in looked.items()})),
        "worst": table_value(problems.sort("severity").head(WORST_SHOWN), max_cell=200),
    }
    if looked:
        plot = missing_plot(
            {name: told.missing_shares for name, (_, told) in looked.items()},
            {name: told.gap_share for name, (_, told) in looked.items()},
        )
        metadata["missing_by_field"] = picture(plot, "share of missing values by field")
    return dg.MaterializeResult(metadata=metadata, check_results=[judged(problems)])


def looked_at(qlib: Path) -> Iterator[tuple[str, HealthReport, Described]]:
    """Each freq of each export in a folder: its name, its health, and what it holds; held while it is read."""
    for link in sorted(path for path in qlib.iterdir() if path.is_symlink()) if qlib.is_dir() else ():
        with reading(link) as export:
            for freq in freqs_of(export):
                (told,) = describe_bins(export, freq).freqs
                yield f"{link.name} {freq}", check_bins(export, freq, SPEC), told


def judged(problems: pl.DataFrame) -> dg.AssetCheckResult:
    """The verdict: errors fail it; warnings pass, and are shown as warnings."""
    n = {level: problems.filter(pl.col("severity") == level).height for level in ("error", "warning", "info")}
    words = ", ".join(f"{count:,} {level}" for level, count in n.items())
    return dg.AssetCheckResult(
        check_name=CHECK,
        passed=not n["error"],
        severity=dg.AssetCheckSeverity.ERROR if n["error"] else dg.AssetCheckSeverity.WARN,
        description=f"findings: {words}; `poolcast bins check` shows them all",
        metadata=n,
    )


def _side_by_side(frames: dict[str, pl.DataFrame]) -> pl.DataFrame:
    told = [frame.select(pl.lit(name).alias("export"), pl.all()) for name, frame in frames.items()]
    return pl.concat(told) if told else pl.DataFrame(schema={"export": pl.String, **FINDING_SCHEMA})
