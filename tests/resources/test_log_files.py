import os
import subprocess
import sys
from pathlib import Path

import pytest

from resources import log_files
from resources.log_files import prune, prune_folders, rotate

WRITER = """
import sys
for line in sys.stdin:
    print(line, end="", flush=True)
"""


def test_a_log_is_emptied_under_its_writer_and_the_last_three_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with log.open("ab") as out:
        writer = subprocess.Popen([sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=out, text=True)
    assert writer.stdin is not None
    for n in range(6):
        writer.stdin.write(f"{n}" * 50 + "\n")
        writer.stdin.flush()
        while log.stat().st_size < 51:
            pass
        assert rotate(log, 50)
        assert log.stat().st_size == 0
        assert not rotate(log, 50)
    writer.stdin.write("last words\n")
    writer.stdin.flush()
    while not log.stat().st_size:
        pass
    writer.kill()
    writer.communicate()
    assert log.read_text() == "last words\n"
    assert {path.name: path.read_text()[0] for path in tmp_path.glob("a.log.*")} == {
        "a.log.1": "5", "a.log.2": "4", "a.log.3": "3",
    }  # fmt: skip


def test_where_there_is_no_room_for_a_copy_the_old_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "a.log"
    log.write_text("x" * 100)
    (tmp_path / "a.log.1").write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_files.shutil, "copyfile", full)
    assert rotate(log, 50)
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]
    assert log.stat().st_size == 0


def test_a_log_that_is_not_there_is_nothing_to_rotate(tmp_path: Path) -> None:
    assert not rotate(tmp_path / "none.log", 0)


def test_old_files_go_and_so_do_the_oldest_of_too_many(tmp_path: Path) -> None:
    for n in range(6):
        (tmp_path / f"{n}.log").touch()
        os.utime(tmp_path / f"{n}.log", (n, n))
    assert prune([*tmp_path.iterdir(), tmp_path / "gone"], older_than=2, most=3) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"3.log", "4.log", "5.log"}


def test_old_captured_output_goes_with_the_folder_of_its_run_and_nothing_else_does(tmp_path: Path) -> None:
    for name, written in (("old", 1), ("holds_more", 1), ("new", 3)):
        (tmp_path / name / "compute_logs").mkdir(parents=True)
        (tmp_path / name / "compute_logs" / "step.out").touch()
        os.utime(tmp_path / name / "compute_logs", (written, written))
    (tmp_path / "holds_more" / "result").touch()
    assert prune_folders(tmp_path.glob("*/compute_logs"), older_than=2) == 2
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"holds_more/result", "new/compute_logs/step.out"}
    assert not (tmp_path / "old").exists()
