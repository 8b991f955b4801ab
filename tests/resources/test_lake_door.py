"""From an address and the environment to a lake, and what is refused on the way."""

import json
import pickle
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import StorageError, UsageError
from pipeline.lake import Lake
from pipeline.lake.bucket import Bucket
from pipeline.lake.locks import FileLocks, ServerLocks
from pipeline.tables import POOLS
from resources.doors import doors
from resources.lake import lake_at, lake_of
from resources.settings import Settings, StoreSettings
from tests.builders import valid_frame
from tests.object_store import SECRET

KEYED = StoreSettings("http://127.0.0.1:9000", has_keys=True)


def settings(tmp_path: Path, **given: object) -> Settings:
    return Settings(tmp_path, **{"store": KEYED, **given})  # type: ignore[arg-type]


def test_without_an_address_the_lake_is_a_folder_of_the_data(tmp_path: Path) -> None:
    assert lake_of(settings(tmp_path)) == Lake(tmp_path / "lake")


def test_an_address_is_a_prefix_of_a_bucket(tmp_path: Path) -> None:
    for given in ("s3://team/a/lake", "s3://team/a/lake/"):
        root = lake_of(settings(tmp_path, lake_url=given)).root
        assert root == Bucket("s3://team/a/lake", FileLocks(tmp_path / "lake_locks"), is_plain=True)
    assert lake_of(settings(tmp_path, lake_url="s3://team", store=StoreSettings())).root.is_plain is False  # type: ignore[union-attr]


def test_the_locks_reach_as_far_as_the_server_that_machines_share(tmp_path: Path) -> None:
    url = "postgres://me:planted-password@db.example/poolcast"
    lake = lake_of(settings(tmp_path, lake_url="s3://team/lake", postgres_url=url))
    assert isinstance(lake.root, Bucket)
    assert lake.root.locks == ServerLocks("postgresql://me:planted-password@db.example/poolcast")
    assert "planted-password" not in repr(lake)
    assert pickle.loads(pickle.dumps(lake)) == lake  # noqa: S301


@pytest.mark.parametrize(
    "address",
    [
        "gs://team/lake", "s3:/team", "s3://", "s3://Team", "s3://key:planted-secret@team/lake", "s3://team/../x",
        "s3://team/lake?secret=planted-secret", "s3://team//lake", "s3://team/a b", "s3://team/%2e", "http://team/lake",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_and_not_repeated(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="POOLCAST_LAKE_URL is no address") as caught:
        lake_at(address, settings(tmp_path))
    assert "planted-secret" not in str(caught.value)


def test_a_store_is_spoken_to_without_encryption_on_this_machine_only(tmp_path: Path) -> None:
    for endpoint in ("http://127.0.0.1:9000", "http://localhost:1", "http://[::1]:1"):
        lake_at("s3://team", settings(tmp_path, store=StoreSettings(endpoint, has_keys=True)))
    for endpoint in ("http://10.0.0.7:9000", "http://127.0.0.1.example"):
        with pytest.raises(UsageError, match="without encryption"):
            lake_at("s3://team", settings(tmp_path, store=StoreSettings(endpoint, has_keys=True)))
    allowed = StoreSettings("http://10.0.0.7:9000", may_be_plain=True, has_keys=True)
    assert lake_at("s3://team", settings(tmp_path, store=allowed)).root.is_plain  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "endpoint", ["me:planted-secret@host", "http://me:planted-secret@127.0.0.1:1", "ftp://x", "http://[x"]
)
def test_an_endpoint_that_is_none_is_refused_and_not_repeated(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL is no address") as caught:
        lake_at("s3://team", settings(tmp_path, store=StoreSettings(endpoint, has_keys=True)))
    assert "planted-secret" not in str(caught.value)


def test_a_store_of_ones_own_without_keys_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID"):
        lake_at("s3://team", settings(tmp_path, store=StoreSettings("https://store.example")))


def test_what_dagster_shows_of_the_door_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    url = "postgresql://me:planted-password@db.example/poolcast"
    given = settings(tmp_path, lake_url="s3://team/lake", postgres_url=url)
    shown = doors(given)["lake"].model_dump()
    assert shown == {"root": "s3://team/lake"}


def test_every_command_works_on_an_object_store(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLCAST_LAKE_URL", bucket.uri)
    for first in range(2):
        Lake(bucket).append(POOLS, valid_frame(POOLS, n_rows=3 * (first + 1)))

    def run(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, [*arguments, "--data-dir", str(tmp_path)], catch_exceptions=False)
        assert result.exit_code == status, result.output
        assert SECRET not in result.output
        return result.stdout

    assert json.loads(run("lake", "status", "--json"))[0]["n_mergeable"] == 2
    run("lake", "compact", "pools")
    assert "deleted" in run("lake", "vacuum", "pools", "--retention-hours", "0")
    assert json.loads(run("lake", "sql", "SELECT count(*) AS n FROM pools", "--format", "json")) == [{"n": 6}]
    seen = json.loads(run("status", "--json"))
    assert [(table["table"], table["n_rows"]) for table in seen["tables"]] == [("pools", 6)]
    assert not (tmp_path / "lake").exists()
