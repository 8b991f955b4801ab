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
    is_safe_name,
    read_identities,
    read_instruments,
    symbol_name,
)
from pipeline.errors import InputError

# Few letters and the marks of every form, so that near misses are met often; and anything at all.
NEAR = st.text("aAbB2x-_0:h", max_size=8)
ANY = st.text(max_size=150)
NAMES = st.tuples(NEAR | ANY, NEAR | ANY)
SYMBOLS = st.text("aAbBcsxyhz01.-_", max_size=9) | NEAR | st.text(max_size=250)


@given(st.lists(NAMES, min_size=2, max_size=40, unique=True))
def test_two_pools_never_share_a_name_however_a_reader_folds_case(pools: list[tuple[str, str]]) -> None:
    names = [instrument_name(network, pool) for network, pool in pools]
    assert len({name.lower() for name in names}) == len(pools)
    assert len({name.upper() for name in names}) == len(pools)


@given(NAMES)
def test_a_name_is_safe_for_files_and_readers(pool: tuple[str, str]) -> None:
    name = instrument_name(*pool)
    assert is_safe_name(name)
    assert "-" in name[1:]


@given(st.lists(NAMES, max_size=10, unique=True))
def test_the_map_beside_the_bins_gives_every_pool_back(pools: list[tuple[str, str]]) -> None:
    known = {instrument_name(*pool): pool for pool in pools}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / INSTRUMENTS_FILE).write_bytes(instruments_json(known))
        assert read_instruments(Path(folder)) == known


@given(st.lists(SYMBOLS, min_size=2, max_size=40, unique=True), st.lists(NAMES, max_size=20, unique=True))
def test_no_two_symbols_and_pools_share_a_name_however_a_reader_folds_case(
    symbols: list[str], pools: list[tuple[str, str]]
) -> None:
    names = [symbol_name(symbol) for symbol in symbols] + [instrument_name(*pool) for pool in pools]
    assert all(map(is_safe_name, names))
    for fold in (str.lower, str.upper, str.casefold):
        assert len(set(map(fold, names))) == len(symbols) + len(pools)


@given(SYMBOLS)
def test_a_symbol_named_like_another_name_has_a_name_of_its_own(symbol: str) -> None:
    names = {symbol_name(symbol), symbol_name(symbol_name(symbol)), instrument_name("eth", symbol)}
    assert len(names) + (symbol_name(symbol) == symbol) == 3
    assert symbol_name(instrument_name("eth", symbol)) not in names


@given(st.lists(SYMBOLS, max_size=10, unique=True))
def test_the_map_beside_the_bins_gives_every_symbol_back(symbols: list[str]) -> None:
    known = {symbol_name(symbol): (symbol,) for symbol in symbols}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / INSTRUMENTS_FILE).write_bytes(instruments_json(known))
        assert read_identities(Path(folder)) == known


@pytest.mark.parametrize("symbol", ["sh600000", "000001", "brk.b", "a", "1e5", "spx_500", "q" * LONGEST_NAME])
def test_a_plain_symbol_keeps_its_name(symbol: str) -> None:
    assert symbol_name(symbol) == symbol


UNSAFE = (
    "",
    ".",
    "..",
    "a.",
    ".a",
    "nan",
    "null",
    "con",
    "con.x",
    "lpt9",
    "_qlib_a",
    "A",
    "a b",
    "a/b",
    "a\n",
    "é",
    "-nan",
    "-inf",
    "--null",
)


@pytest.mark.parametrize("name", [*UNSAFE, "a" * (LONGEST_NAME + 1)])
def test_a_name_that_a_reader_takes_for_something_else_is_not_safe(name: str) -> None:
    assert not is_safe_name(name)


@given(st.text("ab0_", min_size=1, max_size=7))
def test_every_way_to_write_a_pool_in_capitals_has_its_own_name(pool: str) -> None:
    ways = {"".join(way) for way in itertools.product(*({letter, letter.upper()} for letter in pool))}
    assert len({instrument_name("eth", way) for way in ways}) == len(ways)


def test_pools_that_differ_only_far_behind_have_short_names_and_different_ones() -> None:
    names = {instrument_name("ton", "Ω" * 500 + end) for end in "ab"}
    assert len(names) == 2
    assert max(map(len, names)) <= LONGEST_NAME


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": []}', '{"a": [1]}'])
def test_a_broken_map_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / INSTRUMENTS_FILE).write_text(text)
    with pytest.raises(InputError, match="export the bins again"):
        read_instruments(tmp_path)


def test_symbols_are_no_pools(tmp_path: Path) -> None:
    (tmp_path / INSTRUMENTS_FILE).write_bytes(instruments_json({"a": ("a",)}))
    with pytest.raises(InputError, match="not pools"):
        read_instruments(tmp_path)
