"""Text that may quote a chain: made harmless before it is kept, and escaped for the channel it is sent through.

Belongs here: what of a text may be kept, and how a line is written in each of the three formats that channels speak.
Stays out: what is said (`message`). Standard library only: the sending process imports it.

Two walls, because no format is interpreted the same everywhere. What is kept has no character left that starts markup,
a mention or a link in any channel; and what is sent is escaped for its format all the same.
"""

import html
import re
import unicodedata
from typing import Final, Literal

type Format = Literal["text", "markdown", "html"]

_INERT: Final = str.maketrans({
    "<": "(", ">": ")", "&": "+", "`": "'", '"': "'", "@": "(at)", "|": "/", "\\": "/", "[": "(", "]": ")",
})  # fmt: skip
"""Tags, entities, code, mentions (@everyone, <!channel>), Slack's and Markdown's links, escapes."""
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters by their class that show nothing."""
_LINK: Final = re.compile(r"(?<=\w)[.\u3002](?=[^\W\d_])|(?<=\w):(?=//)")
"""The dot of a domain, also the ideographic one, and the colon of an address: mail and chat programs make links."""
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]#|~>&<]|^[-+=]|^\d+(?=[.)]))")
"""What Markdown reads as more than itself, and what it does only at the start of a line."""


def clean(text: str, longest: int = 200) -> str:
    """One line that may be shown: normalised (NFKC), nothing invisible, no markup, mention or link, of bounded length.

    >>> clean("<b>free" + chr(0x202E) + "</b> @everyone" + chr(7))
    '(b)free(/b) (at)everyone'
    >>> clean("[claim](https://evil.example/x) 0.5")
    '(claim)(https(:)//evil(.)example/x) 0.5'
    """
    # Cut before and after: normalising may lengthen a text eighteen-fold, and a hostile one may be huge.
    plain = unicodedata.normalize("NFKC", text[: 4 * longest])
    spaced = "".join(" " if c.isspace() or unicodedata.category(c)[0] == "Z" else c for c in plain)
    seen = "".join(c for c in spaced if c.isprintable() and c not in _BLANK)
    inert = _LINK.sub(lambda found: f"({found.group()})", seen.translate(_INERT))
    return " ".join(inert.split())[:longest]


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
