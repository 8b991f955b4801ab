"""Who may be told: the addresses a user named, each with its tags and a name that gives nothing away.

Belongs here: taking `POOLCAST_ALERTS_TO` apart, and how a receiver is called in tables and on the screen. Stays out:
what an address means (`post`, `apprise`).
"""

import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from threading import get_ident
from typing import Final

from pipeline.errors import UsageError
from pipeline.lake import fsync
from pipeline.monitoring.alerts.rules import ESCALATE, EVERYBODY

_ADDRESS: Final = r"(?:[A-Za-z0-9_+-]+=)?[A-Za-z][A-Za-z0-9+.-]*://"
_BETWEEN: Final = re.compile(rf",*\s[\s,]*|,+(?={_ADDRESS})")
"""No address holds a space. A comma inside an address (two recipients of a mail) is part of it."""
_ONE: Final = re.compile(r"(?:(?P<tags>[A-Za-z0-9_+-]+)=)?(?P<url>(?P<schema>[A-Za-z][A-Za-z0-9+.-]*)://.+)", re.DOTALL)
_SALT_BYTES: Final = 16


@dataclass(frozen=True)
class Receiver:
    """One address.

    Attributes:
        name: the address's kind and a salted hash of the address: the same in every process, and no secret.
        url: the address itself; never printed.
        tags: what rules may call it by.
    """

    name: str
    url: str = field(repr=False)
    tags: frozenset[str] = frozenset()

    def is_meant(self, to: tuple[str, ...]) -> bool:
        """Whether it is among those a rule names."""
        return bool(self.tags & set(to)) or (EVERYBODY in to and self.tags != {ESCALATE})


def receivers_of(told: str | None, salt: bytes) -> tuple[Receiver, ...]:
    """The receivers in a text of addresses, separated by spaces or commas; `tag+tag=` before one are its tags.

    >>> [(r.name[:5], sorted(r.tags)) for r in receivers_of("ops=json://a, mailto://b?to=c,d", b"salt")]
    [('json:', ['ops']), ('mailt', [])]

    Raises:
        UsageError: a part of it is no address. The message names its place only: it may be a secret.
    """
    parts = [part for part in _BETWEEN.split((told or "").strip()) if part.strip(" ,\t\n")]
    found: dict[str, Receiver] = {}
    for place, part in enumerate(parts, 1):
        match = _ONE.fullmatch(part.strip(" ,\t\n"))
        if match is None or re.search(r"\s", match["url"]):
            raise UsageError(
                f"POOLCAST_ALERTS_TO: number {place} of {len(parts)} is no address, or not one alone (not shown: "
                "it may be secret). An address is SCHEME://..., with its tags before it if it has any: "
                "'mailto://USER:PASSWORD@HOST?to=NAME@HOST', 'ops=slack://TOKEN/TOKEN/TOKEN/#CHANNEL', "
                "'json://HOST/PATH'; spaces or commas stand between two. docs/alerts.md leads to all schemes"
            )
        name = _name(match["schema"].lower(), match["url"], salt)
        tags = frozenset((match["tags"] or "").lower().split("+")) - {""}
        before = found[name].tags if name in found else frozenset()
        found[name] = Receiver(name, match["url"], tags | before)
    return tuple(found.values())


def _name(schema: str, url: str, salt: bytes) -> str:
    return f"{schema}:{hmac.new(salt, url.encode(), hashlib.sha256).hexdigest()[:8]}"


def salt_of(folder: Path) -> bytes:
    """The salt of this installation, made at the first call; whoever cannot read it cannot guess an address.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder / "salt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f"salt.{os.getpid()}.{get_ident()}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(_SALT_BYTES))
        fsync(fresh)
        try:
            os.link(fresh, path)  # fails where somebody was faster, and theirs counts
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        fsync(folder)
    return path.read_bytes()
