"""The pages say what the code says: tables, commands, settings, links, and every command that a page tells to type."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from pipeline.cli import app
from tests.docs.shell_lines import whole_lines

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ANY = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^ *```(?:sh|bash|console|text)\b[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:\.venv/bin/)?poolcast [^`\n]+)`")
INNER = {"POOLCAST_DAGSTER_URL", "POOLCAST_RUN_LOGS"}
"""What processes of ours tell one another; nobody sets them."""


def test_the_pages_of_reference_are_what_the_code_says() -> None:
    command = [sys.executable, "scripts/reference.py", "--check"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


def test_every_setting_that_is_read_is_on_its_page_and_no_other() -> None:
    code = [p for folder in ("resources", "pipeline", "assets", "sensors") for p in (ROOT / folder).rglob("*.py")]
    read = {
        name for p in [*code, ROOT / "dagster.yaml"] for name in re.findall(r"POOLCAST_[A-Z_]*[A-Z]\b", p.read_text())
    }
    told = set(re.findall(r"^\| `(POOLCAST_[A-Z_]+)`", (ROOT / "docs/reference/settings.md").read_text(), re.MULTILINE))
    assert told == read - INNER


@ANY
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for target in LINK.findall(page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        led = (page.parent / path) if path else page
        if not led.exists() or (anchor and led.suffix == ".md" and anchor not in anchors(led)):
            lost.append(target)
    assert not lost


def test_every_page_can_be_reached_from_the_contents() -> None:
    contents = ROOT / "docs" / "README.md"
    paths = (link.partition("#")[0] for link in LINK.findall(contents.read_text()))
    led = {(contents.parent / path).resolve() for path in paths if path}
    pages = {page for page in PAGES if page.parent != ROOT} - {contents}
    assert contents.parent not in led
    assert [page for page in pages if not {page, page.parent} & led] == []


@ANY
def test_every_piece_of_code_that_is_named_is_there(page: Path) -> None:
    named = re.findall(r"\b(?:assets|benchmarks|deploy|pipeline|resources|sensors|tests)/[\w./*-]*\w", page.read_text())
    assert [path for path in named if not any(ROOT.glob(path))] == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made of their words."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@ANY
def test_every_command_that_is_told_exists_with_its_options(page: Path) -> None:
    wrong = [f"{line!r}: {why}" for line in told_commands(page.read_text()) if (why := fault(line))]
    assert not wrong


def told_commands(text: str) -> Iterator[str]:
    """Each line of a shell block, and each piece of code in a sentence, that begins with `poolcast`."""
    for block in BLOCK.findall(text):
        for line in whole_lines(block):
            told = re.sub(r"^\$ ", "", line.strip())
            told = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", told)
            if re.match(r"(?:\.venv/bin/)?poolcast ", told):
                yield told
    yield from INLINE.findall(text)


def fault(line: str) -> str | None:
    """What is wrong with a command, as far as its name and its options go; None: nothing."""
    words = shlex.split(line.partition(" #")[0].replace("[", " ").replace("]", " ").replace("...", " "), comments=False)
    command: Any = typer.main.get_command(app)
    for i, word in enumerate(words[1:], 1):
        if not hasattr(command, "commands"):
            return _unknown_option(command, words[i:])
        choices = [choice for choice in word.split("|") if choice]
        if word.startswith("-"):
            return None
        lost = [choice for choice in choices if choice not in command.commands]
        if lost:
            return f"no command {lost[0]!r}"
        command = command.commands[choices[0]]
    return None


def _unknown_option(command: Any, words: list[str]) -> str | None:
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"-h", "--help"}
    for word in words:
        if word in ("|", ">", ">>", "&&", "||", ";", "<"):
            return None
        for name in re.findall(r"(?<![\w-])--[a-z][a-z-]*", word):
            if name not in known:
                return f"no option {name!r}"
    return None


@pytest.mark.parametrize("name", ["commands.md", "tables.md"])
def test_a_long_page_of_reference_leads_to_each_of_its_parts(name: str) -> None:
    page = ROOT / "docs/reference" / name
    text = page.read_text()
    led = {target for target in LINK.findall(text) if target.startswith("#")}
    parts = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    assert len(led) == len(parts) > 40
    assert led == {f"#{anchor}" for anchor in anchors(page) - {page.stem}}
