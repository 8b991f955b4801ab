"""A cycle in which nobody answered is told apart from one in which there was nothing to find."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import pipeline.live
from pipeline.cli import app
from pipeline.errors import RefusedError, SourceError
from pipeline.pools.cycle import Cycle, Tally, row_of
from pipeline.runs import Finished

AT = datetime(2024, 3, 1, tzinfo=UTC)
LOST = SourceError("nobody is there")


def cycle(*calls: tuple[str | None, int, Exception | None], unknown: str | None = None) -> Cycle:
    """A cycle of the network `eth` that made these calls: about which network, how many requests, what went wrong."""
    tally = Tally()
    for call in calls:
        tally.asked(*call)
    if unknown is not None:
        tally.unknown(unknown)
    row = row_of("geckoterminal", "eth", AT, AT, "c", tally.of("eth"), 0, (AT - timedelta(hours=1), AT, False))
    return Cycle.of(AT, [row], tally, 0)


def collected(monkeypatch: pytest.MonkeyPatch, folder: Path, told: Cycle) -> Any:
    """The command, with a run that says what a run says of this cycle: the graph's own takes a minute."""

    @contextmanager
    def instance_of(*_: object, **__: object) -> Iterator[tuple[None, None, dict[str, str]]]:
        yield None, None, {}

    monkeypatch.setattr(sys.modules["pipeline.cli.pools"], "instance_of", instance_of)
    monkeypatch.setattr(pipeline.live, "collect", lambda *_: Finished("r", {}, {"answers": dict(told.totals())}))
    monkeypatch.setattr(pipeline.live, "catch_up_behind", lambda *_: None)
    return CliRunner().invoke(app, ["pools", "collect", "--data-dir", str(folder)])


def test_a_cycle_in_which_no_call_was_answered_fails_after_its_figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = collected(monkeypatch, tmp_path, cycle(("eth", 3, LOST), (None, 3, LOST)))
    assert done.stdout.startswith("calls 6, answered calls 0, failed calls 2, pools found 0")
    assert isinstance(done.exception, SourceError)
    assert "none of 2 calls was answered; look at POOLCAST_API_URL" in str(done.exception)


@pytest.mark.parametrize(
    "calls",
    [
        [("eth", 1, None)],
        [("eth", 3, LOST), ("eth", 1, None)],
        [("eth", 3, LOST), (None, 1, None)],
        [],
    ],
)
def test_one_answer_is_enough_though_it_told_of_no_pool_and_so_is_having_nothing_to_ask(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, calls: list[tuple[str | None, int, Exception | None]]
) -> None:
    done = collected(monkeypatch, tmp_path, cycle(*calls))
    assert (done.exit_code, done.exception) == (0, None)


def test_a_network_that_the_api_does_not_know_fails_the_command_though_other_calls_were_answered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POOLCAST_NETWORKS", "eth")
    done = collected(monkeypatch, tmp_path, cycle(("eth", 1, RefusedError("404")), (None, 2, None), unknown="eth"))
    assert done.stdout.startswith("calls 3, answered calls 1, failed calls 1, pools found 0")
    assert isinstance(done.exception, RefusedError)
    words = "asked the API for the new pools of 'eth': it knows no such network (status 404); https://"
    assert str(done.exception).startswith(words)
    assert "/networks lists the names: mend --network or POOLCAST_NETWORKS" in str(done.exception)


def test_a_name_that_the_api_does_not_know_is_noted_by_one_thread_at_a_time() -> None:
    tally = Tally()
    noting = threading.Thread(target=tally.unknown, args=("nowhere",))
    with tally._lock:
        noting.start()
        noting.join(0.2)
        assert tally.unknown_networks == set()
    noting.join()
    assert tally.unknown_networks == {"nowhere"}
