"""Great Expectations' pages in a real browser: they show the suites, and nothing that was planted runs."""

from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import UsageError
from pipeline.expectations.pages import build_pages, without_text
from pipeline.tables import QUARANTINE, TOKENS, Table
from tests.builders import valid_frame
from tests.chromium import chromium

PLANTED = ("<img src=x onerror=window.pwned=1>", "</script><script>window.pwned=1</script>")


def hostile(table: Table) -> pl.DataFrame:
    """Rows whose every text is hostile, a closed list's too: so its expectation fails and would show a value."""
    frame = valid_frame(table, n_rows=8)
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    odd = pl.int_range(pl.len()) % 2
    return frame.with_columns(
        pl.when(odd == 0).then(pl.lit(PLANTED[0])).otherwise(pl.lit(PLANTED[1])).alias(name) for name in texts
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pages([TOKENS, QUARANTINE], hostile, tmp_path_factory.mktemp("site"))


def test_no_planted_text_stands_on_any_page_and_every_page_forbids_scripts(site: Path) -> None:
    pages = sorted(site.parent.rglob("*.html"))
    assert len(pages) == 1 + 2 * 2 * 2
    for page in pages:
        text = page.read_text()
        assert "pwned" not in text
        assert text.index("Content-Security-Policy") < text.index("<title")


def test_in_a_browser_the_suites_show_nothing_runs_and_nothing_is_asked_of_the_network(site: Path) -> None:
    asked: list[str] = []
    with chromium() as browser:
        tab = browser.new_page()
        tab.on("response", lambda response: asked.append(response.url))
        for page in sorted(site.parent.rglob("*.html")):
            tab.goto(page.as_uri())
            assert tab.evaluate("window.pwned") is None
        tab.goto(site.as_uri())
        assert "expectations broken" in tab.inner_text("body")
        tab.get_by_role("link", name="validations of its rows").first.click()
        assert "decimals" in tab.inner_text("body")
    assert {url.split(":")[0] for url in asked} == {"file"}


def test_texts_are_kept_only_where_the_list_is_closed() -> None:
    shown = without_text(QUARANTINE, hostile(QUARANTINE))
    assert set(shown["reason"]) == set(shown["record"]) == {"text"}
    assert shown["event_time"].dtype == pl.Datetime("us", "UTC")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="not empty"):
        build_pages([], hostile, tmp_path)
