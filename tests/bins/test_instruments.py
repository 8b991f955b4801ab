import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bins.instruments import (
    INSTRUMENTS_FILE,
    LONGEST_NAME,
    instrument_name,
    instruments_json,
    read_instruments,
)
from pipeline.errors import InputError

# Few letters and the marks of every form, so that near misses are met often; and anything at all.
NEAR = st.text("aAbB2x-_0:h", max_size=8)
ANY = st.text(max_size=150)
NAMES = st.tuples(NEAR | ANY, NEAR | ANY)


@given(st.lists(NAMES, min_size=2, max_size=40, unique=True))
def test_two_pools_never_share_a_name_however_a_reader_folds_case(pools: list[tuple[str, str]]) -> None:
    names = [instrument_name(network, pool) for network, pool in pools]
    assert len({name.lower() for name in names}) == len(pools)
    assert len({name.upper() for name in names}) == len(pools)


@given(NAMES)
def test_a_name_is_safe_for_files_and_readers(pool: tuple[str, str]) -> None:
    name = instrument_name(*pool)
    assert len(name) <= LONGEST_NAME
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert "-" in name[1:]


@given(st.lists(NAMES, max_size=10, unique=True))
def test_the_map_beside_the_bins_gives_every_pool_back(pools: list[tuple[str, str]]) -> None:
    known = {instrument_name(*pool): pool for pool in pools}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / INSTRUMENTS_FILE).write_bytes(instruments_json(known))
        assert read_instruments(Path(folder)) == known


@given(st.text("ab0_", min_size=1, max_size=7))
def test_every_way_to_write_a_pool_in_capitals_has_its_own_name(pool: str) -> None:
    ways = {"".join(way) for way in itertools.product(*({letter, letter.upper()} for letter in pool))}
    assert len({instrument_name("eth", way) for way in ways}) == len(ways)


def test_pools_that_differ_only_far_behind_have_short_names_and_different_ones() -> None:
    names = {instrument_name("ton", "Ω" * 500 + end) for end in "ab"}
    assert len(names) == 2
    assert max(map(len, names)) <= LONGEST_NAME


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": ["b"]}'])
def test_a_broken_map_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / INSTRUMENTS_FILE).write_text(text)
    with pytest.raises(InputError, match="export the bins again"):
        read_instruments(tmp_path)
