import re
from pathlib import Path

import pytest

from resources.variables import INNER, KNOWN, misspelt

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "settings.md"


def test_what_is_known_is_what_is_read_and_what_its_page_tells() -> None:
    assert set(KNOWN) == set(re.findall(r"^\| `(POOLCAST_[A-Z_]+)`", PAGE.read_text(), re.MULTILINE))
    read = (ROOT / "resources" / "settings.py").read_text()
    lost = [name for name in (*KNOWN, *INNER) if f'"{name}"' not in read]
    assert lost == []


def test_nothing_that_our_own_files_set_is_strange(monkeypatch: pytest.MonkeyPatch) -> None:
    misspelling = (Path(__file__), ROOT / "tests" / "cli" / "test_endings.py")
    written = [path for place in ("scripts", "deploy", "tests") for path in (ROOT / place).rglob("*")]
    told = {".py", ".sh", ".yaml", ""}
    ours = [p for p in (ROOT / "Makefile", *written) if p.suffix in told and p.is_file() and p not in misspelling]
    named = {name for path in ours for name in re.findall(r"\b(POOLCAST_[A-Z_]*[A-Z])[=\"]", path.read_text())}
    for name in named:
        monkeypatch.setenv(name, "set")
    assert len(named) > 10
    assert misspelt() == []


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("POOLCAST_POSTGRE_URL", "POOLCAST_POSTGRES_URL"), ("POOLCAST_DATADIR", "POOLCAST_DATA_DIR")],
)
def test_the_nearest_name_is_offered(name: str, nearest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "set")
    assert misspelt() == [f"{name!r} is set and is no setting of poolcast: did you mean {nearest}?"]
