"""A directory of a stranger neither holds the checker up, nor fills the memory, nor ends in a traceback."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pipeline.bins.describe import describe_bins
from pipeline.bins.export import export_all
from pipeline.bins.health.check import check_bins
from pipeline.bins.health.text import LARGEST_TEXT, read_text
from tests.bins.bins_market import identities, made_bars
from tests.bins.sound_provider import sound_provider

pytestmark = pytest.mark.timeout(60)
TEXTS = {
    "calendars/60min.txt": "calendar_missing",
    "instruments/all.txt": "instruments_missing",
    "manifests/60min.tsv": "manifest_unreadable",
    "instruments.json": "map_mismatch",
}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export of ours with files of its own, under its own name."""
    bars = made_bars(n_hours=30)
    export_all(bars, identities(bars), tmp_path / "qlib")
    copy = tmp_path / "copy" / (tmp_path / "qlib").resolve().name
    shutil.copytree((tmp_path / "qlib").resolve(), copy)
    return copy


def errors(directory: Path) -> set[str]:
    describe_bins(directory)
    problems = check_bins(directory, "60min").problems
    return set(problems.filter(pl.col("severity") == "error")["problem"])


def pipe(path: Path) -> None:
    os.mkfifo(path)


def plug(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


def many_lines(path: Path) -> None:
    path.write_bytes(b"\n" * (2**24 + 1))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def itself(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("kind", [pipe, plug, huge, many_lines, device, itself])
@pytest.mark.parametrize("text", TEXTS)
def test_whatever_stands_in_the_place_of_a_text_is_told_at_once(
    export: Path, text: str, kind: Callable[[Path], None]
) -> None:
    (export / text).unlink()
    kind(export / text)
    assert TEXTS[text] in errors(export)


def test_a_text_that_becomes_a_pipe_after_it_was_looked_at_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").write_text("a")
    seen = (tmp_path / "text").stat()
    (tmp_path / "text").unlink()
    pipe(tmp_path / "text")
    monkeypatch.setattr(Path, "stat", lambda _path, **_said: seen)
    with pytest.raises(OSError, match="no regular file"):
        read_text(tmp_path / "text")


def test_a_text_as_large_as_may_be_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "text").touch()
    os.truncate(tmp_path / "text", LARGEST_TEXT)
    assert len(read_text(tmp_path / "text")) == LARGEST_TEXT


@pytest.mark.parametrize("year", ["0000-01-01 00:00:00", "-2000-01-01", "262000-01-01", "99999-12-31 00:00:00"])
def test_a_year_that_python_does_not_know_is_no_time(tmp_path: Path, year: str) -> None:
    made = sound_provider(tmp_path / "q")
    for line in (0, 99):
        made.replace_line(made.calendar, line, year)
    assert errors(made.root) == {"calendar_unreadable"}
    made = sound_provider(tmp_path / "r")
    made.replace_line(made.listed, 0, made.listed.read_text().splitlines()[0].replace("2021-03-01 00:00:00", year))
    assert "instruments_unreadable" in errors(made.root)


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a": ' * 200_000, "1e999", "NaN", "[]", '{"a": 1}', '{"a": [1]}', "\x00", ""]
)
def test_a_map_or_a_manifest_of_any_json_is_told(export: Path, text: str) -> None:
    (export / "instruments.json").write_text(text)
    assert "map_mismatch" in errors(export)
    (export / "manifests/60min.tsv").write_text(text + "\n")
    assert "manifest_unreadable" in errors(export)


@pytest.mark.parametrize(("place", "length"), [("0", 10**15), ("-10", 20), ("0", 0), ("0", 2**25), (str(2**62), 5)])
def test_a_manifest_of_places_that_no_calendar_has_is_not_followed(export: Path, place: str, length: int) -> None:
    path = export / "manifests/60min.tsv"
    head, one, *rest = path.read_text().splitlines()
    name, _, _, sha = one.split("\t")
    path.write_text("\n".join([head, f"{name}\t{place}\t{length}\t{sha}", *rest]) + "\n")
    assert "manifest_unreadable" in errors(export)


def test_a_link_to_itself_hides_nothing_beside_it(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    itself(made.root / "features/eth-0xaa")
    itself(made.root / "features/eth-0xb/close.5min.bin")
    report = check_bins(made.root, "60min")
    assert (report.n_instruments, report.n_files) == (3, 21)
    strays = report.problems.filter(pl.col("problem") == "orphan_file").select("instrument", "found").rows()
    assert strays == [(None, "features/eth-0xaa is no folder"), ("eth-0xb", "'close.5min.bin' is no FIELD.FREQ.bin")]
    assert describe_bins(made.root).freqs[0].n_instruments == 3


def test_where_a_share_was_not_listed_for_a_while_it_may_rest(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    one = "2021-03-01 00:00:00\t2021-03-01 19:00:00"  # the gap is from 20:00 to 22:00
    rest = made.listed.read_text().splitlines()[0].replace("2021-03-01 00:00:00", "2021-03-01 23:00:00")
    made.replace_line(made.listed, 0, f"eth-0xa\t{one}\n{rest}")
    assert check_bins(made.root, "60min").is_healthy
