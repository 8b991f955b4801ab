"""The page on drift in a real browser: it shows what was found, loads nothing, and runs nothing that was planted."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.errors import InputError, UsageError
from pipeline.monitoring.drift.evidently_report import HEADING, drift_page

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PLANTED = (
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror='window.pwned=2'>",
    "javascript:window.pwned=3",
)
NAMES = ("reserve_usd", "turnover_1h", "has_volume_spike", "rsi_5m")


def rows(times: float, n: int = 120) -> pl.DataFrame:
    """Features beside texts from a chain, every one of which is hostile."""
    rng = np.random.default_rng(1)
    hostile = [PLANTED[number % len(PLANTED)] for number in range(n)]
    return pl.DataFrame(
        {
            "network": "eth", "pool": hostile, "token_name": hostile, PLANTED[0]: hostile,
            "reserve_usd": rng.lognormal(size=n) * times, "turnover_1h": rng.lognormal(size=n),
            "has_volume_spike": rng.random(n) < 0.3, "rsi_5m": pl.Series([None] * n, dtype=pl.Float64),
        }
    )  # fmt: skip


def found(*names: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "kind": ["feature"] * len(names), "subject": list(names), "js": [0.31, *[0.01] * (len(names) - 1)],
            "is_drifted": [True, *[False] * (len(names) - 1)],
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "drift.html"
    words = f"drift with harm: reserve_usd js 0.31 (q 0.002); {PLANTED[1]} {PLANTED[0]}"
    path.write_text(drift_page(rows(1), rows(4), found(*NAMES), words))
    return path


@pytest.fixture
def shown(page: Path) -> Iterator[tuple[object, list[str], list[str]]]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {str(CHROMIUM)!r}: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        tab = browser.new_page()
        asked: list[str] = []
        broken: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: broken.append(str(error)))
        tab.goto(page.as_uri())
        tab.wait_for_selector("text=Data Drift Summary", timeout=60_000)
        yield tab, asked, broken
        browser.close()


def test_the_page_shows_what_was_found_runs_nothing_and_loads_nothing(shown, page: Path) -> None:
    tab, asked, broken = shown
    text = tab.inner_text("body")
    assert HEADING in text
    assert "reserve_usd" in text
    assert "Dataset Drift is detected" in text
    assert "judged by poolcast" in text
    assert "drift with harm: reserve_usd js 0.31 (q 0.002); <img src=x" in text, "the verdict is text to the last sign"
    assert tab.evaluate("window.pwned") is None
    assert tab.query_selector("img[src='x']") is None
    assert asked == [page.as_uri()]
    assert broken == []


def test_texts_from_a_chain_never_reach_the_page(page: Path) -> None:
    html = page.read_text()
    ours, theirs = html.partition("</section>")[::2]
    assert "pwned" not in theirs
    assert "token_name" not in html
    assert "<script>window" not in ours


def test_a_browser_does_run_what_is_planted_where_nobody_escapes_it(tmp_path: Path) -> None:
    """Or the test above would prove nothing."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {str(CHROMIUM)!r}: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    path = tmp_path / "planted.html"
    path.write_text(f"<html><body><script>var a = 'x{PLANTED[0]}'</script></body></html>")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        tab = browser.new_page()
        tab.goto(path.as_uri())
        assert tab.evaluate("window.pwned") == 1
        browser.close()


def test_a_hostile_name_and_a_text_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be shown"):
        drift_page(rows(1), rows(4), found("reserve_usd", PLANTED[0]), "words")
    with pytest.raises(InputError, match="neither numbers nor truth values"):
        drift_page(rows(1), rows(4), found("reserve_usd", "token_name"), "words")
    with pytest.raises(InputError, match="no feature"):
        drift_page(rows(1), rows(4), found("reserve_usd").head(0), "words")
