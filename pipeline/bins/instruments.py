"""What a pool, or a symbol of somebody's file, is called in QLib.

Belongs here: the names, and the map back. Stays out: what a pool is (its table says so).

QLib lower-cases an instrument's name to find its folder, other readers upper-case it, and some file systems
fold case themselves; yet two pools may differ in nothing but case (base58), and a name is hostile text.
So every name is made of `a-z 0-9 _ - .` alone, is no word that a reader takes for something else (pandas reads a bare
`nan` or `null` as missing, some systems take `con` for a device), and fits into a file name. No two
forms can meet; a name is a function of what it names alone, whatever else there is:

    NETWORK-POOL         both are short words of a-z, 0-9 and _
    NETWORK-POOL-CASE    the pool also has capitals: POOL is lower-cased, CASE says in hexadecimal which were capitals
    x--TEXT, h--HASH     any other pool: base32 of both, or their SHA-256 where that would be too long

    SYMBOL               a word of a-z, 0-9, _ and . that means nothing else to anybody
    SYMBOL--CASE         the symbol also has capitals
    s--SYMBOL            the symbol has a hyphen, begins with a dot, or is one of those words
    c--SYMBOL--CASE      the same with capitals
    y--TEXT, z--HASH     any other symbol: base32, or its SHA-256 where that would be too long
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipeline.errors import InputError

INSTRUMENTS_FILE: Final = "instruments.json"
LONGEST_NAME: Final = 200
"""Bytes; file systems allow 255, and tools append to names."""

Identity = tuple[str, ...]
"""What a name stands for: (network, pool), or (symbol,)."""

_NETWORK: Final = re.compile(r"(?!_qlib_)[a-z0-9_]{1,32}", re.ASCII)
_POOL: Final = re.compile(r"[A-Za-z0-9_]{1,128}", re.ASCII)
_SYMBOL: Final = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9_-]", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9_.-]*[a-z0-9_-]", re.ASCII)
# What pandas, YAML and spreadsheets read as a missing value, a number or a truth, in small letters.
_WORDS: Final = frozenset(
    {"nan", "null", "none", "na", "nat", "nil", "inf", "infinity", "true", "false", "yes", "no", "on", "off"}
)
_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))}
)
_MARKS: Final = frozenset("cshxyz")


def instrument_name(network: str, pool: str) -> str:
    """The pool's name in QLib: injective also for readers that fold case, and at most `LONGEST_NAME` long.

    >>> instrument_name("eth", "0xab")
    'eth-0xab'
    >>> instrument_name("eth", "0xAb")
    'eth-0xab-2'
    >>> instrument_name("eth", "a/../b")
    'x--gm5gk5dimexs4lrpmi'
    """
    if not (_NETWORK.fullmatch(network) and _POOL.fullmatch(pool)):
        # The length in front tells where the network's name ends, whatever either of them holds.
        return _coded("x", "h", f"{len(network)}:{network}{pool}".encode())
    capitals = _capitals(pool)
    return f"{network}-{pool.lower()}" + (f"-{capitals:x}" if capitals else "")


def symbol_name(symbol: str) -> str:
    """The symbol's name in QLib: its own if that is safe; injective also for readers that fold case.

    A pool never has the same name, nor does another symbol. At most `LONGEST_NAME` long.

    >>> symbol_name("sh600000"), symbol_name("AAPL"), symbol_name("BTC-USD"), symbol_name("nan")
    ('sh600000', 'aapl--f', 'c--btc-usd--77', 's--nan')
    >>> symbol_name("../etc")
    'y--fyxc6zlumm'
    """
    if not _SYMBOL.fullmatch(symbol):
        # Text that is no UTF-8 has bytes too; it must not end in somebody else's traceback.
        return _coded("y", "z", symbol.encode(errors="surrogatepass"))
    stem, capitals = symbol.lower(), _capitals(symbol)
    is_plain = "-" not in stem and stem not in _MARKS and not stem.startswith(".") and not _is_reserved(stem)
    name = stem if is_plain else f"{'c' if capitals else 's'}--{stem}"
    name += f"--{capitals:x}" if capitals else ""
    return name if len(name) <= LONGEST_NAME else _coded("y", "z", symbol.encode())


def is_safe_name(name: str) -> bool:
    """Whether a name may be an instrument's: one folder, read back as itself by every reader.

    >>> is_safe_name("eth-0xab"), is_safe_name("../x"), is_safe_name("nan"), is_safe_name("AAPL")
    (True, False, False, False)
    """
    return (
        _NAME.fullmatch(name) is not None
        and len(name) <= LONGEST_NAME
        and not name.startswith(".")
        and not _is_reserved(name)
    )


def _is_reserved(name: str) -> bool:
    # A device stays one whatever follows a dot; QLib's own dump takes this prefix off a file's name. A sign in front
    # makes no other word of it: pandas reads a bare `-nan` or `-inf` too.
    return name.lstrip("-") in _WORDS or name.partition(".")[0] in _DEVICES or name.startswith("_qlib_")


def _capitals(text: str) -> int:
    return sum(1 << (len(text) - 1 - at) for at, letter in enumerate(text) if letter.isupper())


def _coded(mark: str, mark_of_hash: str, raw: bytes) -> str:
    name = f"{mark}--" + base64.b32encode(raw).decode().rstrip("=").lower()
    return name if len(name) <= LONGEST_NAME else f"{mark_of_hash}--" + hashlib.sha256(raw).hexdigest()


def instruments_json(identities: Mapping[str, Identity]) -> bytes:
    """The map from name to what it stands for as it lies beside the bins: JSON, sorted, one instrument a line."""
    lines = (f"{json.dumps(name)}: {json.dumps(identities[name])}" for name in sorted(identities))
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read_identities(directory: Path) -> dict[str, Identity]:
    """What each instrument of an export is: (network, pool), or (symbol,).

    Raises:
        InputError: the directory holds no map, or something else than one.
    """
    path = directory / INSTRUMENTS_FILE
    try:
        found = json.loads(path.read_bytes())
        identities = {name: tuple(identity) for name, identity in found.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"cannot read the instruments of {path}: {error}; export the bins again") from error
    if not all(identity and all(isinstance(part, str) for part in identity) for identity in identities.values()):
        raise InputError(f"cannot read the instruments of {path}: a name stands for no text; export the bins again")
    return identities


def read_instruments(directory: Path) -> dict[str, tuple[str, str]]:
    """Which (network, pool) each instrument of an export is.

    Raises:
        InputError: the directory holds no map, something else than one, or instruments that are no pools.
    """
    identities = read_identities(directory)
    try:
        return {name: (network, pool) for name, (network, pool) in identities.items()}
    except ValueError as error:
        raise InputError(f"{directory / INSTRUMENTS_FILE} names symbols of a file, not pools: {error}") from error
