import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.bins.export import export_all
from pipeline.bins.instruments import instrument_name, read_instruments
from pipeline.bins.spec import BinsSpec
from pipeline.errors import StorageError, UsageError
from tests.bins.bins_market import made_bars, recorded_bars

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "../shared/data/recordings/uniswap_v2_2020"
FIELDS = list(BinsSpec().fields)


def id_of(directory: Path) -> str:
    """The export's id, computed from what lies on the disk."""
    files = sorted((p.relative_to(directory).parts, p) for p in directory.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for parts, path in files:
        content = path.read_bytes()
        digest.update("/".join(parts).encode() + b"\0" + len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


def store_of(directory: Path) -> Path:
    return directory.with_name(directory.name + ".exports")


def read_by_qlib(directory: Path, output: Path) -> pl.DataFrame:
    reader = Path(__file__).with_name("qlib_reader.py")
    done = subprocess.run([sys.executable, reader, directory, output], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return pl.read_parquet(output)


def assert_reads_back_exactly(bars: pl.DataFrame, found: pl.DataFrame) -> None:
    names = pl.Series([instrument_name(n, p) for n, p in bars.select("network", "pool").iter_rows()])
    ours = bars.with_columns(names.alias("instrument"), pl.lit(1.0).alias("factor")).select(
        "instrument", pl.col("event_time").dt.replace_time_zone(None).alias("datetime"), *FIELDS
    )
    spans = ours.group_by("instrument").agg(first=pl.col("datetime").min(), last=pl.col("datetime").max())
    n_hours = spans.select((pl.col("last") - pl.col("first")).dt.total_hours() + 1).sum().item()
    found = found.with_columns(pl.col("datetime").cast(pl.Datetime("us")))
    both = found.join(ours, on=["instrument", "datetime"], how="full", suffix="_ours", coalesce=True)
    assert found.height == both.height == n_hours
    for field in FIELDS:
        assert found[field].dtype == pl.Float32
        expected = both[f"{field}_ours"].cast(pl.Float32).fill_null(float("nan")).to_numpy()
        read = both[field].fill_null(float("nan")).to_numpy()
        np.testing.assert_array_equal(read.view("u4")[~np.isnan(read)], expected.view("u4")[~np.isnan(read)])
        np.testing.assert_array_equal(np.isnan(read), np.isnan(expected))


@pytest.mark.slow
def test_qlib_reads_back_exactly_what_was_exported(tmp_path: Path) -> None:
    bars = made_bars()
    export_all(bars, tmp_path / "qlib")
    found = read_by_qlib(tmp_path / "qlib", tmp_path / "found.parquet")
    assert_reads_back_exactly(bars, found)
    assert set(found["instrument"]) == set(read_instruments(tmp_path / "qlib"))
    assert found["close"].is_null().any()  # parquet keeps the NaN of a gap as a null


@pytest.mark.slow
@pytest.mark.skipif(not RECORDING.is_dir(), reason="the recorded data is not beside the project")
def test_qlib_reads_back_recorded_pools_exactly(tmp_path: Path) -> None:
    bars = recorded_bars(RECORDING, 300)
    export_all(bars, tmp_path / "qlib")
    assert_reads_back_exactly(bars, read_by_qlib(tmp_path / "qlib", tmp_path / "found.parquet"))


def test_an_export_says_what_it_holds_and_is_named_by_its_content(tmp_path: Path) -> None:
    bars = made_bars()
    export = export_all(bars, tmp_path / "qlib")
    assert export.export_id == id_of(tmp_path / "qlib")
    assert (export.n_instruments, export.n_bars) == (6, bars.height)
    assert export.n_bytes == sum(p.stat().st_size for p in (tmp_path / "qlib").rglob("*.bin"))
    assert (export.first_time, export.last_time) == (bars["event_time"].min(), bars["event_time"].max())


def test_the_same_bars_again_write_nothing(tmp_path: Path) -> None:
    first = export_all(made_bars(), tmp_path / "qlib")
    before = {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*")}
    again = export_all(made_bars().reverse(), tmp_path / "qlib")
    assert {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != "lock"} == {
        p: t for p, t in before.items() if p.name != "lock"
    }
    assert (first.is_written, again.is_written) == (True, False)
    assert again.export_id == first.export_id


def test_whoever_began_with_the_export_before_reads_on(tmp_path: Path) -> None:
    ids = [export_all(made_bars(seed=0), tmp_path / "qlib").export_id]
    began_with = (tmp_path / "qlib").resolve()
    ids.append(export_all(made_bars(seed=1), tmp_path / "qlib").export_id)
    assert id_of(began_with) == ids[0]
    ids.append(export_all(made_bars(seed=2), tmp_path / "qlib").export_id)
    assert not began_with.exists()
    kept = {p.name for p in store_of(tmp_path / "qlib").iterdir()}
    assert kept == {ids[1], ids[2], "previous", "lock"}


def test_an_export_that_lost_a_file_is_made_again(tmp_path: Path) -> None:
    export = export_all(made_bars(), tmp_path / "qlib")
    next((tmp_path / "qlib").rglob("close.60min.bin")).unlink()
    assert export_all(made_bars(), tmp_path / "qlib").is_written
    assert id_of(tmp_path / "qlib") == export.export_id


def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "qlib").mkdir()
    with pytest.raises(UsageError, match="no link to an export"):
        export_all(made_bars(), tmp_path / "qlib")
    assert [p.name for p in tmp_path.iterdir()] == ["qlib"]


def test_bars_that_are_refused_leave_no_trace(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        export_all(pl.concat([made_bars(), made_bars().with_columns(source=pl.lit("other"))]), tmp_path / "qlib")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot export bins"):
        export_all(made_bars(), tmp_path / "file" / "qlib")


def test_the_whole_place_can_be_moved(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    export = export_all(made_bars(), tmp_path / "a" / "qlib")
    (tmp_path / "a").rename(tmp_path / "b")
    assert id_of(tmp_path / "b" / "qlib") == export.export_id


WRITER = """
import sys
from pathlib import Path
from pipeline.bins.export import export_all
from tests.bins.bins_market import made_bars
made = [made_bars(seed=s) for s in (0, 1)]
print("ready", flush=True)
at = 0
while True:
    export_all(made[at % 2], Path(sys.argv[1]))
    at += 1
"""


@pytest.mark.slow
def test_killed_at_any_moment_the_directory_is_whole_and_the_next_run_ends_right(tmp_path: Path) -> None:
    directory = tmp_path / "qlib"
    rng = random.Random(0)
    whole = {export_all(made_bars(seed=s), tmp_path / f"calm{s}").export_id for s in (0, 1)}
    for round_ in range(8):
        child = subprocess.Popen([sys.executable, "-c", WRITER, directory], cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(rng.uniform(0, 0.2))
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        if directory.exists():
            assert id_of(directory) in whole
        export = export_all(made_bars(seed=round_ % 3), directory)
        assert id_of(directory) == export.export_id
        left = {p.name for p in store_of(directory).iterdir()} - {"lock", "previous", export.export_id}
        assert len(left) <= 1
        assert not any(name.startswith("tmp") for name in left)
