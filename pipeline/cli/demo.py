"""`poolcast demo`: the whole loop once, and what came of it.

Belongs here: arguments, and the report on the screen. Stays out: the run and what is reported (`pipeline.demo`).
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table as RichTable

from pipeline.cli.screen import AsJson, DataDir, err, instance_of, lake_of, out, print_json, settings_of


def demo(
    recording: Annotated[
        Path | None, typer.Option(help="A recording to replay; without it, a simulated market.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Run the whole loop once, from pools to a champion, and report what came of it.

    Writes DATA_DIR/demo/report.json and DATA_DIR/demo/evaluation.parquet; the tables lie under DATA_DIR/lake.
    Run twice, unchanged hours are not computed again. Look at everything afterwards with `poolcast up`.
    """
    from pipeline.calendars import SystemClock
    from pipeline.demo import demo_recording, run_demo
    from pipeline.pools.shelf import Shelf

    settings = settings_of(data_dir)
    told = demo_recording(Shelf(settings.recordings), recording, SystemClock().now())
    err.print(
        f"Replaying {told.recording.source} through the whole loop, from its records to a champion.", markup=False
    )
    with instance_of(settings) as (defs, instance, tags):
        report = run_demo(defs, instance, lake_of(settings), told, settings.data_dir / "demo", tags)
    print_json(report) if as_json else show_report(report, settings.data_dir / "demo" / "report.json")


def show_report(report: dict[str, Any], path: Path) -> None:
    """The demo's report on the screen."""
    from pipeline.models.records import as_text

    stages = _stages_table(report)
    shares = RichTable(
        "horizon", "what became of the pool", title="Labels, share of all snapshots", title_justify="left"
    )
    for horizon, ends in report["labels"].items():
        shares.add_row(horizon, ", ".join(f"{end} {share:.1%}" for end, share in ends.items()))
    out.print(stages, shares)
    out.print(
        _figures_table(
            "Last block in time, 95 % intervals", {"model": report["model"]["metrics"], **report["baselines"]}
        )
    )
    at_one = report["model"]["metrics_at_one_hour_of_age"].get("roc_auc/RUG")
    if at_one:
        out.print(f"ROC-AUC for RUG within 24 h, decided at one hour of age: {as_text(at_one)}")
    _show_signal(report["model"]["signal"])
    champion = report["champion"]
    who = f"version {champion['version']} is in charge" if champion["version"] else "nobody is in charge"
    out.print(
        f"Champion: {who}. Verdict on version {champion['challenger_version']}: {champion['verdict']}.", markup=False
    )
    _show_returns(report["returns"])
    for warning in report["warnings"]:
        out.print(f"A check warns: {warning}", markup=False)
    if report["quarantined"]:
        refused = ", ".join(f"{reason} {n:,}" for reason, n in report["quarantined"].items())
        out.print(f"Records refused or mended, kept in quarantine: {refused}", markup=False)
    memory = f"this process held at most {report['peak_rss_bytes'] / 2**30:.2f} GiB of memory"
    out.print(f"{report['wall_seconds']:.0f} s; {memory}. Report: {path}", markup=False)
    out.print("To look at all of it in the browser: make up", markup=False)


def _stages_table(report: dict[str, Any]) -> RichTable:
    """What each stage made and took; checks and all the rest in rows of their own, so that the seconds add up."""
    title = f"Replayed {report['recording']['source']}"
    table = RichTable("stage", "rows", "of", "seconds", title=title, title_justify="left")
    for name, stage in report["stages"].items():
        table.add_row(name, f"{stage['rows']:,}", stage["rows_of"], f"{stage['seconds']:.1f}")
    spent = sum(stage["seconds"] for stage in report["stages"].values()) + report["checks_seconds"]
    table.add_row("checks", "", "", f"{report['checks_seconds']:.1f}")
    table.add_row("start, records", "", "", f"{report['wall_seconds'] - spent:.1f}", end_section=True)
    table.add_row("all", "", "", f"{report['wall_seconds']:.1f}")
    return table


def _show_signal(told: dict[str, Any] | None) -> None:
    """What the high signal came to; how many of its calls paid is told beside the rate that is bounded."""
    if told is None:
        out.print("High signal: the model abstains; its run in MLflow says why.", markup=False)
        return
    came = f"; {told['paid_in_words']}" if told["paid_in_words"] else ""
    out.print(
        f"High signal: {told['n_signals']:,} of the last block's {told['n_decisions']:,} decisions, scores above"
        f" {told['threshold']:.3f}{came}; false-positive rate over pools {told['false_positive_rate']:.1%}, its bound"
        f" {told['max_false_positive_rate']:.1%}.",
        markup=False,
    )


def _show_returns(told: dict[str, Any]) -> None:
    """What came of the return forecasts."""
    from pipeline.models.records import as_text

    if "skipped" in told:
        out.print(f"Return forecasts: none, {told['skipped']}.", markup=False)
        return
    shown = ", ".join(f"{horizon} rank IC {as_text(figure)}" for horizon, figure in told["last_block"].items())
    in_charge = told["champion_version"]
    who = "nobody is in charge" if in_charge == "none" else f"version {in_charge} is in charge"
    out.print(f"Return forecasts: {told['chosen'].removesuffix('.')}; {shown}. {who}: {told['verdict']}.", markup=False)


def _figures_table(title: str, told: dict[str, dict[str, Any]]) -> RichTable:
    """The figures that fit a screen: the first column with its intervals, the others as plain numbers."""
    from pipeline.models.records import SHOWN, as_text

    first, *others = told.values()
    table = RichTable("figure", *told, title=title, title_justify="left")
    for name in (name for name in SHOWN if name in first):
        plain = [as_text({**figures.get(name, {"value": None}), "low": None}) for figures in others]
        table.add_row(name, as_text(first[name]), *plain)
    return table
