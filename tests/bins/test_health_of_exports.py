"""What our own writer makes is sound; whatever happens to its files afterwards is seen."""

import random
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipeline.bins.describe import describe_bins
from pipeline.bins.export import export_all, update
from pipeline.bins.health.check import HealthReport, check_bins
from pipeline.bins.health.spec import HealthSpec
from pipeline.bins.spec import BinsSpec
from tests.bins.bins_market import identities, made_bars
from tests.bins.sound_provider import sound_provider

Change = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
THOROUGH = HealthSpec(is_thorough=True)
NATURAL = {"gap", "mostly_gaps", "large_step"}


def exported(root: Path, **made: object) -> Path:
    bars = made_bars(**made)  # type: ignore[arg-type]
    export_all(bars, identities(bars), root / "qlib", BinsSpec())
    return root / "qlib"


def errors(report: HealthReport) -> set[str]:
    return set(report.problems.filter(pl.col("severity") == "error")["problem"])


def found(directory: Path, spec: HealthSpec = THOROUGH) -> set[tuple[str, str | None]]:
    problems = check_bins(directory, "60min", spec).problems.filter(pl.col("severity") != "info")
    return set(problems.select("problem", "instrument").iter_rows())


@settings(max_examples=25)
@example(1, 1, 124, False)
@example(2, 1, 124, False)
@given(st.integers(1, 6), st.integers(1, 80), st.integers(0, 2**32 - 1), st.booleans())
def test_every_export_is_sound(n_pools: int, n_hours: int, seed: int, is_updated: bool) -> None:
    pools = tuple(f"0x{'aA'[at % 2]}{at}" for at in range(n_pools))
    with tempfile.TemporaryDirectory() as folder:
        bars = made_bars(pools, n_hours + 5, seed)
        assume(bars.height)
        directory = Path(folder) / "qlib"
        cut = bars["event_time"].min() + timedelta(hours=n_hours)
        batches = [bars.filter(pl.col("event_time") < cut), bars] if is_updated else [bars]
        for batch in batches:
            if batch.height:
                update(batch, identities(batch), directory, BinsSpec())
        report = check_bins(directory, "60min", THOROUGH)
        assert set(report.problems["problem"]) <= NATURAL
        assert report.is_healthy
        assert report.n_instruments == bars["instrument"].n_unique()


def test_an_export_of_two_freqs_is_sound_at_both(tmp_path: Path) -> None:
    directory = exported(tmp_path)
    days = (
        made_bars()
        .sort("event_time")
        .group_by("instrument", "network", "pool", pl.col("event_time").dt.truncate("1d"), maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            pl.col("vwap").mean(),
        )
    )
    export_all(days, identities(days), directory, BinsSpec(freq="day"))
    for freq in ("60min", "day"):
        report = check_bins(directory, freq, THOROUGH)
        assert (errors(report), report.is_healthy) == (set(), True)


def plain_copy(directory: Path, root: Path) -> Path:
    """The export with files of its own, under its own name: those of the store are shared and not to be damaged."""
    copy = root / directory.resolve().name
    shutil.copytree(directory.resolve(), copy)
    return copy


def test_one_changed_byte_shows_only_when_every_file_is_hashed(tmp_path: Path) -> None:
    copy = plain_copy(exported(tmp_path), tmp_path / "copy")
    path = next((copy / "features" / "eth-0xabc-5").glob("volume.60min.bin"))
    raw = bytearray(path.read_bytes())
    raw[4] ^= 1
    path.write_bytes(raw)
    assert check_bins(copy, "60min").is_healthy
    assert found(copy) == {("content_mismatch", "eth-0xabc-5")}


@pytest.mark.parametrize("relative", ["manifests/60min.tsv", "instruments.json", "instruments/all.txt"])
def test_a_text_of_an_export_that_was_changed_is_told(tmp_path: Path, relative: str) -> None:
    copy = plain_copy(exported(tmp_path), tmp_path / "copy")
    path = copy / relative
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]))
    problems = {problem for problem, _ in found(copy)}
    expected = {
        "manifests/60min.tsv": "manifest_mismatch",
        "instruments.json": "map_mismatch",
        "instruments/all.txt": "manifest_mismatch",
    }
    assert expected[relative] in problems
    path.write_text(text + " ")
    assert not check_bins(copy, "60min").is_healthy
    path.unlink()
    assert not check_bins(copy, "60min").is_healthy


@pytest.mark.parametrize("relative", ["instruments/all.txt", "calendars/60min.txt"])
def test_a_text_that_follows_from_the_manifest_is_compared_also_where_the_export_lost_its_name(
    tmp_path: Path, relative: str
) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(exported(tmp_path).resolve(), copy)
    assert found(copy) == set()
    path = copy / relative
    path.write_text(path.read_text() + path.read_text().splitlines()[-1].replace("2020", "2021") + "\n")
    assert ("manifest_mismatch", None) in found(copy)


def test_an_instrument_more_or_less_than_the_manifest_tells_of_is_named(tmp_path: Path) -> None:
    copy = plain_copy(exported(tmp_path), tmp_path / "copy")
    (copy / "features" / "eth-0xabc").rename(copy / "features" / "eth-0xabd")
    assert found(copy) >= {("manifest_mismatch", "eth-0xabc"), ("manifest_mismatch", "eth-0xabd")}


@pytest.mark.parametrize(
    "change", [lambda f: np.append(f[0] + 1, f[1:]), lambda f: f[:-1], lambda f: np.append(f, f[-1])]
)
def test_series_that_all_changed_alike_are_told_by_the_manifest(tmp_path: Path, change: Change) -> None:
    copy = plain_copy(exported(tmp_path), tmp_path / "copy")
    for path in (copy / "features" / "eth-0xabc").iterdir():
        change(np.fromfile(path, "<f4")).astype("<f4").tofile(path)
    assert ("manifest_mismatch", "eth-0xabc") in found(copy, HealthSpec())


def test_random_damage_never_crashes_the_checker_and_is_never_called_healthy(tmp_path: Path) -> None:
    rng = random.Random(11)
    whole = plain_copy(exported(tmp_path, n_hours=30), tmp_path / "copy")
    paths = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    for turn in range(150):
        path = whole / (rng.choice(paths) if turn % 3 else rng.choice([p for p in paths if p.parts[0] != "features"]))
        raw = path.read_bytes()
        kind = rng.choice(["cut", "flip", "delete", "append", "noise"])
        if kind == "delete":
            path.unlink()
        else:
            changed = bytearray(raw)
            if kind == "cut":
                del changed[rng.randrange(len(raw)) :]
            elif kind == "append":
                changed += rng.randbytes(rng.randrange(1, 40))
            elif kind == "noise":
                changed[:] = rng.randbytes(len(raw))
            else:
                changed[rng.randrange(4 if path.suffix == ".bin" else len(raw))] ^= rng.randrange(1, 256)
            path.write_bytes(changed)
        report = check_bins(whole, "60min", THOROUGH)
        describe_bins(whole)
        path.write_bytes(raw)
        assert not report.is_healthy, (turn, kind, path)
        assert report.worst == "error", (turn, kind, path)
    assert check_bins(whole, "60min", THOROUGH).is_healthy


def test_random_damage_to_bins_of_others_is_never_called_healthy_either(tmp_path: Path) -> None:
    rng = random.Random(12)
    made = sound_provider(tmp_path / "q")
    paths = sorted(made.root.rglob("*.bin"))
    for turn in range(120):
        path = rng.choice(paths)
        raw = path.read_bytes()
        place = int(np.frombuffer(raw, "<f4", 1)[0])
        elsewhere = np.float32(rng.choice([-1, np.nan, np.inf, 0.5, 1e9, place + 1, place + 50, 99, 100])).tobytes()
        damaged = [raw[: rng.randrange(len(raw))], raw + rng.randbytes(rng.randrange(1, 40)), elsewhere + raw[4:]]
        path.write_bytes(damaged[turn % 3])
        assert check_bins(made.root, "60min").worst == "error", (turn, path)
        path.write_bytes(raw)
