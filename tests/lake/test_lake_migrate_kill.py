"""A migration that is killed at any moment has happened or has not; on an object store nobody is overtaken."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from bucket_writer import unlocked
from lake_tables import ordered
from reshaped_tables import FIRST, NOW, mapped, old_lake, old_rows

from pipeline.errors import StorageError
from pipeline.lake import Lake
from pipeline.lake.backup import copy, restore
from pipeline.lake.bucket import Bucket
from pipeline.lake.migrate import plan

ROUNDS = 3
SCRIPT = Path(__file__).with_name("lake_migrator.py")
PROJECT = Path(__file__).parents[2]


def begun(root: Path) -> subprocess.Popen[str]:
    """A process that is about to migrate."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "POLARS_MAX_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return process


def end(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
    assert process.wait() in (0, -9)


@pytest.mark.slow
def test_killed_at_random_moments_the_table_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    old = old_lake(Lake(tmp_path / "old", sync=lambda path: None))
    before, dice, seen = ordered(old.scan(FIRST)), random.Random(7), Counter[str]()
    after = ordered(mapped(old.scan(FIRST).collect()))
    shutil.copytree(old.root, tmp_path / "lake")
    begin, process = time.monotonic(), begun(tmp_path / "lake")
    process.wait()
    whole = time.monotonic() - begin
    end(process)
    for _ in range(ROUNDS):
        shutil.rmtree(tmp_path / "lake")
        shutil.copytree(old.root, tmp_path / "lake")
        for _ in range(2):  # the second finds what the first left
            process = begun(tmp_path / "lake")
            time.sleep(dice.random() * whole * 0.3)
            process.kill()
            end(process)
        lake = Lake(tmp_path / "lake")
        seen["old" if plan(lake, NOW) else "new"] += 1
        if plan(lake, NOW):
            assert ordered(lake.scan(FIRST)) == before
        lake.migrate(NOW)
        assert ordered(lake.scan(NOW)) == after
        assert lake.append(NOW, mapped(old_rows(range(9000, 9003)))).n_rows == 3
    assert seen["old"], seen


def test_on_an_object_store_a_table_is_migrated_after_whoever_wrote_meanwhile(bucket: Bucket, tmp_path: Path) -> None:
    lake, other = old_lake(unlocked(bucket), n_days=2), unlocked(bucket)
    late = [old_rows(range(9000, 9010))]

    def meanwhile(_share: float) -> None:
        while late:
            assert other.append(FIRST, late.pop()).n_rows == 10

    kept = copy(lake, FIRST, tmp_path / "kept")
    assert kept == lake.version(FIRST)
    pinned = ordered(mapped(lake.scan(FIRST, version=kept).collect()))
    lake.migrate(NOW, progress=meanwhile)
    assert ordered(lake.scan(NOW)) == sorted([*pinned, *mapped(old_rows(range(9000, 9010))).rows()])
    assert ordered(lake.scan(NOW, version=kept)) == pinned, "the version that the backup names is the way back"
    with pytest.raises(StorageError, match="neither this version of the code nor an older one"):
        other.append(FIRST, old_rows(range(9100, 9110)))
    with pytest.raises(StorageError, match="object store, where nothing was copied"):
        restore(lake, FIRST, tmp_path / "kept")
