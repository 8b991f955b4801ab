"""Deliveries as they happen: killed in the middle, two at once, receivers that hang, break or answer nonsense."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import StorageError
from pipeline.monitoring.alerts.deliver import try_out
from pipeline.monitoring.alerts.journal import remembered
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.tables import ALERT_DELIVERIES, ALERTS
from tests.monitoring.alert_bench import Bench, Web, event, free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def web() -> Iterator[Web]:
    with Web(free_port()).up() as served:
        yield served


def sent(bench: Bench) -> pl.DataFrame:
    return remembered(bench.lake, ALERT_DELIVERIES, bench.clock.now()).filter(pl.col("decision") == "sent")


@pytest.mark.slow
def test_killed_between_a_send_and_its_row_every_alert_arrives_and_at_most_one_twice(tmp_path: Path, web: Web) -> None:
    bench = Bench(tmp_path, to=f"json://127.0.0.1:{web.port}/")
    bench.happens(*(event(f"job-{n}") for n in range(12)))
    reached = threading.Event()

    def answers(_handler: BaseHTTPRequestHandler) -> int:
        if len(web.got) == 5 and not reached.is_set():
            reached.set()  # it arrived, and the deliverer dies before it hears so
            time.sleep(1.0)
        return 200

    web.answers = answers
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.monitoring.alert_deliverer", str(tmp_path), bench.to], cwd=ROOT, env=os.environ
    )
    assert reached.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sent(bench).height == 5
    time.sleep(1.2)
    bench.clock.move(minutes=1)
    bench.delivers()
    counted = Counter(web.titles)
    assert len(counted) == 12
    assert sum(counted.values()) <= 13
    assert sent(bench)["alert_id"].n_unique() == 12


def test_what_cannot_be_written_down_is_not_sent(tmp_path: Path, web: Web) -> None:
    bench = Bench(tmp_path, to=f"json://127.0.0.1:{web.port}/")
    bench.happens(event())
    (tmp_path / "alerts" / "probe").mkdir(parents=True)  # no file can be written there
    with pytest.raises(StorageError, match="keep book of what is sent"):
        bench.delivers()
    assert web.got == []


@pytest.mark.slow
def test_two_deliveries_at_once_tell_it_once(tmp_path: Path, web: Web) -> None:
    bench = Bench(tmp_path, to=f"json://127.0.0.1:{web.port}/")
    bench.happens(*(event(f"job-{n}") for n in range(3)))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _n: bench.delivers(), range(2)))
    assert sorted(Counter(web.titles).values()) == [1, 1, 1]


@pytest.mark.slow
def test_a_receiver_that_hangs_stops_no_other_and_no_longer_than_it_may(tmp_path: Path, web: Web) -> None:
    def answers(handler: BaseHTTPRequestHandler) -> int:
        if handler.path == "/hangs":
            time.sleep(30)
        return {"/hangs": 200, "/broken": 500, "/gone": 404, "/elsewhere": 307}.get(handler.path, 200)

    web.answers = answers
    paths = ("hangs", "broken", "gone", "elsewhere", "fine")
    to = [f"json://127.0.0.1:{web.port}/{path}" for path in paths]
    bench = Bench(tmp_path, to=" ".join([*to, "nonsense://what"]), spec=AlertsSpec(send_seconds=4.0))
    bench.happens(event())
    started = time.monotonic()
    told = {receiver.url: outcome for receiver, outcome in zip(bench.receivers, bench.delivers(), strict=True)}
    assert time.monotonic() - started < 12
    assert [path for path, _told in web.got] == ["/fine"]
    reasons = [told[url].reason for url in (*to, "nonsense://what")]
    assert reasons == [
        "it did not answer within 4 s",
        "the receiver answered 500",
        "the receiver answered 404",
        "the receiver answered 307",
        "",
        "apprise does not know this kind of address",
    ]
    bench.clock.move(minutes=1)
    bench.delivers()
    assert len(web.got) == 1


@pytest.mark.slow
def test_no_address_is_in_any_table_or_word(tmp_path: Path, web: Web, capfd: pytest.CaptureFixture[str]) -> None:
    bench = Bench(tmp_path, to=f"json://user:topsecret@127.0.0.1:{web.port}/ json://user:topsecret@127.0.0.1:1/x")
    bench.happens(event())
    told = bench.delivers()
    assert [(each.n_sent, each.n_failed) for each in told] == [(1, 0), (0, 1)]
    kept = [remembered(bench.lake, table, bench.clock.now()).write_csv() for table in (ALERTS, ALERT_DELIVERIES)]
    assert "topsecret" not in "".join([*kept, repr(told), repr(bench.receivers), *capfd.readouterr()])
    assert "json:" in kept[1]


@pytest.mark.slow
def test_a_test_is_told_at_once_and_never_again(tmp_path: Path, web: Web) -> None:
    bench = Bench(tmp_path, to=f"json://127.0.0.1:{web.port}/ json://127.0.0.1:1/")
    folder = tmp_path / "alerts"
    told = try_out(bench.lake, folder, bench.receivers, bench.clock, severity="critical", spec=bench.spec)
    assert [(each.n_sent, each.n_failed) for each in told] == [(1, 0), (0, 1)]
    assert web.titles == ["poolcast critical: this is a test"]
    bench.clock.move(minutes=20)
    assert bench.delivers() == []
