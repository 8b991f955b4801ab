"""What was acknowledged is on the disk, and reaches the lake once."""

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from api_records import SOURCE, answer, asked_for, minutes

from pipeline.errors import StorageError
from pipeline.lake import Lake, disk
from pipeline.pools.drain import drain
from pipeline.pools.journal import Journal
from pipeline.pools.memory import Memory
from pipeline.tables import ANSWERS, PARTITIONS

KEEPER = """
import sys
from pathlib import Path
from api_records import answer
from pipeline.pools.journal import Journal
from pipeline.pools.memory import Memory

journal = Journal(Memory(Path(sys.argv[1])))
for number in range(10_000):
    told = answer(b'{"data":[%d]}' % number, number / 600)
    journal.keep(told)
    print(told.answer_id, flush=True)
"""

VISITOR = """
import sys
from pathlib import Path
from api_records import answer, asked_for
from pipeline.pools.journal import Journal
from pipeline.pools.memory import Memory

journal = Journal(Memory(Path(sys.argv[1])))
with journal.plan(4):
    for number in range(2):
        journal.keep(answer(b'{"data":[]}', number, call=asked_for(f"0x{number}"), plan={f"0x{number}": (0.8, 1)}))
    journal.keep(answer(b'down', 2, call=asked_for("0x2"), plan={"0x2": (0.8, 1)}, status=503))
    print("visited", flush=True)
    sys.stdin.read()
"""
WITH_OURS = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{Path(__file__).parents[2]}"}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(Memory(tmp_path / "memory.sqlite"))


def test_an_answer_reaches_the_lake_as_it_was_told(journal: Journal, tmp_path: Path) -> None:
    told = answer(b'{"data": ["\xff\x00"]}', 3, plan={"0xa": (0.25, 2)}, status=503, content_type=None)
    journal.keep(told)
    lake = Lake(tmp_path / "lake")
    assert drain(journal, lake) == [minutes(0)]
    row = lake.scan(ANSWERS).collect().row(0, named=True)
    assert gzip.decompress(row.pop("body")) == told.body
    assert row == {name: value for name, value in told.as_row().items() if name != "body"}
    assert row["plan"] == '{"0xa": [0.25, 2]}'
    assert journal.n_answers() == 0


def test_the_same_answer_twice_is_one_and_so_is_a_drain_that_was_broken_off(journal: Journal, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    for _ in range(2):
        journal.keep(answer())
    assert journal.n_answers() == 1

    def broken_off(rows: pl.DataFrame) -> None:
        lake.append(ANSWERS, rows)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.drain(ANSWERS, broken_off)
    assert journal.n_answers() == 1
    drain(journal, lake)
    assert lake.scan(ANSWERS).collect().height == 1


def test_a_drain_puts_the_hours_it_touched_on_record_and_a_late_answer_changes_its_hour(
    journal: Journal, tmp_path: Path
) -> None:
    lake = Lake(tmp_path / "lake")
    prints = []
    for at in (10, 70, 20):
        journal.keep(answer(at=at))
        drain(journal, lake)
        record = lake.scan(PARTITIONS).sort("hour").collect()
        prints.append(dict(zip(record["hour"], record["content_hash"], strict=True)))
    assert set(prints[1]) == {minutes(0), minutes(60)}
    assert prints[1][minutes(0)] == prints[0][minutes(0)]
    assert prints[2][minutes(0)] != prints[1][minutes(0)]


def test_a_batch_at_a_time_goes_to_the_lake_oldest_first(journal: Journal) -> None:
    for at in (5, 1, 3):
        journal.keep(answer(at=at))
    seen: list[list[object]] = []
    assert journal.drain(ANSWERS, lambda rows: seen.append(rows["event_time"].to_list()), batch=2) == 3
    assert seen == [[minutes(1), minutes(3)], [minutes(5)]]


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", KEEPER, str(tmp_path / "memory.sqlite")],
            stdout=subprocess.PIPE,
            text=True,
            env=WITH_OURS,
        ) as keeper:
            assert keeper.stdout is not None
            acknowledged = {keeper.stdout.readline().strip() for _ in range(20)}
            keeper.send_signal(signal.SIGKILL)
            # What it had printed before it died was acknowledged, too.
            acknowledged |= {line.strip() for line in keeper.stdout if line.endswith("\n")}
        lake = Lake(tmp_path / "lake")
        drain(Journal(Memory(tmp_path / "memory.sqlite")), lake)
        kept = lake.scan(ANSWERS).collect()
        assert acknowledged <= set(kept["answer_id"])
        assert kept["source"].unique().to_list() == [SOURCE]


def plans_of(lake: Lake) -> dict[str, object]:
    told = lake.scan(ANSWERS).filter(pl.col("plan").is_not_null(), pl.col("status") == 200).collect()["plan"]
    return {pool: said for plan in told for pool, said in json.loads(plan).items()}


def visit(journal: Journal, pool: str, at: float, body: bytes = b'{"data":[]}', **told: Any) -> None:
    journal.keep(answer(body, at, call=asked_for(pool), plan={pool: (0.8, 1)}, **told))


def test_the_answers_of_a_plan_wait_for_its_end_and_then_tell_how_likely_they_were(
    journal: Journal, tmp_path: Path
) -> None:
    lake = Lake(tmp_path / "lake")
    with journal.plan(2):
        visit(journal, "0xa", 0)
        journal.keep(answer(at=1))  # a page of new pools
        drain(journal, lake)
        assert (lake.scan(ANSWERS).collect().height, journal.n_answers()) == (1, 1)
        drain(Journal(Memory(journal.memory.path)), lake)
        assert journal.n_answers() == 1, "another collector leaves it alone"
    drain(journal, lake)
    assert plans_of(lake) == {"0xa": [0.4, 1]}
    with journal.plan(1):
        visit(journal, "0xb", 2)
    drain(journal, lake)
    assert plans_of(lake)["0xb"] == [0.8, 1]


def test_a_visit_counts_once_and_only_with_an_answer_of_the_api(journal: Journal, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    with journal.plan(8):
        for at in range(3):
            visit(journal, "0xa", at, b'{"data":[')  # cut short, and asked again
        visit(journal, "0xa", 3)
        visit(journal, "0xb", 4, status=203)
        visit(journal, "0xc", 5, b"<html>", content_type="text/html")
        visit(journal, "0xd", 6, status=503)
    drain(journal, lake)
    told = lake.scan(ANSWERS).sort("event_time").collect()["plan"]
    assert [json.loads(plan).popitem()[1][0] for plan in told] == [0.8, 0.8, 0.8, 0.2, 0.2, 0.8, 0.8]


@pytest.mark.parametrize("end", [KeyboardInterrupt, StorageError])
def test_a_plan_that_is_broken_off_counts_what_had_come(
    journal: Journal, tmp_path: Path, end: type[BaseException]
) -> None:
    def carry_out() -> None:
        with journal.plan(10):
            for at in range(4):
                visit(journal, f"0x{at}", at)
            raise end

    lake = Lake(tmp_path / "lake")
    with pytest.raises(end):
        carry_out()
    drain(journal, lake)
    assert plans_of(lake) == {f"0x{at}": [pytest.approx(0.32), 1] for at in range(4)}


def test_what_was_seen_of_a_plan_before_its_collector_was_killed_tells_how_likely_it_was(tmp_path: Path) -> None:
    file, lake = tmp_path / "memory.sqlite", Lake(tmp_path / "lake")
    journal = Journal(Memory(file))
    with subprocess.Popen(
        [sys.executable, "-c", VISITOR, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=WITH_OURS,
    ) as visitor:
        assert visitor.stdout is not None
        assert visitor.stdout.readline() == b"visited\n"
        visitor.send_signal(signal.SIGSTOP)
        drain(journal, lake)
        assert journal.n_answers() == 3, "it may go on"
        visitor.send_signal(signal.SIGKILL)
    drain(journal, lake)
    assert journal.n_answers() == 0
    assert plans_of(lake) == {"0x0": [0.4, 1], "0x1": [0.4, 1]}, "two of four calls were answered"
    assert not list(tmp_path.glob("memory.sqlite.plan-*"))


def test_no_plan_is_begun_beside_one_of_a_memory_that_was_taken_away(journal: Journal) -> None:
    told = "a collector works on one that was here before"
    held = disk.locked(journal.memory.path.with_name("memory.sqlite.plan-1"))
    with held, pytest.raises(StorageError, match=told), journal.plan(1):
        pass
    with journal.plan(1):
        visit(journal, "0xa", 0)


def test_a_memory_of_the_version_before_is_brought_to_this_one_and_keeps_what_it_holds(tmp_path: Path) -> None:
    file = tmp_path / "memory.sqlite"
    memory = Memory(file)
    Journal(memory).keep(answer())
    with memory.writing("age") as db:
        db.execute("DROP TABLE plans")
        db.execute("DROP TABLE visits")
        db.execute("PRAGMA user_version=1")
    memory.close()
    journal = Journal(Memory(file))
    with journal.plan(1):
        visit(journal, "0xa", 0)
    assert journal.n_answers() == 2
    assert drain(journal, Lake(tmp_path / "lake")) == [minutes(0)]


@pytest.mark.parametrize("then", ["n_calls INTEGER, until INTEGER", "n_calls INTEGER"])
def test_a_plan_of_version_two_is_settled_and_the_numbers_go_on(tmp_path: Path, then: str) -> None:
    file = tmp_path / "memory.sqlite"
    memory = Memory(file)
    with memory.writing("age") as db:
        db.execute("DROP TABLE plans")
        db.execute(f"CREATE TABLE plans (plan INTEGER PRIMARY KEY AUTOINCREMENT, {then})")
        db.execute("INSERT INTO plans (plan, n_calls) VALUES (7, 2)")
        db.execute("PRAGMA user_version=2")
    memory.close()
    memory = Memory(file)
    assert memory.rows("SELECT * FROM plans") == [(7, 2)]
    journal = Journal(memory)
    assert journal.settle_abandoned() == 1
    with journal.plan(1):
        assert memory.rows("SELECT * FROM plans") == [(8, 1)]


def test_a_memory_of_another_version_or_a_damaged_one_is_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "memory.sqlite"
    memory = Memory(file)
    with memory.writing("age") as db:
        db.execute("PRAGMA user_version=99")
    memory.close()
    with pytest.raises(StorageError, match="version 99"):
        Memory(file)
    other = tmp_path / "other.sqlite"
    other.write_bytes(b"no database at all" * 100)
    with pytest.raises(StorageError, match=r"could not open .*other\.sqlite"):
        Memory(other)


OPENER = """
import sys
from pathlib import Path
from pipeline.pools.memory import Memory

for number in range(40):
    Memory(Path(sys.argv[1]) / f"memory-{number}.sqlite").close()
"""


def test_several_collectors_may_begin_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", OPENER, str(tmp_path)]
    openers = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    told = [opener.communicate()[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * 4, told
