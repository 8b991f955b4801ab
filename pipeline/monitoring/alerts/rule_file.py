"""Reads the rule file, and says where it is wrong.

Belongs here: its shape in TOML, and errors that name file, place, key, what was found and what is allowed. Stays out:
what the rules mean (`rules`). `docs/alerts.md` has an example with every key.
"""

import fnmatch
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import time, timedelta
from pathlib import Path
from typing import Any, Final

from pipeline.calendars import DAY, HOUR, MINUTE
from pipeline.errors import InputError
from pipeline.monitoring.alerts.events import KINDS, SEVERITIES, Severity
from pipeline.monitoring.alerts.rules import DAYS, Escalation, Quiet, Rules, Treatment

_UNITS: Final = {"s": timedelta(seconds=1), "m": MINUTE, "h": HOUR, "d": DAY}
_RULE_KEYS: Final = ("severity", "to", "dedup", "mute")


def read_rules(path: Path | None) -> Rules:
    """The rules of a file; without one, those built in.

    Raises:
        InputError: there is no such file, it is no TOML, or it holds what it may not; the message says where.
    """
    if path is None:
        return Rules()
    try:
        return parse_rules(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"could not read the rule file {str(path)!r}: {error}; see POOLCAST_ALERT_RULES") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the rule file {str(path)!r} is no TOML: {error}") from error
    except RecursionError:
        raise InputError(f"the rule file {str(path)!r} is nested too deeply; a list of names is all it needs") from None


def parse_rules(told: Mapping[str, Any], source: str) -> Rules:
    """The rules that a parsed file holds.

    Raises:
        InputError: a key is unknown, or a value is not what it may be; the message names the place.
    """
    at = _Place(source)
    at.only(told, ("defaults", "limit_per_hour", "quiet", "escalation", "rule"))
    defaults = _treatment(at.below("[defaults]"), at.table(told, "defaults"), Treatment())
    rules = [_rule(at.below(f"[[rule]] no. {n}"), each, defaults) for n, each in enumerate(at.tables(told, "rule"), 1)]
    quiet = [_quiet(at.below(f"[[quiet]] no. {n}"), each) for n, each in enumerate(at.tables(told, "quiet"), 1)]
    return Rules(
        defaults=defaults,
        per_kind=tuple(rules),
        quiet=tuple(quiet),
        escalation=_escalation(at.below("[escalation]"), at.table(told, "escalation")),
        limit_per_hour=at.whole(told, "limit_per_hour", Rules.limit_per_hour, 1, 1_000),
        source=source,
    )


def _rule(at: "_Place", told: Mapping[str, Any], defaults: Treatment) -> tuple[str, Treatment]:
    at.only(told, ("kind", *_RULE_KEYS))
    pattern = told.get("kind", "")
    if not isinstance(pattern, str) or not fnmatch.filter(KINDS, pattern):
        at.refuse("kind", pattern, f"a kind or a pattern of kinds such as 'promotion.*'; kinds are {sorted(KINDS)!r}")
    return str(pattern), _treatment(at, {key: value for key, value in told.items() if key != "kind"}, defaults)


def _treatment(at: "_Place", told: Mapping[str, Any], defaults: Treatment) -> Treatment:
    at.only(told, _RULE_KEYS)
    mute = told.get("mute", defaults.mute)
    if not isinstance(mute, bool):
        at.refuse("mute", mute, "true or false")
    return replace(
        defaults,
        severity=at.choice(told, "severity", defaults.severity, SEVERITIES),
        to=at.tags(told, "to", defaults.to),
        dedup=at.duration(told, "dedup", defaults.dedup),
        mute=mute,
    )


def _quiet(at: "_Place", told: Mapping[str, Any]) -> Quiet:
    at.only(told, ("days", "from", "until", "let_through"))
    days = told.get("days", list(DAYS))
    if not isinstance(days, list) or not days or not set(map(str, days)) <= set(DAYS):
        at.refuse("days", days, f"a list of some of {list(DAYS)!r}")
    start, until = at.time_of_day(told, "from"), at.time_of_day(told, "until")
    if start == until:
        at.refuse("until", told["until"], "another time than `from`")
    let_through = at.choice(told, "let_through", Quiet.let_through, SEVERITIES)
    return Quiet(tuple(days), start, until, let_through or Quiet.let_through)


def _escalation(at: "_Place", told: Mapping[str, Any]) -> Escalation:
    at.only(told, ("after", "repeat", "to"))
    return Escalation(
        after=at.duration(told, "after", Escalation.after),
        repeat=at.whole(told, "repeat", Escalation.repeat, 0, 100),
        to=at.tags(told, "to", Escalation.to),
    )


@dataclass(frozen=True)
class _Place:
    """Where in the file we are: every refusal names it."""

    path: str

    def below(self, name: str) -> "_Place":
        return _Place(f"{self.path}, {name}")

    def refuse(self, key: str, found: object, allowed: str) -> None:
        raise InputError(f"the rule file {self.path}, key {key!r}: found {found!r}; give {allowed}")

    def only(self, told: Mapping[str, Any], known: Sequence[str]) -> None:
        for key in told:
            if key not in known:
                raise InputError(f"the rule file {self.path}: there is no key {key!r}; there are {list(known)!r}")

    def table(self, told: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        found = told.get(key, {})
        if not isinstance(found, dict):
            self.refuse(key, found, f"a table: [{key}]")
        return dict(found)

    def tables(self, told: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
        found = told.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self.refuse(key, found, f"one or more tables: [[{key}]]")
        return list(found)

    def whole(self, told: Mapping[str, Any], key: str, default: int, low: int, high: int) -> int:
        found = told.get(key, default)
        if not isinstance(found, int) or isinstance(found, bool) or not low <= found <= high:
            self.refuse(key, found, f"a whole number from {low} to {high}")
        return int(found)

    def choice(
        self, told: Mapping[str, Any], key: str, default: Severity | None, allowed: Sequence[Severity]
    ) -> Severity | None:
        found: Severity | None = told.get(key, default)
        if found is not default and found not in allowed:
            self.refuse(key, found, f"one of {list(allowed)!r}")
        return found

    def tags(self, told: Mapping[str, Any], key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        found = told.get(key, list(default))
        names = found if isinstance(found, list) else []
        if not names or not all(isinstance(tag, str) and re.fullmatch(r"[a-z0-9_-]{1,32}", tag) for tag in names):
            self.refuse(key, found, "a list of tags of small letters, digits, - and _, such as ['ops']")
        return tuple(names)

    def duration(self, told: Mapping[str, Any], key: str, default: timedelta) -> timedelta:
        found = told.get(key)
        if key not in told:
            return default
        match = re.fullmatch(r"([0-9]{1,6})([smhd])", found) if isinstance(found, str) else None
        length = int(match[1]) * _UNITS[match[2]] if match else timedelta(0)
        if not timedelta(0) < length <= 366 * DAY:
            self.refuse(key, found, "a whole number above zero and a unit, such as '90s', '15m', '4h' or '2d'")
        return length

    def time_of_day(self, told: Mapping[str, Any], key: str) -> time:
        found = told.get(key)
        if isinstance(found, time):  # TOML has times of its own: 22:00:00
            return found
        if not isinstance(found, str) or not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", found):
            self.refuse(key, found, "a time of day in UTC, such as '22:00'")
        return time.fromisoformat(str(found))
