"""Names under which a server may be spoken to, and whether a page was loaded from the same one.

A name that an attacker owns can be pointed at 127.0.0.1 ("DNS rebinding"): the browser then takes our server for part
of the attacker's site. The only thing that gives it away is the name itself, in the header `Host`.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from pipeline.errors import UsageError

_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?)(?::(\d{1,5}))?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Authority:
    """A host and, if it was named, a port; the host in lower case, an IPv6 address in its shortest form."""

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The authority, or None for what is none; nothing is guessed or mended.

        >>> Authority.parse("LocalHost:3000"), Authority.parse("[0:0::1]")
        (Authority(host='localhost', port=3000), Authority(host='[::1]', port=None))
        >>> [Authority.parse(text) for text in ("localhost.", "a@localhost", "localhost:", "")]
        [None, None, None, None]
        """
        found = _AUTHORITY.fullmatch(text.lower()) if text.isascii() else None
        if found is None:
            return None
        host, port = found.group(1), int(found.group(2)) if found.group(2) else None
        if host.startswith("["):
            try:
                host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
            except ValueError:
                return None
        return None if port is not None and not 1 <= port <= 65535 else cls(host, port)


@dataclass(frozen=True)
class Origin:
    """Where a page was loaded from."""

    scheme: str
    authority: Authority

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The origin, or None for what is none: "null" is the origin of a page that hides it.

        >>> Origin.parse("http://localhost:3000")
        Origin(scheme='http', authority=Authority(host='localhost', port=3000))
        >>> Origin.parse("null"), Origin.parse("file://"), Origin.parse("http://localhost/x")
        (None, None, None)
        """
        scheme, found, rest = text.partition("://")
        authority = Authority.parse(rest)
        return cls(scheme, authority) if found and scheme in _DEFAULT_PORTS and authority is not None else None


@dataclass(frozen=True)
class AllowedHosts:
    """Loopback's names on any port, and those that were allowed by name.

    Attributes:
        named: (scheme or None for both, host, port or None for any).
    """

    named: frozenset[tuple[str | None, Authority]] = frozenset()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Those allowed by entries like `poolcast.example.org`, `10.0.0.5:3000` or `https://poolcast.example.org`.

        Raises:
            UsageError: an entry is none; there are no wildcards.
        """
        named = set()
        for entry in entries:
            scheme, found, rest = entry.partition("://")
            authority = Authority.parse(rest if found else entry)
            if authority is None or (found and scheme not in _DEFAULT_PORTS):
                raise UsageError(
                    f"POOLCAST_ALLOWED_HOSTS names {entry!r}: give names like 'poolcast.example.org', "
                    "'10.0.0.5:3000' or 'https://poolcast.example.org', with commas between them"
                )
            named.add((scheme if found else None, authority))
        return cls(frozenset(named))

    def admit(self, host: Authority) -> bool:
        """Whether a server may be spoken to under this name.

        >>> hosts = AllowedHosts.of(["https://poolcast.example.org"])
        >>> hosts.admit(Authority("localhost", 8080)), hosts.admit(Authority("poolcast.example.org"))
        (True, True)
        >>> hosts.admit(Authority("evil.example")), hosts.admit(Authority("0.0.0.0", 3000))
        (False, False)
        """
        return host.host in _LOOPBACK or any(_covers(entry, host) for _, entry in self.named)

    def is_same_origin(self, origin: Origin, host: Authority) -> bool:
        """Whether a page of this origin speaks to the server that it was loaded from.

        >>> page = Origin("https", Authority("poolcast.example.org"))
        >>> AllowedHosts.of(["https://poolcast.example.org"]).is_same_origin(page, Authority("poolcast.example.org"))
        True
        >>> other_server_here = Origin("http", Authority("localhost", 8888))
        >>> AllowedHosts().is_same_origin(other_server_here, Authority("localhost", 3000))
        False
        """
        usual = _DEFAULT_PORTS[origin.scheme]
        page = (origin.authority.host, origin.authority.port or usual)
        if page != (host.host, host.port or usual):
            return False
        schemes = {scheme for scheme, entry in self.named if _covers(entry, host)}
        if host.host in _LOOPBACK and origin.scheme == "http":
            return True
        return not schemes.isdisjoint({None, origin.scheme})


_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})


def _covers(entry: Authority, host: Authority) -> bool:
    return entry.host == host.host and entry.port in {None, host.port}
