"""The glossary explains the words that the pages use, each once, and none that nobody uses."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "glossary.md"
OTHERS = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page != PAGE)]


def lines() -> list[str]:
    return [line for line in PAGE.read_text().splitlines() if line.startswith("| **")]


def words() -> list[str]:
    return [word.strip("`") for line in lines() for word in re.findall(r"\*\*([^*]+)\*\*", line)]


def test_each_word_is_explained_once_and_in_one_line() -> None:
    assert len(set(words())) == len(words()) > 50
    assert max(map(len, lines())) < 240


def test_every_word_is_used_on_some_other_page() -> None:
    told = "\n".join(page.read_text() for page in OTHERS).lower()
    assert [word for word in words() if not re.search(rf"\b{re.escape(word)}", told)] == []


def test_the_words_that_a_newcomer_asked_for_are_there() -> None:
    asked = {"champion", "challenger", "shadow", "trial", "reign", "purge", "censored", "as-of", "snapshot", "horizon"}
    assert asked | {"grid point", "verdict", "wealth", "harm", "former", "evidence", "canary"} <= set(words())
