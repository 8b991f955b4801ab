"""Debian's Chromium without a window, for every test that looks at a page as a person does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BINARY = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def chromium(*flags: str) -> Iterator["Browser"]:
    """A browser, with flags beside the usual ones; where there is none, the test is skipped."""
    if not BINARY.exists():
        pytest.skip(f"there is no browser at {str(BINARY)!r}: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=str(BINARY), args=[*FLAGS, *flags])
        yield running
        running.close()
