"""Predictions go on while the registry is away, and never with a file that is not what the ledger says."""

import hashlib
import json
import os

import pytest
from training_runs import AT, FEATURES, a_model, a_run

from pipeline.errors import RegistryAwayError, RegistryError
from pipeline.promotion.cache import KEPT, kept_version, load_in_charge
from pipeline.promotion.registry import Registry
from pipeline.promotion.standing import Deployed
from pipeline.promotion.versions import Fed, RegisteredVersion, proven

NAME = "pool-outcome"
OWN = {name: str(place) for place, name in enumerate(FEATURES)}


class Shelf:
    """Versions by number, as a registry gives them; it counts who asks, and may be away."""

    def __init__(self, *runs) -> None:
        self.runs, self.n_asked, self.is_away = runs, 0, False

    def load(self, model_name, version, *, expected_sha256=None):
        if self.is_away:
            raise RegistryAwayError("the registry is away")
        self.n_asked += 1
        run = self.runs[version - 1]
        tags = {**run.identity, **run.told_inputs, **run.kind.tags}
        entry = RegisteredVersion.from_tags(model_name, version, "r", tags)
        return proven(entry, run.model_bytes, expected_sha256)


def deployed(run, version: int = 1) -> Deployed:
    return Deployed(NAME, version, run.model_sha256, 1, AT, "h")


def files(folder) -> list:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


@pytest.fixture
def run():
    return a_run()


@pytest.fixture
def shelf(run):
    return Shelf(run)


def test_the_second_time_nobody_asks_the_registry(shelf, run, tmp_path):
    first = load_in_charge(shelf, tmp_path, deployed(run))
    shelf.is_away = True
    again = load_in_charge(shelf, tmp_path, deployed(run))
    assert (again, shelf.n_asked) == (first, 1)
    assert again.model_bytes == run.model_bytes
    assert (again.feature_names, again.kind, again.registered.tags) == (
        first.feature_names, first.kind, first.registered.tags,
    )  # fmt: skip


def test_a_registry_that_is_away_is_said_to_be_where_the_cache_has_nothing(shelf, run, tmp_path):
    shelf.is_away = True
    with pytest.raises(RegistryAwayError, match="away"):
        load_in_charge(shelf, tmp_path, deployed(run))
    assert files(tmp_path) == []


def forged_head(content: bytes, **told) -> bytes:
    """The same file with another head, its checksum made anew."""
    _, head, model = content.split(b"\n", 2)
    head = json.dumps({**json.loads(head), **told}).encode()
    return b"\n".join((hashlib.sha256(head).hexdigest().encode(), head, model))


DAMAGES = {
    "another model": lambda content: b"\n".join((*content.split(b"\n", 2)[:2], a_model(7))),
    "the last byte": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "a byte of the head": lambda content: content[:80] + bytes([content[80] ^ 1]) + content[81:],
    "another feature in the head": lambda content: content.replace(b"age_hours", b"age_years", 1),
    "cut in the model": lambda content: content[:-100],
    "cut in the head": lambda content: content[:100],
    "nothing": lambda content: b"",
    "something longer": lambda content: content + b"x",
    "another version": lambda content: forged_head(content, version=2),
    "another name": lambda content: forged_head(content, model_name="pool-return"),
    "no tags": lambda content: forged_head(content, tags={}),
    "tags that are none": lambda content: forged_head(content, tags=[1]),
    "a head that is a list": lambda content: b"\n".join(
        (hashlib.sha256(b"[]").hexdigest().encode(), b"[]", content.split(b"\n", 2)[2])
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_deleted_and_fetched_anew(shelf, run, tmp_path, damage):
    good = load_in_charge(shelf, tmp_path, deployed(run))
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    shelf.is_away = True
    with pytest.raises(RegistryAwayError):
        load_in_charge(shelf, tmp_path, deployed(run))
    assert files(tmp_path) == []
    shelf.is_away = False
    assert load_in_charge(shelf, tmp_path, deployed(run)) == good
    assert path.read_bytes() == whole


def test_a_file_the_ledger_does_not_name_is_not_used(shelf, run, tmp_path):
    load_in_charge(shelf, tmp_path, deployed(run))
    other = Deployed(NAME, 1, "f" * 64, 2, AT, "h")
    with pytest.raises(RegistryError, match="hashes to"):
        load_in_charge(shelf, tmp_path, other)
    # Not even under the name that the ledger would look for.
    (path,) = files(tmp_path)
    path.with_name(path.name.replace(run.model_sha256, "f" * 64)).write_bytes(path.read_bytes())
    with pytest.raises(RegistryError, match="hashes to"):
        load_in_charge(shelf, tmp_path, other)
    assert files(tmp_path) == [path]


def test_the_features_it_would_be_fed_with_are_compared_from_the_cache_as_well(shelf, run, tmp_path):
    for _ in range(2):
        with pytest.raises(RegistryError, match="version 1: it cannot be asked any more: features have changed"):
            load_in_charge(shelf, tmp_path, deployed(run), fed=Fed("fs2", OWN))
    assert load_in_charge(shelf, tmp_path, deployed(run), fed=Fed("fs1", {})).model_bytes == run.model_bytes
    assert shelf.n_asked == 1


def test_what_it_was_told_of_its_own_features_is_kept_in_the_cache_as_well(tmp_path):
    run = a_run(feature_definitions=OWN)
    shelf = Shelf(run)
    assert kept_version(tmp_path, deployed(run)) is None
    for _ in range(2):
        load_in_charge(shelf, tmp_path, deployed(run), fed=Fed("fs2", {**OWN, "new": "9"}))
        with pytest.raises(RegistryError, match="of its 3 features 1 is defined otherwise since it learned"):
            load_in_charge(shelf, tmp_path, deployed(run), fed=Fed("fs2", {**OWN, "age_hours": "9"}))
    found = kept_version(tmp_path, deployed(run))
    assert found is not None
    assert (found.version, found.feature_definitions, shelf.n_asked) == (1, OWN, 1)


def test_two_versions_of_the_same_bytes_are_two_files(run, tmp_path):
    shelf = Shelf(run, a_run(training_set_id="f" * 64))
    told = [load_in_charge(shelf, tmp_path, deployed(run, v)).registered.training_set_id for v in (1, 2, 1, 2)]
    assert told == ["0" * 64, "f" * 64] * 2
    assert shelf.n_asked == 2


def test_who_is_used_stays_and_who_was_not_used_for_longest_is_swept_out(tmp_path):
    runs = [a_run(seed) for seed in range(KEPT + 2)]
    shelf = Shelf(*runs)
    for version, run in enumerate(runs, start=1):
        load_in_charge(shelf, tmp_path, deployed(run, version))
        load_in_charge(shelf, tmp_path, deployed(runs[0]))  # the champion is used all the time
        for age, path in enumerate(sorted(files(tmp_path), key=lambda path: path.stat().st_mtime_ns)):
            os.utime(path, ns=(age + version * 100, age + version * 100))  # a clock that no test has to wait for
    assert len(files(tmp_path)) == KEPT
    assert shelf.n_asked == len(runs), "the champion was swept out while it was in use"
    shelf.is_away = True
    load_in_charge(shelf, tmp_path, deployed(runs[0]))
    load_in_charge(shelf, tmp_path, deployed(runs[-1], len(runs)))
    with pytest.raises(RegistryAwayError):
        load_in_charge(shelf, tmp_path, deployed(runs[1], 2))


def test_what_a_killed_process_left_half_written_is_never_read_and_swept(shelf, run, tmp_path):
    load_in_charge(shelf, tmp_path, deployed(run))
    (path,) = files(tmp_path)
    beside = path.with_suffix(".new")
    beside.write_bytes(path.read_bytes()[:50])
    path.unlink()
    shelf.is_away = True
    with pytest.raises(RegistryAwayError):
        load_in_charge(shelf, tmp_path, deployed(run))
    shelf.is_away = False
    other = a_run(1)
    load_in_charge(Shelf(run, other), tmp_path, deployed(other, 2))
    assert beside not in files(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_real_registry_that_went_down_is_not_missed(registry, model_name, tmp_path):
    run = a_run(model_name=model_name)
    version = registry.register(run)
    named = Deployed(model_name, version.version, run.model_sha256, 1, AT, "h")
    cache = tmp_path / "artifacts" / "cache"
    loaded = load_in_charge(registry, cache, named)
    down = Registry("postgresql://nobody@127.0.0.1:1/mlflow", tmp_path)
    assert load_in_charge(down, cache, named, fed=Fed("fs1", {})) == loaded
