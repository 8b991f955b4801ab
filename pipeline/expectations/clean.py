"""Text from a chain, as it may be shown.

Belongs here: the one way a value is cleaned for a verdict, a quarantined record, a page. Stays out: who shows it.
"""

import unicodedata
from typing import Final

LONGEST_EXAMPLE: Final = 64


def clean(text: str) -> str:
    """The text as it may be shown: normalised (NFKC), without invisible characters or markup, at most 64 characters.

    >>> clean("<b>free" + chr(0x202E) + "</b>" + chr(7))
    '(b)free(/b)'
    """
    # Cut before and after: normalising may lengthen a text eighteen-fold, and a hostile one may be huge.
    plain = unicodedata.normalize("NFKC", text[: 4 * LONGEST_EXAMPLE])
    spaced = "".join(" " if unicodedata.category(c)[0] == "Z" else c for c in plain)
    visible = "".join(c for c in spaced if c.isprintable())
    return visible.translate(_UNMARKED)[:LONGEST_EXAMPLE]


_UNMARKED: Final = str.maketrans({"<": "(", ">": ")", "&": "+", "`": "'", '"': "'"})
