"""How a line is written in each of the three formats that channels speak, so that it shows what it says.

Belongs here: escapes. Stays out: what is said (`message`), and what of a chain's text may be said at all
(`pipeline.text`). Standard library only: the sending process imports it.

Two walls, because no format is interpreted the same everywhere. What is kept has no character left that starts markup,
a mention or a link in any channel; and what is sent is escaped for its format all the same.
"""

import html
import re
from typing import Final, Literal

type Format = Literal["text", "markdown", "html"]

_MARKDOWN: Final = re.compile(r"([\\`*_\[\]#|~>&<]|^[-+=]|^\d+(?=[.)]))")
"""What Markdown reads as more than itself, and what it does only at the start of a line."""


def escaped(text: str, form: Format) -> str:
    r"""A line in the format of a channel, so that it shows what it says and does nothing.

    >>> escaped("*a* <b>", "markdown"), escaped("<b> & c", "html"), escaped("<b>", "text")
    ('\\*a\\* \\<b\\>', '&lt;b&gt; &amp; c', '<b>')
    """
    if form == "html":
        return html.escape(text)
    return _MARKDOWN.sub(_escape, text) if form == "markdown" else text


def _escape(found: re.Match[str]) -> str:
    """A backslash before it; before a number that begins a line it would show, so there it goes behind."""
    return f"{found.group()}\\" if found.group().isdigit() else f"\\{found.group()}"
