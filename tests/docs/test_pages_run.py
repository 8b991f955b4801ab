"""What the pages tell to type is typed: Python blocks, and shell blocks that say `run`, page by page and in order."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from resources.settings import Settings
from tests.docs.shell_lines import whole_lines
from tests.docs.tiny_market import make

# Dagster's own, where it stores the verdict of a check.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning"),
]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ELSEWHERE = {"docs/qlib-backtest.md"}
"""Run by a test of its own, on bins that it makes."""
BLOCK = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
WHY_NOT = {
    "a-column": "a feature asks for its column in the tables, which the reader adds next",
    "a-model": "needs the bytes of a trained model; tests/models reads one so",
    "a-snapshot": "needs rows of a pool; tests/features/test_online.py feeds them so",
    "bins": "needs exported bins; tests/bins opens some with QLib",
    "pairs": "needs the pairs of a trial; tests/promotion judges some so",
}
"""Why a Python block is marked `no-run=REASON`."""


class Block(NamedTuple):
    """One block of a page: its language, the words after it, and its lines without the indent of a list."""

    language: str
    words: tuple[str, ...]
    text: str


def blocks(page: Path) -> list[Block]:
    found = BLOCK.findall(page.read_text())
    return [
        Block(language, tuple(words.split()), re.sub(rf"^{indent}", "", text, flags=re.MULTILINE))
        for indent, language, words, text in found
    ]


def is_run(block: Block) -> bool:
    """Shell blocks are run where they say so; Python blocks unless they say why not."""
    if block.language == "python":
        return not any(word.startswith("no-run") for word in block.words)
    return block.language == "sh" and "run" in block.words


RUN = [page for page in PAGES if str(page.relative_to(ROOT)) not in ELSEWHERE and any(map(is_run, blocks(page)))]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POOLCAST_DATA_DIR", str(folder))
        patch.delenv("POOLCAST_LAKE_URL", raising=False)
        make(Settings.from_environment())
    return folder


@pytest.mark.parametrize("page", RUN, ids=[str(page.relative_to(ROOT)) for page in RUN])
def test_what_the_page_tells_to_type_works(
    page: Path, market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLCAST_DATA_DIR", str(market))
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": str(page.relative_to(ROOT))}
    for block in filter(is_run, blocks(page)):
        if block.language == "python":
            exec(compile(block.text, str(page), "exec"), namespace)  # noqa: S102  the page's own words
            continue
        for command in commands(block.text):
            done = CliRunner().invoke(app, command[1:])
            assert done.exit_code == 0, f"{shlex.join(command)}\n{done.output}\n{done.exception!r}"


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a shell block as words; a `poolcast` of ours, nothing that a shell would have to read."""
    for line in whole_lines(text):
        words = shlex.split(line, comments=True)
        if words:
            assert words[0] in ("poolcast", ".venv/bin/poolcast"), f"{line!r} is not ours: mark it without run"
            assert not {"|", ">", "&&", ";"} & set(words), f"{line!r} needs a shell: mark it without run"
            yield words


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_a_python_block_that_is_not_run_says_a_reason_that_is_known(page: Path) -> None:
    reasons = [word for block in blocks(page) for word in block.words if word.startswith("no-run")]
    assert {reason.partition("=")[2] for reason in reasons} <= set(WHY_NOT)


def test_the_tutorial_and_the_how_tos_are_run() -> None:
    assert {"docs/tutorial.md", "docs/how-to/roll-back.md"} <= {str(page.relative_to(ROOT)) for page in RUN}
