"""The lines of a shell block as a shell reads them."""

from collections.abc import Iterator


def whole_lines(text: str) -> Iterator[str]:
    """Lines joined while a quotation is open or a backslash ends them.

    >>> list(whole_lines('a "b\\nc"\\nd\\\\\\ne'))
    ['a "b\\nc"', 'de']
    """
    held = ""
    for line in text.splitlines():
        held += line
        if held.endswith("\\"):
            held = held[:-1]
        elif held.count('"') % 2:
            held += "\n"
        else:
            yield held
            held = ""
    if held:
        yield held
