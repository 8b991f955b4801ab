r"""Text from a chain is hostile: how it may be shown, wherever it is shown.

Belongs here: what of a text a page, a message, a terminal or a spreadsheet gets to see. Stays out: names as the tables
keep them (`pools/text.py`, the same rule over columns), and the escapes of one format, which come on top
(`monitoring/alerts/text.py`). Standard library only: the process that sends alerts imports it.

| shown on | by | what is done |
|---|---|---|
| Dagster's tables | `seen` | nothing invisible, one line, cut; Dagster escapes markup itself |
| verdicts, quarantine, pages of expectations | `clean` | and nothing that begins markup or becomes a link |
| alerts | `inert` | and no mention, link or code in any channel |
| terminals | `spelled` | as it is, what is not printable in words |
| CSV | `uncalculated` | and no formula |
"""

import re
import unicodedata
from typing import Final

LONGEST: Final = 64

_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters by their class that show nothing."""
_UNMARKED: Final = str.maketrans({"<": "(", ">": ")", "&": "+", "`": "'", '"': "'", "[": "(", "]": ")"})
"""Tags, entities, code, Markdown's links and pictures: Dagster reads the words of a check as Markdown."""
_INERT: Final = str.maketrans({
    "<": "(", ">": ")", "&": "+", "`": "'", '"': "'", "@": "(at)", "|": "/", "\\": "/", "[": "(", "]": ")",
})  # fmt: skip
"""Tags, entities, code, mentions (@everyone, <!channel>), Slack's and Markdown's links, escapes."""
_LINK: Final = re.compile(r"(?<=\w)[.\u3002](?=[^\W\d_])|(?<=\w):(?=//)")
"""The dot of a domain, also the ideographic one, and the colon of an address: mail, chats and Dagster make links."""
_FORMULA: Final = re.compile(r"\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""What makes a spreadsheet calculate, full-width forms too."""


def seen(text: str, longest: int = LONGEST) -> str:
    """One line of what can be seen: normalised (NFKC), nothing invisible, every space a plain one, cut.

    >>> seen("<b>free" + chr(0x202E) + "</b>" + chr(7) + chr(0xD800) + chr(10) + "x")
    '<b>free</b> x'
    """
    # Cut before and after: normalising may lengthen a text eighteen-fold, and a hostile one may be huge.
    plain = unicodedata.normalize("NFKC", text[: 4 * longest])
    spaced = "".join(" " if c.isspace() or unicodedata.category(c)[0] == "Z" else c for c in plain)
    return "".join(c for c in spaced if c.isprintable() and c not in _BLANK)[:longest]


def clean(text: str, longest: int = LONGEST) -> str:
    """What can be seen, without the letters that begin markup, and with nothing that a page makes a link of by itself.

    >>> clean("<b>free" + chr(0x202E) + "</b>" + chr(7)), clean("0.5 at https://evil.example")
    ('(b)free(/b)', '0.5 at https(:)//evil(.)example')
    """
    return _unlinked(seen(text, longest).translate(_UNMARKED))[:longest]


def inert(text: str, longest: int = 200) -> str:
    """What can be seen, with no markup, mention or link left in it, and no double spaces.

    >>> inert("<b>free" + chr(0x202E) + "</b> @everyone" + chr(7))
    '(b)free(/b) (at)everyone'
    >>> inert("[claim](https://evil.example/x) 0.5")
    '(claim)(https(:)//evil(.)example/x) 0.5'
    """
    marked = seen(text, 4 * longest).translate(_INERT)
    return " ".join(_unlinked(marked).split())[:longest]


def _unlinked(text: str) -> str:
    return _LINK.sub(lambda found: f"({found.group()})", text)


def spelled(text: str) -> str:
    r"""The whole text with what is not printable in words: no terminal interprets it, no line begins in it.

    >>> spelled("[red]a\x1b[2Jb\n")
    '[red]a\\x1b[2Jb\\n'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def uncalculated(text: str) -> str:
    r"""A text that a spreadsheet would take for a formula with an apostrophe before it; what is not printable in words.

    Tabs and line ends stay: they are text in CSV.

    >>> [uncalculated(text) for text in ("=1+1", " @SUM(A1)", "a=b", "\x1b[2J\n")]
    ["'=1+1", "' @SUM(A1)", 'a=b', '\\x1b[2J\n']
    """
    words = re.split(r"([\t\n\r]+)", text)
    return ("'" if _FORMULA.match(text) else "") + "".join(
        word if place % 2 else spelled(word) for place, word in enumerate(words)
    )
