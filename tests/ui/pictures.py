"""Pictures for the docs, taken by the tests where PICTURES_INTO names a folder."""

import io
import os
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

MOST_BYTES = 250_000


def picture(page: Page, name: str) -> None:
    """Keep what the browser shows as `name`.png, small enough to be kept in git; nothing where none are wanted."""
    wanted = os.environ.get("PICTURES_INTO")
    if not wanted:
        return
    shown = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    for n_colours in (256, 128, 64, 32):
        kept = io.BytesIO()
        shown.quantize(n_colours, dither=Image.Dither.NONE).save(kept, "PNG", optimize=True)
        if kept.tell() < MOST_BYTES:
            break
    folder = Path(wanted)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.png").write_bytes(kept.getvalue())
