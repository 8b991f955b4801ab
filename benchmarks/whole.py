"""How fast the whole is: one table and one picture, each figure beside what people would use instead.

    python benchmarks/whole.py [--only PART ...] [--dump-bin DUMP_BIN.py] [--write DOCS]      (or: make bench)

Every part is measured in a process of its own, one after the other, and both sides of a ratio in the same process: a
busy machine slows both. Seconds say what this machine did at that moment; the ratios carry over to others. `--write`
puts the table into DOCS/benchmarks.md and the picture into DOCS/images/benchmarks.png.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

DAYS = (1, 10, 30)
TODAY = 12
"""Cycles of today, not merged yet, in each lake that the next cycles are measured in."""
HEAD = """# How fast it is

Made by `make bench` (`benchmarks/whole.py`), which writes this page. Both sides of a ratio are measured in one process,
one after the other, so that a busy machine slows both. Seconds are those of one machine at one moment.

![Ratios, and where the time goes](images/benchmarks.png)
"""


@dataclass(frozen=True)
class Figure:
    """One measured thing: how much of what a second, and how often what stands beside it needs the time."""

    part: str
    what: str
    seconds: float
    rate: float | None = None
    unit: str = ""
    beside: str = ""
    ratio: float | None = None


def seconds(work: Callable[[], object]) -> float:
    """How long it took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(ours: Callable[[], object], theirs: Callable[[], object], turns: int = 2) -> tuple[float, float]:
    """The best of each, taken in turns; what is imported or compiled at first use does not count."""
    both = [(seconds(ours), seconds(theirs)) for _ in range(turns)]
    return min(o for o, _ in both), min(t for _, t in both)


def demo(_dump: Path | None) -> Iterator[Figure]:
    """The whole loop on the simulated market, and where its time goes."""
    with tempfile.TemporaryDirectory(prefix="bench-demo-") as folder:
        command = [sys.executable, "-m", "pipeline.cli", "demo", "--data-dir", folder]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
        told = json.loads((Path(folder) / "demo" / "report.json").read_text())
    spent = 0.0
    for stage, said in told["stages"].items():
        spent += said["seconds"]
        rate = said["rows"] / said["seconds"] if said["seconds"] else None
        yield Figure("demo", stage, said["seconds"], rate, "rows")
    yield Figure("demo", "checks", told["checks_seconds"])
    yield Figure("demo", "start, events and records", told["wall_seconds"] - spent - told["checks_seconds"])
    yield Figure("demo", f"all of it, {told['peak_rss_bytes'] / 2**30:.2f} GiB at most", told["wall_seconds"])


def indicators(_dump: Path | None) -> Iterator[Figure]:
    """Every technical field on bars of three lengths."""
    import features
    import polars as pl

    candles = features.synthetic_candles(1_000, 1_000, 0)
    sample = candles.filter(pl.col("pool").is_in(candles["pool"].unique().sort().head(40).to_list()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features.theirs(sample.head(1_000))
        features.ours(sample)
        ours, theirs = in_turns(lambda: features.ours(candles), lambda: features.theirs(sample))
    rate = candles.height / ours
    yield Figure(
        "features", "technical indicators", ours, rate, "bars", "pandas-ta with TA-Lib", rate / (sample.height / theirs)
    )


def snapshots(_dump: Path | None) -> Iterator[Figure]:
    """The features of the snapshot model, all of them, beside nine of them."""
    import features_of_snapshots as bench
    import polars as pl

    from pipeline.calendars import MINUTE, Span
    from pipeline.features.sources import Sources

    made = bench.market(400, 4, 0)
    rows = made.snapshots.collect()
    sources = Sources(rows.lazy(), pools=made.pools, tokens=made.tokens)
    first, last = rows["event_time"].min(), rows["event_time"].max()
    span, chosen = Span(first, last + MINUTE), bench.features_of(*bench.MODEL)  # type: ignore[arg-type,operator]
    sample = rows.filter(pl.col("pool").is_in(rows["pool"].unique().sort().head(40).implode()))
    ours, theirs = in_turns(
        lambda: bench.compute_columns(sources, span, bench.SPEC, chosen), lambda: bench.in_pandas(sample)
    )
    rate = rows.height / ours
    what = f"{len(chosen)} features of the snapshot model"
    yield Figure("features", what, ours, rate, "snapshots", "nine of them in pandas", rate / (sample.height / theirs))


def bins(dump: Path | None) -> Iterator[Figure]:
    """A full export of bins; the files must be equal, byte for byte."""
    import bins as bench

    with tempfile.TemporaryDirectory(prefix="bench-bins-") as folder:
        root = Path(folder)
        bars = bench.synthetic_bars(600, 1_500, 0)
        bars.write_parquet(root / "bars.parquet")
        bench.per_instrument_files(bars, root / "sources", ".csv")
        ours = min(bench.timed(lambda at=at: bench.ours(root / "bars.parquet", root / f"ours{at}")) for at in range(2))  # type: ignore[misc]
        their = root / "theirs"
        if dump is None:
            beside, theirs = "QLib's steps", bench.timed(lambda: bench.dumped_likewise(root / "sources", their))
        else:
            script = lambda: bench.dumped_by_qlib(dump, root / "sources", their, ".csv")  # noqa: E731
            beside, theirs = "QLib's dump", bench.timed(script)
        if bench.unequal((root / "ours0").resolve(), their):
            raise SystemExit("feature files differ from QLib's")
    yield Figure("bins", "full export", ours, bars.height / ours, "bars", f"{beside}, two processes", theirs / ours)


def expectations(_dump: Path | None) -> Iterator[Figure]:
    """The widest table, judged; importing Great Expectations does not count."""
    import expectations as bench

    frame = bench.valid_frame(bench.FEATURES, 100_000)
    bench.plain(bench.SNAPSHOTS, bench.valid_frame(bench.SNAPSHOTS, 100))
    ours, theirs = in_turns(
        lambda: bench.validate(bench.FEATURES, frame), lambda: bench.plain(bench.FEATURES, frame), turns=1
    )
    what = f"{frame.width} columns judged"
    yield Figure("expectations", what, ours, frame.height / ours, "rows", "Great Expectations alone", theirs / ours)


def cycle(_dump: Path | None) -> Iterator[Figure]:
    """The lake's part of a five-minute cycle, after days of history: medians of five, the lakes taking turns."""
    import cycle_cost as bench

    root = Path(tempfile.mkdtemp(prefix="bench-cycle-"))
    try:
        lakes = bench.after_days(root, DAYS, TODAY)
        took: dict[int, dict[str, list[float]]] = {days: defaultdict(list) for days in DAYS}
        for turn in range(5):
            for days in sorted(lakes, reverse=bool(turn % 2)):
                bench.cycle(lakes[days], TODAY + turn, took[days])
    finally:
        shutil.rmtree(root)
    middle = {days: median(took[days]["whole cycle"]) for days in DAYS}
    for days in DAYS:
        what = f"five-minute cycle after {days} day{'s' if days > 1 else ''} of history"
        yield Figure("cycle", what, middle[days], beside="after one day", ratio=middle[days] / middle[DAYS[0]])


PARTS: dict[str, Callable[[Path | None], Iterator[Figure]]] = {
    "indicators": indicators, "snapshots": snapshots, "bins": bins, "expectations": expectations, "cycle": cycle,
    "demo": demo,
}  # fmt: skip


def measured(part: str, dump: Path | None) -> tuple[list[Figure], float]:
    """A part's figures and the most memory it held, from a process of its own."""
    command = [sys.executable, __file__, "--part", part, *(["--dump-bin", str(dump)] if dump else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - this very file
    told = json.loads(done.stdout.splitlines()[-1])
    return [Figure(**figure) for figure in told["figures"]], told["peak_gib"]


def table(figures: list[Figure], peaks: dict[str, float], at: datetime) -> str:
    """The page."""
    cpus = len(os.sched_getaffinity(0))
    lines = [
        HEAD,
        f"{at:%Y-%m-%d}, {cpus} cores, Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f} at the end.",
        "",
    ]
    lines += ["| part | what | seconds | a second | times as fast as |", "|---|---|---|---|---|"]
    for one in figures:
        if one.part != "cycle":
            rate = f"{one.rate:,.0f} {one.unit}" if one.rate else ""
            beside = f"**{one.ratio:,.0f}** {one.beside}" if one.ratio else ""
            lines.append(f"| {one.part} | {one.what} | {one.seconds:.2f} | {rate} | {beside} |")
    cycles = [one for one in figures if one.part == "cycle"]
    if cycles:
        lines += ["", "| five-minute cycle, the lake's part | seconds | times the first |", "|---|---|---|"]
        lines += [f"| {one.what.partition(' after ')[2]} | {one.seconds:.3f} | {one.ratio:.2f} |" for one in cycles]
    told = ", ".join(f"{part} {peak:.1f}" for part, peak in peaks.items())
    return "\n".join([*lines, "", f"Most memory held by a process of a part, in GiB: {told}.", ""])


def picture(figures: list[Figure], path: Path) -> None:
    """Three plots: ratios, the demo's time, the cycle."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(13, 4), layout="constrained")
    cycles = [one for one in figures if one.part == "cycle"]
    left, middle, *rest = drawing.subplots(1, 3 if cycles else 2)
    ratios = [one for one in figures if one.ratio and one.part != "cycle"]
    bars = left.barh([f"{one.what}\nbeside {one.beside}" for one in ratios], [one.ratio or 0 for one in ratios])
    left.bar_label(bars, fmt="%.0f", padding=3)
    left.set(xscale="log", title="Times as fast", xlim=(1, None))
    spent = [one for one in figures if one.part == "demo" and not one.what.startswith("all")]
    middle.barh([one.what for one in spent], [one.seconds for one in spent])
    middle.set(title="Where the demo's time goes", xlabel="seconds")
    middle.invert_yaxis()
    for right in rest:
        right.plot(DAYS[: len(cycles)], [one.seconds for one in cycles], marker="o")
        right.set(
            title="A five-minute cycle, the lake's part",
            xlabel="days of history",
            ylabel="seconds",
            ylim=(0, 1.2 * max(one.seconds for one in cycles)),
        )
    for axes in (left, middle, *rest):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    drawing.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--dump-bin", type=Path, help="QLib's scripts/dump_bin.py; without it, its steps are done here")
    parser.add_argument("--write", type=Path, help="the folder of the docs")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        found = [asdict(figure) for figure in PARTS[asked.part](asked.dump_bin)]
        whose = resource.RUSAGE_CHILDREN if asked.part == "demo" else resource.RUSAGE_SELF
        print(json.dumps({"figures": found, "peak_gib": resource.getrusage(whose).ru_maxrss / 2**20}))
        return
    figures: list[Figure] = []
    peaks: dict[str, float] = {}
    for part in asked.only:
        print(f"measuring {part}", file=sys.stderr, flush=True)
        found_here, peaks[part] = measured(part, asked.dump_bin)
        figures += found_here
    page = table(figures, peaks, datetime.now(UTC))
    print(page.removeprefix(HEAD).strip())
    if asked.write:
        (asked.write / "benchmarks.md").write_text(page)
        picture(figures, asked.write / "images" / "benchmarks.png")


if __name__ == "__main__":
    main()
