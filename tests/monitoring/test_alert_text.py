"""Hostile names through every format of real receivers: what arrives does nothing, and still says what it says."""

import email
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.monitoring.alerts.message import composed
from pipeline.monitoring.alerts.outbox import Message
from pipeline.monitoring.alerts.post import format_of, receiver_of, rendered, send
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.text import inert
from tests.monitoring.alert_bench import Bench, Web, event, free_port, mailbox

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "<!channel> <!here> <@U123|you> <https://evil.example|free>",
    "@everyone @here <@&1> https://evil.example/claim www.evil.example evil\u3002example evil\uff61example",
    "[claim](https://evil.example) ![x](https://evil.example/x.png) [a]: https://evil.example",
    "*bold* _it_ ~gone~ `code` ```block``` # head > quote ||hidden||",
    "\x1b[2J\x1b]0;title\x07 \u202egnp.exe \u200bzero\u2060width \x00\r\nBcc: all@evil.example",
    "{{template}} {app_title} ${HOME} $(id) :smile: \\n \\u003cb\\u003e &lt;b&gt; &#60;b&#62;",
    "\uff1cscript\uff1e \ufe64b\ufe65 \uff20everyone \u115f\u3164\u2800",
)
ACTIVE = re.compile(
    r"<[a-zA-Z/!@#]|https?://|www\.|(?<!\\)\]\(|@(everyone|here)|```|[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u200b]"
)
FORMS = ("text", "markdown", "html")


def test_hostile_names_arrive_as_harmless_text_in_every_format_of_a_webhook_and_a_mail(tmp_path: Path) -> None:
    web, letters = Web(free_port()), list[str]()
    with web.up(), mailbox(letters) as port:
        hooks = [f"json://127.0.0.1:{web.port}/{form}?format={form}" for form in FORMS]
        mail = f"mailto://u:p@127.0.0.1:{port}?to=a@b.example&from=d@e.example&mode=insecure"
        bench = Bench(
            tmp_path,
            to=" ".join([*hooks, mail, f"{mail}&format=html"]),
        )
        bench.happens(event(HOSTILE[0], details=HOSTILE, title=f"{HOSTILE[1]}: failed", body=HOSTILE[3]))
        assert all(told.n_sent == 1 for told in bench.delivers())
    by_form = {path.strip("/"): told for path, told in web.got}
    assert set(by_form) == set(FORMS)
    for form, told in by_form.items():
        shown = told["message"].replace("<br />", "") if form == "html" else told["message"]
        assert not ACTIVE.search(shown.replace("\n", " ")), form
        assert not ACTIVE.search(told["title"])
        assert "evil" in shown  # it is told, and not hidden
    assert len(letters) == 2
    kinds = [kind for letter in letters for kind in _read(letter)]
    assert sorted(kinds) == ["text/html", "text/plain", "text/plain"]


def _read(letter: str) -> list[str]:
    """The kinds of a mail's parts, after each was looked at."""
    parsed = email.message_from_string(letter)
    assert "Bcc" not in parsed
    assert not ACTIVE.search(str(parsed["Subject"]))
    parts = [part for part in parsed.walk() if not part.is_multipart()]
    for part in parts:
        body = part.get_payload(decode=True).decode()
        assert "evil" in body
        assert not ACTIVE.search(body.replace("<br />", "").replace("\r\n", " ").replace("\n", " "))
    return [part.get_content_type() for part in parts]


BOT = "tgram://123456789:AbcDEFghijklmnop_qrstuvwxyz0123456/12345"
SERVICES = {
    "slack": ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", "webhook_url"),
    "slack as text": ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general?format=text", "webhook_url"),
    "discord": ("discord://1234567890/abcdefghijklmnop", "notify_url"),
    "discord as markdown": ("discord://1234567890/abcdefghijklmnop?format=markdown", "notify_url"),
    "telegram": (BOT, "notify_url"),
    "telegram as markdown": (
        f"{BOT}?format=markdown",
        "notify_url",
    ),
}


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_chat_service_is_sent_holds_no_mention_no_link_and_no_markup_of_a_chain(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, attribute = SERVICES[name]
    web = Web(free_port())
    plugin = receiver_of(url)
    monkeypatch.setattr(type(plugin), attribute, f"http://127.0.0.1:{web.port}/")
    letter = {"title": "poolcast: a run failed", "lines": [inert(text) for text in HOSTILE], "mood": "failure"}
    with web.up():
        assert send(plugin, letter, 3_500) == ""
    (sent,) = [told for _path, told in web.got]
    said = " ".join(_texts({key: value for key, value in sent.items() if "url" not in key}))
    for allowed in ("<b>", "</b>", "<br />", "<br/>", "<i>", "</i>", "<h1>", "</h1>"):  # ours, around the title
        said = said.replace(allowed, "")
    said = re.sub(r"https://github\.com/caronc/apprise\S*", "", said)
    assert not ACTIVE.search(said.replace("\r\n", " ").replace("\n", " "))
    assert "evil" in said


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []


@given(st.text(max_size=400))
def test_no_text_whatever_keeps_a_character_that_starts_something(text: str) -> None:
    shown = inert(text)
    assert not set(shown) & set('<>&`"@|\\[]\x00\x1b\u202e\u200b\n\r')
    assert len(shown) <= 200
    assert inert(shown) == shown
    assert "://" not in shown


def test_a_letter_is_cut_to_the_room_of_its_channel_and_never_within_an_escape() -> None:
    letter = {"title": "t" * 300, "lines": ["<" * 500, "b" * 500], "mood": "info"}
    for form in FORMS:
        for room in (30, 100, 700, 3_500):
            title, body = rendered(letter, form, 0, room)  # type: ignore[arg-type]
            assert len(body) <= room
            assert len(title) <= 200
            assert not re.search(r"&[a-z]*$|(?<!\\)\\$", body)
    assert rendered(letter, "text", 50, 3_500)[0] == "t" * 50


def test_a_huge_alert_fits_every_channel() -> None:
    row = {"title": "x" * 150, "body": "y" * 1_000, "details": "\n".join(["z" * 200] * 100), "state": "told",
           "alert_id": "a", "severity": "info"}  # fmt: skip
    letter = asdict(composed(Message("r", "alert", ((row,),), "info"), AlertsSpec()))
    for url in ("discord://1234567890/abcdefghijklmnop", BOT):
        plugin = receiver_of(url)
        _title, body = rendered(letter, format_of(plugin), plugin.title_maxlen, min(3_500, plugin.body_maxlen))
        assert len(body) <= plugin.body_maxlen
    assert json.dumps(letter)
