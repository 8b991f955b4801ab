"""The page on failures quotes what the code says: every message in its tables occurs in the sources."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
FOLDERS = ("pipeline", "assets", "resources", "sensors", "scripts")
ALSO = ROOT / "tests" / "test_table_changes.py"
"""A test whose message people meet who change a column."""
QUOTED = re.compile(r"`([^`]+)`")


def sources() -> str:
    """All code as one text in which messages that are split over lines are whole, and what varies is `...`."""
    files = [p for folder in FOLDERS for suffix in ("*.py", "*.sh") for p in (ROOT / folder).rglob(suffix)]
    code = "\n".join(p.read_text() for p in [*sorted(files), ALSO])
    joined = re.sub(r"\"\s*\n\s*f?\"", "", code)
    return re.sub(r"\{[^{}\n]*\}", "...", joined).replace("`", "")


def messages() -> list[str]:
    """What the first column of each table quotes, where the column is one of messages."""
    found, is_of_messages = [], False
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        is_of_messages = bool(cells) and (is_of_messages or cells[0] == "message")
        found += QUOTED.findall(cells[0]) if is_of_messages else []
    return found


def pieces(message: str) -> list[str]:
    """The constant parts of a message that say something."""
    return [piece.strip() for piece in message.split("...") if len(piece.strip()) > 1]


def test_every_message_on_the_page_is_one_that_the_code_says() -> None:
    code = sources()
    lost = [message for message in messages() if not all(piece in code for piece in pieces(message))]
    assert not lost


def test_the_page_quotes_at_least_thirty_messages() -> None:
    assert len(messages()) > 30
