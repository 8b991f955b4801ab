"""Whatever QLib's own health checker finds, ours finds too: at the same first time, with the same worst change."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.bins.health.check import HealthReport, check_bins
from tests.bins.sound_provider import FIELDS, Provider, at, sound_provider, walk

SAMPLE = Path(__file__).parents[2] / "../shared/data/qlib_bins_sample"
needs_sample = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample of QLib bins is not beside the project")


def found_by_qlib(directory: Path, freq: str, output: Path) -> list[dict[str, Any]]:
    oracle = Path(__file__).with_name("qlib_health_oracle.py")
    done = subprocess.run(
        [sys.executable, oracle, directory, freq, output], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(output.read_text())  # type: ignore[no-any-return]


def assert_all_found(theirs: list[dict[str, Any]], report: HealthReport) -> None:
    of: dict[str, list[dict[str, Any]]] = {}
    for row in report.problems.iter_rows(named=True):
        of.setdefault(row["instrument"], []).append(row)
    for row in theirs:
        ours = {(one["problem"], one["field"]): one for one in of.get(row["instrument"], [])}
        assert is_found(row, ours), (row, ours)


def is_found(row: dict[str, Any], ours: dict[tuple[str, str | None], dict[str, Any]]) -> bool:
    column = row["column"]
    nothing_to_read = {("upper_case_folder", None), ("listed_without_folder", None), ("missing_column", column)}
    if row["problem"] == "large_step":
        step = ours[("large_step", column)]
        return (f"{step['time']:%Y-%m-%d %H:%M:%S}", step["value"]) == (row["time"], float(row["value"]))
    if row["problem"] == "missing_factor":
        return bool(ours.keys() & (nothing_to_read | {("all_missing", "factor")}))
    counted = sum(ours[key]["n"] for key in (("gap", None), ("missing_value", column)) if key in ours)
    is_counted = counted == row["n"] or (column == "factor" and counted > 0)
    return is_counted or bool(ours.keys() & nothing_to_read)


def damaged_provider(root: Path) -> Provider:
    """Sound instruments, and one for each thing that can be wrong and does not crash QLib, named after it."""
    made = sound_provider(root)

    def one(name: str) -> str:
        for seed, field in enumerate(FIELDS):
            made.put(name, field, np.concatenate([[15], walk(50, seed)[field]]))
        made.add_line(made.listed, f"{name}\t{at(15):%F %T}\t{at(64):%F %T}")
        return name

    rng = np.random.default_rng(5)
    for seed in range(8):  # steps, zeros and holes anywhere
        name = one(f"any-{seed}")
        for field in FIELDS:
            found = made.numbers(name, field)
            where = rng.random(50) < 0.1
            found[1:][where] = rng.choice([np.nan, 0.0, 1e-30, 1e30, np.inf, 5.0, -1.0], size=where.sum())
            made.put(name, field, found)
    made.file(one("no-close"), "close").unlink()
    made.file(one("no-factor"), "factor").unlink()
    made.set(one("hole-in-low"), "low", 30, np.nan)
    for name, change in (("short-close", lambda f: f[:-3]), ("long-close", lambda f: np.append(f, [3.0, 9.0]))):
        made.put(one(name), "close", change(made.numbers(name, "close")))
    for name, header in (("shifted", 17), ("beyond", 100), ("negative", -2), ("broken", 15.5)):
        found = made.numbers(one(name), "volume")
        found[0] = header
        found[4] = 40
        made.put(name, "volume", found)
    made.put(one("no-factor-data"), "factor", np.array([15, *[np.nan] * 50], np.float32))
    upper = one("upper-case")
    (made.root / "features" / upper).rename(made.root / "features" / upper.upper())
    made.add_line(made.listed, f"no-folder\t{at(15):%F %T}\t{at(64):%F %T}")
    return made


@pytest.mark.slow
def test_whatever_qlib_finds_in_damaged_bins_is_found(tmp_path: Path) -> None:
    made = damaged_provider(tmp_path / "q")
    theirs = found_by_qlib(made.root, made.freq, tmp_path / "found.json")
    assert_all_found(theirs, check_bins(made.root, made.freq))
    found = {(row["instrument"], row["problem"]) for row in theirs}
    assert found >= {
        ("shifted", "large_step"), ("negative", "large_step"), ("broken", "large_step"), ("long-close", "large_step"),
        ("short-close", "missing_data"), ("beyond", "missing_data"),
        ("no-factor", "missing_factor"), ("no-factor-data", "missing_factor"), ("no-folder", "missing_factor"),
        ("upper-case", "missing_factor"), ("no-close", "missing_data"), ("hole-in-low", "missing_data"),
    }  # fmt: skip


@needs_sample
@pytest.mark.slow
def test_whatever_qlib_finds_in_the_sample_is_found_also_where_it_can_read_the_folders(tmp_path: Path) -> None:
    """All folders but one under names in lower case; that one, and two that are listed only, QLib cannot read."""
    root = tmp_path / "view"
    seen = {folder.name for folder in (SAMPLE / "features").iterdir()}
    wanted = {name.lower() for name in seen} | {"sh000001", "sz000002"}
    lines = [
        line
        for line in (SAMPLE / "instruments/all.txt").read_text().splitlines(True)
        if line.partition("\t")[0].lower() in wanted
    ]
    for folder in ("instruments", "features"):
        (root / folder).mkdir(parents=True)
    (root / "instruments/all.txt").write_text("".join(lines))
    (root / "calendars").symlink_to((SAMPLE / "calendars").resolve())
    for name in seen:
        shown = name if name == "SZ399935" else name.lower()
        (root / "features" / shown).symlink_to((SAMPLE / "features" / name).resolve())
    theirs = found_by_qlib(root, "day", tmp_path / "found.json")
    assert_all_found(theirs, check_bins(root, "day"))
    assert {row["instrument"] for row in theirs if row["problem"] == "large_step"} == {
        "SH000300",
        "SH600000",
        "SZ000001",
    }
    assert {row["instrument"] for row in theirs if row["problem"] == "missing_factor"} == {
        "SH000001", "SZ000002", "SZ399935",
    }  # fmt: skip


@needs_sample
def test_the_sample_is_reported_as_it_is() -> None:
    """Five of seven folders in capitals, which QLib does not find; thousands listed and not there."""
    report = check_bins(SAMPLE, "day")
    counts = {row["problem"]: row["findings"] for row in report.counts().iter_rows(named=True)}
    assert counts == {"upper_case_folder": 5, "listed_without_folder": 5756, "unknown_instrument": 38, "large_step": 3}
    upper = report.problems.filter(pl.col("problem") == "upper_case_folder")["instrument"].to_list()
    assert upper == ["SH000300", "SH600000", "SZ000001", "SZ399905", "SZ399935"]
    assert (report.worst, report.n_instruments, report.n_files) == ("error", 7, 49)
