"""Text from outside as Markdown that it cannot break.

Belongs here: escaping, and tables of escaped cells. Stays out: what cards say (`card`, `model_card`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence


def cell(text: str) -> str:
    r"""Text that cannot break out of a table, nor be read as a tag, a link, a formula or an instruction to turn around.

    >>> cell("a|b\n<script>")
    'a\\|b \\<script\\>'
    """
    shown = "".join(ch for ch in " ".join(text.split()) if ch.isprintable())
    escaped = re.sub(r"([\\`|<>\[\]*$~])", r"\\\1", shown)
    # At the head of a line these would begin a heading or a list.
    escaped = re.sub(r"^(\d*)(#|[-+.)](?=\s))", r"\1\\\2", escaped)
    # Some readers make links of bare addresses.
    return re.sub(r"(?i)\bwww\.", r"www\\.", escaped.replace("://", r":\//").replace("@", r"\@"))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, every cell escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(text) if k == 1 else cell(str(text)) for text in line) + " |"
        for k, line in enumerate(lines)
    )


def pairs(title: str, told: Mapping[str, object]) -> str:
    """A table of two columns; nothing where there is nothing to tell."""
    return table([title, ""], told.items()) if told else ""
