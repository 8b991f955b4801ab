"""Signing in: the settings, the hashes, the brake on guessing, and the real server that asks for it."""

import base64
import socket
import statistics
import time

import pytest
from guarded_servers import LAUNCH, PASSWORD, Guarded, account
from typer.testing import CliRunner

from pipeline.errors import UsageError
from pipeline.guard.sign_in import Account, SignIn, accounts_of
from resources.serving import check_reach, own_credentials
from resources.settings import Settings

UPGRADE = (
    "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: graphql-ws",
)  # fmt: skip


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sign_in(clock: Clock) -> SignIn:
    return SignIn(accounts_of(f"{account('ann')},{account('bob')}"), ("us", "w" * 43), clock)


def test_who_knows_the_password_is_let_in_and_remembered_for_a_while(sign_in: SignIn, clock: Clock) -> None:
    right = basic("ann", PASSWORD)
    assert not sign_in.is_known(right)
    assert sign_in.judge(right) == "admitted"
    assert sign_in.is_known(right)
    # Whoever works is not asked again, though somebody guesses at the name the whole day.
    for minute in range(1, 60):
        clock.now = 60 * minute
        for n in range(5):
            sign_in.judge(basic("ann", f"guess {n}"))
        assert sign_in.is_known(right)
    clock.now = 7200
    assert not sign_in.is_known(right)


def test_our_own_processes_are_known_by_their_word_alone(sign_in: SignIn) -> None:
    assert sign_in.is_known(basic("us", "w" * 43))
    assert not sign_in.is_known(basic("us", "w" * 42))
    assert not sign_in.is_known(basic("us", ""))
    assert not SignIn({}, None, Clock()).is_known("Basic ")


@pytest.mark.parametrize(
    "shown",
    ["", "Basic", "Basic !!!", "Bearer x", "Basic " + "A" * 9000, basic("ann", ""), basic("nobody", PASSWORD),
     basic("bob:ann", PASSWORD), "Basic " + base64.b64encode(b"ann").decode(), basic("ANN", PASSWORD),
     "Basic " + base64.b64encode(b"\xff\xfe:" + PASSWORD.encode()).decode(), basic("", PASSWORD)],
)  # fmt: skip
def test_nothing_else_is(sign_in: SignIn, shown: str) -> None:
    assert not sign_in.is_known(shown)
    assert sign_in.judge(shown) == "refused"


def test_after_five_wrong_tries_even_the_right_one_waits_a_minute_and_others_do_not(
    sign_in: SignIn, clock: Clock
) -> None:
    assert sign_in.judge(basic("bob", PASSWORD)) == "admitted"
    assert [sign_in.judge(basic("ann", f"guess {n}")) for n in range(7)] == ["refused"] * 5 + ["wait"] * 2
    assert sign_in.judge(basic("ann", PASSWORD)) == "wait"
    assert sign_in.judge(basic("bob", PASSWORD)) == "admitted"
    assert [sign_in.judge(basic(f"x{n}", "guess")) for n in range(6)][-1] == "wait"
    clock.now = 61
    assert sign_in.judge(basic("ann", PASSWORD)) == "admitted"


def test_a_name_that_is_not_there_takes_as_long_as_one_that_is(sign_in: SignIn, clock: Clock) -> None:
    def seconds(name: str) -> float:
        taken = []
        for _ in range(4):
            clock.now += 100
            started = time.thread_time()
            assert sign_in.judge(basic(name, "wrong")) == "refused"
            taken.append(time.thread_time() - started)
        return statistics.median(taken)

    assert 0.4 < seconds("ann") / seconds("nobody") < 2.5


def test_a_line_says_nothing_of_the_password_and_reads_back() -> None:
    made = Account.make("ann", PASSWORD)
    assert Account.parse(made.written()) == made
    assert PASSWORD not in made.written()
    assert made.digest.hex() not in repr(made)
    assert Account.make("ann", PASSWORD).digest != made.digest


def test_the_command_reads_a_password_and_prints_a_line_that_lets_in(clock: Clock) -> None:
    from pipeline.cli import app

    done = CliRunner().invoke(app, ["sign-in", "hash", "ann"], input=f"{PASSWORD}\n")
    assert done.exit_code == 0
    assert PASSWORD not in done.output
    assert SignIn(accounts_of(done.stdout.strip()), None, clock).judge(basic("ann", PASSWORD)) == "admitted"
    for name, password in (("ann", "hunter2"), ("an n", PASSWORD), ("ann:x", PASSWORD), ("", PASSWORD)):
        refused = CliRunner().invoke(app, ["sign-in", "hash", name], input=f"{password}\n")
        assert isinstance(refused.exception, UsageError)
        assert password not in str(refused.exception)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("ann:secret-in-clear", "neither lines"), ("ann:scrypt:15:00:11", "no NAME:scrypt"),
        ("/nowhere/at/all", "neither"),
        (f"{account()},{account()}", "twice"), ("ann:scrypt:99:" + "0" * 32 + ":" + "0" * 64, "no NAME:scrypt"),
        ("\x00", "neither"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_read_is_refused_without_being_shown(told: str, found: str) -> None:
    with pytest.raises(UsageError, match=found) as caught:
        accounts_of(told)
    assert told.partition(":")[2][:20] not in str(caught.value) or ":" not in told


def test_beyond_loopback_nobody_listens_without_a_sign_in() -> None:
    def settings(**told: object) -> Settings:
        return Settings(data_dir=None, **told)  # type: ignore[arg-type]

    for bind in ("0.0.0.0", "::", "10.0.0.5"):  # noqa: S104 - refused
        with pytest.raises(UsageError, match="POOLCAST_SIGN_IN"):
            check_reach(settings(bind=bind))
        check_reach(settings(bind=bind, sign_in=account()))
    for bind in ("127.0.0.1", "127.0.0.9", "::1"):
        check_reach(settings(bind=bind))
    with pytest.raises(UsageError, match="IP address"):
        check_reach(settings(bind="localhost"))
    with pytest.raises(UsageError, match="ALLOWED_HOSTS"):
        check_reach(settings(allowed_hosts=("*.example.org",)))
    assert own_credentials(settings()) == {}
    assert len(own_credentials(settings(sign_in=account()))["MLFLOW_TRACKING_PASSWORD"]) >= 40


@pytest.mark.slow
def test_the_server_shows_nothing_to_who_did_not_sign_in_but_that_it_is_up(signed_server: Guarded) -> None:
    assert signed_server.ask("GET /server_info").status == 200
    for line in ("GET /", "POST /graphql", "GET /runs", "POST /server_info", "GET /server_info/", "GET //server_info"):
        answer = signed_server.ask(line, "Content-Type: application/json")
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Basic realm="poolcast", charset="UTF-8"'
    head = "\n".join(("GET /graphql HTTP/1.1", "Host: 127.0.0.1:PORT", *UPGRADE))
    assert signed_server.send(head).status == 401
    assert signed_server.send(f"{head}\nAuthorization: {basic('us', 'w' * 43)}").status == 101
    ann = f"Authorization: {basic('ann', PASSWORD)}"
    before = signed_server.n_runs(ann)
    assert signed_server.graphql(LAUNCH, ann)["launchRun"]["__typename"] == "LaunchRunSuccess"
    assert signed_server.n_runs(ann) == before + 1
    assert signed_server.ask("POST /graphql", ann, "Origin: http://evil.example", body=b"{}").status == 403
    with socket.create_connection(("127.0.0.2", signed_server.port), timeout=30) as elsewhere:
        elsewhere.sendall(b"GET / HTTP/1.0\r\nHost: 127.0.0.2\r\n\r\n")
        assert elsewhere.recv(100).startswith(b"HTTP/1.1 403")
    huge = "POST /graphql HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Type: application/json\nContent-Length: 9999999999"
    assert signed_server.send(huge).status == 401


@pytest.mark.slow
def test_guessing_is_slowed_down_while_who_signed_in_works_on(signed_server: Guarded) -> None:
    ann = f"Authorization: {basic('ann', PASSWORD)}"
    assert signed_server.ask("GET /", ann).status == 200
    guesses = [signed_server.ask("GET /", f"Authorization: {basic('ann', f'guess {n}')}").status for n in range(7)]
    assert guesses == [401] * 5 + [429] * 2
    assert signed_server.ask("GET /", ann).status == 200
    log = signed_server.log.read_text()
    assert "guess" not in log
    assert PASSWORD not in log
    assert "wwwww" not in log
