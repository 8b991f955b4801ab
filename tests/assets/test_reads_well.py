"""Everything that Dagster shows says what it is, in words: assets, checks, jobs, schedules, sensors, runs."""

import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.policy import TABLE_OF
from pipeline.definitions import defs
from pipeline.tables import TABLES

ROOT = Path(__file__).parents[2]
JARGON = ("upsert", "idempoten", "etl", "dag ", "dataframe", "df ", "util", "todo", "foo", "misc", "payload", "backend")
SPECS = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
WITH_TABLE = sorted(name for name in SPECS if TABLE_OF.get(name, name) in TABLES)


def words() -> Iterator[tuple[str, str]]:
    """Each thing that is shown, with its description."""
    repository = defs.get_repository_def()
    for name, spec in SPECS.items():
        yield f"asset {name}", spec.description or ""
    graph = defs.resolve_asset_graph()
    for key in graph.asset_check_keys:
        yield f"check {key.name} of {key.asset_key.to_user_string()}", graph.get(key).description or ""
    for job in repository.get_all_jobs():
        if not job.name.startswith("__"):
            yield f"job {job.name}", job.description or ""
    for schedule in defs.schedules or ():
        yield f"schedule {schedule.name}", schedule.description or ""
    for sensor in defs.sensors or ():
        yield f"sensor {sensor.name}", sensor.description or ""


WORDS = dict(words())


@pytest.mark.parametrize("what", sorted(WORDS))
def test_it_is_described_in_whole_sentences_without_jargon(what: str) -> None:
    told = WORDS[what]
    first = told.splitlines()[0] if told else ""
    assert 30 < len(first) < 400, told
    assert first[0].isupper() or first[0] == "`"
    assert told.rstrip()[-1] in ".", told
    spoken = re.sub(r"`[^`]*`", "", told).lower()
    assert not [word for word in JARGON if re.search(rf"\b{word}", spoken)], told


def test_each_thing_says_something_of_its_own() -> None:
    assets = {what: told for what, told in WORDS.items() if what.startswith(("asset", "job", "schedule", "sensor"))}
    assert len(set(assets.values())) == len(assets)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_an_asset_leads_to_the_line_of_code_that_makes_it(name: str) -> None:
    (reference,) = SPECS[name].metadata["dagster/code_references"].code_references
    file = Path(reference.file_path)
    assert file.parent == ROOT / "assets"
    line = file.read_text().splitlines()[reference.line_number - 1]
    assert line.lstrip().startswith(("@", "def "))


@pytest.mark.parametrize("name", WITH_TABLE)
def test_an_asset_says_where_its_table_lies_and_what_each_column_may_hold(name: str) -> None:
    target = TABLES[TABLE_OF.get(name, name)]
    metadata = SPECS[name].metadata
    assert metadata["dagster/table_name"] == target.name
    assert str(metadata["dagster/uri"]).endswith(f"/{target.name}")
    shown = {column.name: column for column in metadata["dagster/column_schema"].columns}
    for column in target.columns:
        other = shown[column.name].constraints.other
        assert bool(other) == (column.values is not None or (column.minimum, column.maximum) != (None, None))
        assert column.unit in str(shown[column.name].description)


def test_what_trains_waits_for_its_turn_and_what_collects_goes_first() -> None:
    pools = {
        key.to_user_string(): definition.op.pool
        for definition in defs.assets or ()
        if isinstance(definition, dg.AssetsDefinition)
        for key in definition.keys
    }
    assert {name for name, pool in pools.items() if pool == "training"} == {"outcome_model", "return_model"}
    assert {name for name, pool in pools.items() if pool == "api"} == {"answers"}
    place = {job.name: int((job.tags or {}).get("dagster/priority", 0)) for job in defs.jobs or ()}
    assert max(place, key=place.__getitem__) == "collect"
    assert place["train"] < 0 < place["serve"] < place["collect"]
