"""When new labels ask for training: no request is lost, none is made twice."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.models.trigger import LABELS_PER_TRAINING, training_requests


@given(st.lists(st.integers(0, 3_000), max_size=20))
def test_every_thousand_labels_ask_once_whatever_the_steps_and_restarts(steps: list[int]) -> None:
    cursor, known, asked_at = None, 0, 0
    for step in steps:
        known += step
        requests, cursor = training_requests({"geckoterminal": known}, cursor)
        assert len(requests) == (known - asked_at >= LABELS_PER_TRAINING)
        again, cursor = training_requests({"geckoterminal": known}, cursor)
        assert again == []
        if requests:
            asked_at = known


def test_keys_differ_whenever_the_labels_differ() -> None:
    first, cursor = training_requests({"a": 1_000}, None)
    second, _ = training_requests({"a": 2_000}, cursor)
    assert {r.key for r in first}.isdisjoint(r.key for r in second)


def test_a_lost_cursor_asks_again_under_the_same_key_so_that_dagster_starts_no_second_run() -> None:
    first, _ = training_requests({"a": 1_500}, None)
    again, _ = training_requests({"a": 1_500}, None)
    assert [r.key for r in first] == [r.key for r in again]


def test_fewer_labels_than_before_count_anew() -> None:
    _, cursor = training_requests({"a": 5_000}, None)
    fewer, cursor = training_requests({"a": 100}, cursor)
    grown, _ = training_requests({"a": 1_100}, cursor)
    assert fewer == []
    assert [r.n_labels for r in grown] == [1_100]


def test_a_simulation_never_asks() -> None:
    assert training_requests({"simulation:7": 100_000}, None)[0] == []


def test_labels_that_fall_and_rise_again_to_the_same_number_ask_under_another_key() -> None:
    first, cursor = training_requests({"a": 1_200}, None)
    _, cursor = training_requests({"a": 100}, cursor)
    again, _ = training_requests({"a": 1_200}, cursor)
    assert {r.key for r in first}.isdisjoint(r.key for r in again)


def test_a_damaged_cursor_is_as_good_as_none() -> None:
    for damaged in ("{", "[]", '{"a": 3}', '{"a": ["x", 1]}'):
        assert training_requests({"a": 1_000}, damaged)[0] == training_requests({"a": 1_000}, None)[0]
