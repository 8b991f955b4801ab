"""Whatever is done to the lake, it holds what a dictionary would."""

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_tables import NOTES, READINGS, START, hours, notes

from pipeline.calendars import HOUR
from pipeline.lake import Lake

Key = tuple[str, str, datetime]

networks = st.sampled_from(["eth", "b's c"])
times = st.builds(
    lambda hour, odd: START + hour * HOUR + timedelta(microseconds=odd),
    st.integers(18, 30),
    st.sampled_from([0, 1, 3_599_999_999]),
)
values = st.tuples(st.integers(0, 5), st.none() | st.floats(0, 1))
batches = st.dictionaries(st.tuples(networks, st.sampled_from("xy"), times), values, max_size=8)
verbs = st.sampled_from(["append", "replace", "compact"])
steps = st.lists(st.tuples(verbs, batches, st.integers(18, 30), st.integers(0, 12)), min_size=1, max_size=6)


def frame(rows: dict[Key, tuple[int, float | None]]) -> pl.DataFrame:
    return pl.DataFrame([(*key, *value) for key, value in rows.items()], schema=READINGS.schema, orient="row")


@settings(max_examples=25, deadline=None)
@given(steps)
def test_any_sequence_of_appends_and_replacements_equals_the_same_on_a_dictionary(
    steps: list[tuple[str, dict[Key, tuple[int, float | None]], int, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake, model, history = Lake(Path(folder), sync=lambda path: None), {}, {}
        for verb, batch, first, n_hours in steps:
            span = hours(first, first + n_hours)
            if verb == "append":
                done = lake.append(READINGS, frame(batch))
                assert done.n_rows == len(batch.keys() - model.keys())
                model = batch | model
            elif verb == "replace":
                new = {key: value for key, value in batch.items() if span.start <= key[2] < span.end}
                done = lake.replace(READINGS, frame(new), span)
                model = {key: value for key, value in model.items() if not span.start <= key[2] < span.end} | new
            else:
                done = lake.compact(READINGS)
            if done.version is not None:
                history[done.version] = model
            inside = {key: value for key, value in model.items() if span.start <= key[2] < span.end}
            assert sorted(lake.scan(READINGS, span).collect().rows()) == sorted(frame(inside).rows())
        assert lake.version(READINGS) == max(history, default=None)
        for version, then in history.items():
            stored = lake.scan(READINGS, version=version).collect()
            assert stored.sort(READINGS.key).equals(frame(then).sort(READINGS.key))


texts = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b'", "c/%"]), st.sampled_from("12")), st.none() | st.sampled_from("xyz")
)


@settings(max_examples=15, deadline=None)
@given(st.lists(texts, min_size=1, max_size=5))
def test_any_sequence_of_upserts_equals_the_same_on_a_dictionary(
    batches: list[dict[tuple[str, str], str | None]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake, model = Lake(Path(folder), sync=lambda path: None), {}
        for batch in batches:
            before = lake.version(NOTES)
            done = lake.upsert(NOTES, notes(*((*key, text) for key, text in batch.items())))
            n_changed = sum(1 for key, text in batch.items() if key not in model or model[key] != text)
            assert done.n_rows == n_changed
            assert (done.version == before) == (n_changed == 0)
            model |= batch
            assert {(topic, name): text for topic, name, text in lake.scan(NOTES).collect().rows()} == model
            assert lake.scan(NOTES).collect().height == len(model)
