"""Passwords that a careless hand does not encode, planted in every address: no message shows a piece of one."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import PoolcastError, UsageError
from resources.addresses import require_registry
from resources.lake import lake_at
from resources.postgres import postgres
from resources.settings import Settings, StoreSettings

PASSWORDS = st.text("@/:?#%&=QXZ0", min_size=3, max_size=12)
SERVERS = (
    "postgresql://u:{}@127.0.0.1:1/db",
    "postgresql://u/x:{}@127.0.0.1:1/db",
    "postgres://u:{}@127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?user=u&password={}",
    "postgresql://u@127.0.0.1:1/db?password={}",
)
OTHERS = {
    "MLFLOW_TRACKING_URI": ("http://u:{}@h", "postgresql://u/x:{}@h/db", "mysql://h:1/db?password={}@"),
    "POOLCAST_API_URL": ("https://u:{}@h/api", "https://h/{}@"),
    "POOLCAST_DASK": ("tcp://u:{}@h:8786", "{}@h:8786"),
    "POOLCAST_LAKE_URL": ("s3://u:{}@bucket/lake",),
    "POOLCAST_SANDBOX_URL": ("http://u:{}@127.0.0.1:1", "http://u/{}@127.0.0.1:1"),
}


def pieces(password: str, *, beside: str) -> set[str]:
    """Whatever three characters of a password follow one another, but those that are in `beside` without it."""
    return {password[i : i + 3] for i in range(len(password) - 2)} - {beside[i : i + 3] for i in range(len(beside))}


def said(url: str) -> str:
    with pytest.raises(PoolcastError) as raised, postgres(Settings(Path("/nowhere"), postgres_url=url)):
        pass
    return str(raised.value)


@pytest.mark.parametrize("server", SERVERS)
@settings(max_examples=60, deadline=None)
@given(PASSWORDS)
@example("p@ss/w")
@example("p%00ss")
@example("geheim")
@example("54321X")
def test_no_piece_of_a_password_is_in_what_is_said_of_a_server(server: str, password: str) -> None:
    shown = said(server.format(password))
    assert not [piece for piece in pieces(password, beside=said("mysql://") + said(SERVERS[0])) if piece in shown]


def test_one_meaning_is_kept() -> None:
    """Of what is not encoded, only what every reader takes alike."""
    assert "'postgresql://u:***@127.0.0.1:1/db' cannot be used" in said("postgresql://u:p/s:s#%w@127.0.0.1:1/db")
    assert require_registry("sqlite:////data/a@b@c/mlflow.db")
    assert require_registry("file:///data/a@b@c")
    assert require_registry("postgresql://postgres@/db?host=%2Ftmp")
    assert require_registry("/data/a@b@c")


@pytest.mark.parametrize(("variable", "address"), [(name, each) for name, told in OTHERS.items() for each in told])
@settings(max_examples=40, deadline=None)
@given(PASSWORDS)
@example("p@ss/w")
@example("geheim")
def test_an_address_that_is_shown_elsewhere_takes_no_secret_and_is_not_repeated(
    variable: str, address: str, password: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, address.format(password))
        with pytest.raises(UsageError, match=variable) as raised:
            Settings.from_environment()
    usual = "s3:// http://HOST https://HOST: 'tcp://H postgresql://USER:PASSWORD@HOST '@' %40, '/' %2F '?' %3F"
    assert not [piece for piece in pieces(password, beside=usual) if piece in str(raised.value)]


@pytest.mark.parametrize("address", ["http://u:{}@h", "https://u/{}@h", "http://{}@h/x"])
@settings(max_examples=40, deadline=None)
@given(PASSWORDS)
@example("p@ss/w")
def test_the_address_of_an_object_store_takes_no_sign_in(address: str, password: str) -> None:
    store = StoreSettings(address.format(password), has_keys=True)
    with pytest.raises(UsageError) as by_lake:
        lake_at("s3://team", Settings(Path("/nowhere"), store=store))
    assert not [p for p in pieces(password, beside="https://HOST:PORT") if p in str(by_lake.value)]


@pytest.mark.parametrize("key", ["CG-AbCdEf1234567890AbCd", "AKIAIOSFODNN7EXAMPLE", "3f2504e04f8911d39a0c0305e82c3301"])
@pytest.mark.parametrize(
    "variable",
    ["POOLCAST_API_URL", "POOLCAST_SANDBOX_URL", "POOLCAST_DASK", "POOLCAST_API_CALLS_PER_MINUTE",
     "POOLCAST_DAGSTER_PORT", "POOLCAST_MLFLOW_PORT"],
)  # fmt: skip
def test_a_key_that_was_pasted_into_another_variable_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, variable: str, key: str
) -> None:
    monkeypatch.setenv(variable, key)
    with pytest.raises(UsageError, match=variable) as raised:
        Settings.from_environment()
    assert key[:6] not in str(raised.value)


def test_settings_that_are_printed_hold_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("POOLCAST_POSTGRES_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(variable, "postgresql://u:geheim@h/db")
    assert "geheim" not in repr(Settings.from_environment())
