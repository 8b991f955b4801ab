"""The process that speaks to one receiver: `python -m pipeline.monitoring.alerts.post`, one line in, one line out.

Belongs here: apprise, and a letter in the format of its channel. Stays out: whom to tell what.

A process of its own, because a receiver may hang, drip or crash, and a process can be ended. It is given the address
through its input, where no list of processes shows it, and each letter only after the last was answered: when whoever
asks dies, it stops. It says nothing but whether a letter arrived: the words of a service may repeat the address.
"""

import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipeline.monitoring.alerts.text import Format, escaped

_BREAK: Final[Mapping[str, str]] = {"text": "\n", "markdown": "\n\n", "html": "<br />\n"}
_STATUS: Final = re.compile(r"error=(\d{3})\b")
_SHORTEST: Final = 200


class _Ears(logging.Handler):
    """Listens to what apprise logs, and remembers the status of an answer: a number can be no secret."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.status = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the last status."""
        found = _STATUS.search(record.getMessage())
        self.status = found[1] if found else self.status


def receiver_of(url: str) -> Any:
    """The plugin of an address, or None where apprise knows none: its text is data, whatever it holds."""
    import apprise  # noqa: PLC0415 - half a second, paid by this process alone

    asset = apprise.AppriseAsset(
        app_id="poolcast",
        app_desc="poolcast",
        app_url="",
        async_mode=False,
        interpret_escapes=False,
        interpret_emojis=False,
        allow_templates=False,
        secure_logging=True,
        plugin_paths=[],
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        # What a redirect leads to was not named by the user, and turns a letter into a question.
        http_redirects=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its plugins load modules that Python will drop
        return apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)


def send(plugin: Any, letter: Mapping[str, Any], longest: int) -> str:
    """Hand one letter to the plugin; empty where it arrived, else why not."""
    import apprise  # noqa: PLC0415 - as above

    form = format_of(plugin)
    title, body = rendered(letter, form, plugin.title_maxlen, min(longest, plugin.body_maxlen or longest))
    ears = _Ears()
    logger = logging.getLogger("apprise")
    logger.addHandler(ears)
    try:
        post = apprise.Apprise(asset=plugin.asset)
        post.add(plugin)
        has_arrived = post.notify(
            body=body, title=title, notify_type=letter["mood"], body_format=form, interpret_escapes=False
        )
    finally:
        logger.removeHandler(ears)
    if has_arrived:
        return ""
    return f"the receiver answered {ears.status}" if ears.status else "it could not be reached, or refused"


def format_of(plugin: Any) -> Format:
    """The format to speak: what the address asks for, else plain text where the plugin takes it, else its own."""
    import apprise  # noqa: PLC0415 - as above

    return plugin.resolve_format(apprise.NotifyFormat.TEXT).value  # type: ignore[no-any-return]


def rendered(letter: Mapping[str, Any], form: Format, title_room: int, room: int) -> tuple[str, str]:
    """Title and body, every line escaped for the format, as many lines as there is room for.

    Without room for a title, the title becomes a part of the body, and is escaped like it.
    """
    title = letter["title"][: title_room or _SHORTEST]
    head = escaped(title, form) if title_room <= 0 else title
    left = room - (len(head) + 20 if title_room <= 0 else 0)
    return head, _BREAK[form].join(_shortened(letter["lines"], form, left))


def _shortened(lines: list[str], form: Format, room: int) -> Iterator[str]:
    """The lines, escaped, until the room is used up; a line is cut before it is escaped, never within an escape."""
    for line in lines:
        shown = escaped(line, form)
        while len(shown) > room and line:
            line = line[: len(line) * 2 // 3]  # noqa: PLW2901
            shown = escaped(f"{line}...", form) if line else ""
        if not shown:
            return
        yield shown
        room -= len(shown) + len(_BREAK[form])


def main() -> None:
    """Read the address, then letters; answer each with a line of JSON."""
    told = json.loads(sys.stdin.readline())
    logging.getLogger("apprise").propagate = False
    answers, sys.stdout = sys.stdout, sys.stderr  # a plugin that prints does not answer for us
    plugin = receiver_of(told["url"])
    for line in sys.stdin:
        why = (
            "apprise does not know this kind of address"
            if plugin is None
            else send(plugin, json.loads(line), told["longest"])
        )
        answers.write(json.dumps({"why": why}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
