"""Who may come in: names with scrypt hashes, one word for our own processes, and a brake on guessing.

Belongs here: what POOLCAST_SIGN_IN holds, making a line of it, and judging an `Authorization` header. Stays out: HTTP.

Basic, because browsers and programs (MLflow's client too) speak it and there is no session to steal. The password
itself crosses the wire: beyond this machine that wants TLS, which a proxy in front gives.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Self

from pipeline.errors import UsageError

type Outcome = Literal["admitted", "refused", "wait"]

_NAME: Final = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
_LOG2_N: Final = 15
"""32 MiB and about a tenth of a second for each guess."""
_TRIES, _WINDOW_S = 5, 60.0
_REMEMBERED, _REMEMBERED_S = 64, 900.0
_LONGEST: Final = 1024


@dataclass(frozen=True)
class Account:
    """A name and what its password is checked against; written as `NAME:scrypt:LOG2_N:SALT:HASH`, both in hex."""

    name: str
    log2_n: int
    salt: bytes
    digest: bytes = field(repr=False)

    @classmethod
    def make(cls, name: str, password: str) -> Self:
        """A new one.

        Raises:
            UsageError: the name is none, or the password is shorter than 12 characters.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name to sign in with: give up to 64 letters, digits or . _ @ + -")
        if len(password) < 12 or len(password.encode()) > _LONGEST:
            raise UsageError("the password is too short or far too long: give 12 characters or more")
        salt = secrets.token_bytes(16)
        return cls(name, _LOG2_N, salt, _scrypt(password.encode(), salt, _LOG2_N))

    @classmethod
    def parse(cls, line: str) -> Self:
        """One that was written.

        Raises:
            UsageError: the line is none of `poolcast sign-in hash`; it is not shown.
        """
        found = re.fullmatch(rf"({_NAME.pattern}):scrypt:(1[4-9]|20):([0-9a-f]{{32}}):([0-9a-f]{{64}})", line)
        if found is None:
            raise UsageError(
                "POOLCAST_SIGN_IN holds a line that is no NAME:scrypt:...: make one with `poolcast sign-in hash NAME`"
            )
        name, log2_n, salt, digest = found.groups()
        return cls(name, int(log2_n), bytes.fromhex(salt), bytes.fromhex(digest))

    def written(self) -> str:
        """The line that `parse` reads."""
        return f"{self.name}:scrypt:{self.log2_n}:{self.salt.hex()}:{self.digest.hex()}"

    def is_right(self, password: bytes) -> bool:
        """Whether this is the password, in the same time whatever is wrong about it."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.log2_n), self.digest)


def accounts_of(told: str) -> dict[str, Account]:
    """The accounts that a setting names: lines, with commas or line ends between them, or a file of such lines.

    Raises:
        UsageError: a line is none, a name is there twice, there is none at all, or the file cannot be read.
    """
    text = told if ":scrypt:" in told else _read(Path(told))
    lines = [line.strip() for line in re.split(r"[,\n]", text)]
    found = [Account.parse(line) for line in lines if line and not line.startswith("#")]
    if not found or len({each.name for each in found}) < len(found):
        raise UsageError(
            "POOLCAST_SIGN_IN names nobody, or somebody twice: make lines with `poolcast sign-in hash NAME`"
        )
    return {each.name: each for each in found}


class SignIn:
    """Judges what clients show; called from several threads.

    Args:
        accounts: people, by name.
        own: the name and the word of our own processes, random and long, or None.
        clock: seconds of any beginning.
    """

    def __init__(
        self, accounts: Mapping[str, Account], own: tuple[str, str] | None, clock: Callable[[], float]
    ) -> None:
        self._accounts, self._clock = dict(accounts), clock
        self._own = None if own is None else f"{own[0]}:{own[1]}".encode()
        self._key = secrets.token_bytes(32)
        self._admitted: dict[bytes, float] = {}
        self._failures: defaultdict[str, deque[float]] = defaultdict(deque)
        # Who is not there takes as long as who is.
        self._nobody = Account("", _LOG2_N, secrets.token_bytes(16), secrets.token_bytes(32))

    def is_known(self, header: str) -> bool:
        """Whether exactly this was admitted or seen a short while ago, or is our own word: no hash is computed.

        So who works is not asked again, and nobody who guesses at the name meanwhile can lock them out.
        """
        shown = _credentials(header)
        seal, now = self._seal(shown), self._clock()
        if self._admitted.get(seal, 0.0) > now:
            self._admitted[seal] = now + _REMEMBERED_S
            return True
        return bool(shown) and self._own is not None and hmac.compare_digest(seal, self._seal(self._own))

    def judge(self, header: str) -> Outcome:
        """Let them in, refuse, or say that there were too many wrong tries under this name; takes a tenth of a second.

        A try counts as wrong until it is right, so that many at once are no more tries than one after the other.
        """
        shown = _credentials(header)
        name, found, password = shown.partition(b":")
        account = self._accounts.get(name.decode("utf-8", "replace"))
        failures = self._failures[account.name if account else ""]
        now = self._clock()
        while failures and failures[0] <= now - _WINDOW_S:
            failures.popleft()
        if len(failures) >= _TRIES:
            return "wait"
        failures.append(now)
        if not (account or self._nobody).is_right(password) or account is None or not found:
            return "refused"
        failures.clear()
        self._admitted = {seal: until for seal, until in self._admitted.items() if until > now}
        if len(self._admitted) < _REMEMBERED:
            self._admitted[self._seal(shown)] = now + _REMEMBERED_S
        return "admitted"

    def _seal(self, shown: bytes) -> bytes:
        # Passwords are not kept: what is compared and remembered is bound to this process.
        return hmac.digest(self._key, shown, "sha256")


def _credentials(header: str) -> bytes:
    scheme, _, told = header.partition(" ")
    if scheme.lower() != "basic" or len(told) > 2 * _LONGEST:
        return b""
    try:
        return base64.b64decode(told.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _scrypt(password: bytes, salt: bytes, log2_n: int) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=2**log2_n, r=8, p=1, maxmem=2**28 * 5, dklen=32)


def _read(path: Path) -> str:
    try:
        return path.expanduser().read_text()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(
            "POOLCAST_SIGN_IN holds neither lines of `poolcast sign-in hash` nor the path of a file of them"
        ) from error
