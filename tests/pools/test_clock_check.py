"""An answer that was dated when our clock cannot have been right is refused before it is kept."""

from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from misbehaving_server import MisbehavingServer, reply
from source_bench import CALL, KEY, SPEC, Bench, usable
from timers import NOON

from pipeline.errors import InputError

DAY = timedelta(days=1)


def dated(off: timedelta) -> dict[str, str]:
    """The header of an answer from a server whose clock is so far from ours."""
    return {"Date": format_datetime(NOON + off, usegmt=True)}


@pytest.mark.parametrize("status", [200, 302, 404, 429, 500])
@pytest.mark.parametrize("off", [-2 * DAY, timedelta(hours=-1), timedelta(hours=1), 40 * DAY])
def test_an_answer_dated_far_from_our_clock_is_neither_kept_nor_used(
    tmp_path: Path, off: timedelta, status: int
) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(InputError, match=r"our clock said '2024-03-01 12:00:00', the answer is dated '20") as raised:
        bench.ask(reply(status, headers=dated(off)))
    assert f"'{NOON + off:%Y-%m-%d %H:%M:%S}'" in str(raised.value)
    assert "set this machine's clock" in str(raised.value)
    assert "POOLCAST_SANDBOX_URL" in str(raised.value)
    assert bench.kept == []


@pytest.mark.parametrize("off", [timedelta(minutes=-5), timedelta(minutes=-1), timedelta(0), timedelta(minutes=5)])
def test_an_answer_dated_as_our_clock_says_or_nearly_is_kept(tmp_path: Path, off: timedelta) -> None:
    bench = Bench(tmp_path)
    usable(bench.ask(reply(headers=dated(off)))[0])
    assert len(bench.kept) == 1


@pytest.mark.parametrize(
    "told",
    [
        None, "", "soon", "1709121600", "2024-01-01T00:00:00Z", "Mon, 01 Jan 2024", "Mon, 01 Jan 2024 00:00:00",
        "Mon, 01 Jan 2024 00:00:00 +0100", "Tue, 30 Feb 2024 00:00:00 GMT", "Mon, 01 Jan 0000 00:00:00 GMT",
        "Mon, 01 Jan 2024 24:61:61 GMT", "Mon, \u0660\u0661 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 GMT" * 9,
        "Mon, 01 Jan 2024 00:00:00 GMT, Tue, 02 Jan 2024 00:00:00 GMT", "9" * 5000, "\x1b[2J",
    ],
)  # fmt: skip
def test_no_date_or_one_that_nobody_can_read_says_nothing_of_our_clock(tmp_path: Path, told: str | None) -> None:
    bench = Bench(tmp_path)
    headers = {} if told is None else {"Date": told.encode().decode("latin-1")}
    usable(bench.ask(reply(headers=headers))[0])
    assert len(bench.kept) == 1


def test_two_dates_say_nothing_of_our_clock(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    usable(bench.ask(reply(headers=dated(-DAY) | {"date": "Fri, 01 Mar 2024 12:00:00 GMT"}))[0])
    assert len(bench.kept) == 1


@pytest.mark.parametrize("off", [-738000 * DAY, 2900000 * DAY])
def test_the_ends_of_time_are_far_off_and_no_crash(tmp_path: Path, off: timedelta) -> None:
    with pytest.raises(InputError, match="our clock said"):
        Bench(tmp_path).ask(reply(headers=dated(off)))


def test_an_answer_that_lay_in_a_cache_may_be_as_old_as_it_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    usable(bench.ask(reply(headers=dated(timedelta(hours=-2)) | {"Age": "7200"}))[0])
    # Some caches date an answer anew and tell its age all the same.
    usable(bench.ask(reply(headers=dated(timedelta(0)) | {"Age": "7200"}))[0])
    with pytest.raises(InputError, match="our clock said"):
        bench.ask(reply(headers=dated(timedelta(hours=-3)) | {"Age": "7200"}))


@pytest.mark.parametrize("age", ["", "-7200", "7200.5", "1e9", "9" * 30, "old"])
def test_an_age_that_nobody_can_read_makes_no_answer_older(tmp_path: Path, age: str) -> None:
    with pytest.raises(InputError, match="our clock said"):
        Bench(tmp_path).ask(reply(headers=dated(-DAY) | {"Age": age}))


def test_a_key_in_the_address_is_not_repeated(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with (
        MisbehavingServer(reply(headers=dated(-DAY))) as server,
        bench.source(f"{server.url}/{KEY}", key=KEY) as source,
        pytest.raises(InputError, match="our clock said") as raised,
    ):
        source.ask(CALL)
    assert KEY not in str(raised.value)


def test_a_request_may_take_as_long_as_it_likes_on_the_markets_clock(tmp_path: Path) -> None:
    # Of a market that runs sixty times as fast, twenty minutes pass in the twenty seconds that a call may take.
    bench = Bench(tmp_path)
    slow = reply(headers=dated(timedelta(minutes=10)))

    def answered_late(server: MisbehavingServer, connection: object, path: str) -> bool:
        bench.timer.sleep(20 * 60)
        return slow(server, connection, path)  # type: ignore[arg-type]

    usable(bench.ask(answered_late, spec=SPEC)[0])
