"""What a pool is called in QLib.

Belongs here: the names, and the map back. Stays out: what a pool is (its table says so).

QLib lower-cases an instrument's name to find its folder, other readers upper-case it, and some file systems
fold case themselves; yet two pools may differ in nothing but case (base58), and a name is hostile text.
So every name is made of `a-z 0-9 _ -` alone, has one `-` at least (QLib's reader takes a bare `nan` or `null` for
a missing name, and some systems take `con` for a device), and fits into a file name. Three forms, no
two of which can meet:

    NETWORK-POOL         both are short words of a-z, 0-9 and _
    NETWORK-POOL-CASE    the pool also has capitals: POOL is lower-cased, CASE says in hexadecimal which were capitals
    x--TEXT, h--HASH     anything else: base32 of both, or their SHA-256 where that would be too long
"""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Final

from pipeline.errors import InputError

INSTRUMENTS_FILE: Final = "instruments.json"
LONGEST_NAME: Final = 200
"""Bytes; file systems allow 255, and tools append to names."""

_NETWORK: Final = re.compile(r"[a-z0-9_]{1,32}", re.ASCII)
_POOL: Final = re.compile(r"[A-Za-z0-9_]{1,128}", re.ASCII)


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
        return _coded(network, pool)
    capitals = sum(1 << (len(pool) - 1 - at) for at, letter in enumerate(pool) if letter.isupper())
    return f"{network}-{pool.lower()}" + (f"-{capitals:x}" if capitals else "")


def _coded(network: str, pool: str) -> str:
    # The length in front tells where the network's name ends, whatever either of them holds.
    raw = f"{len(network)}:{network}{pool}".encode()
    name = "x--" + base64.b32encode(raw).decode().rstrip("=").lower()
    return name if len(name) <= LONGEST_NAME else "h--" + hashlib.sha256(raw).hexdigest()


def instruments_json(pools: dict[str, tuple[str, str]]) -> bytes:
    """The map from name to (network, pool) as it lies beside the bins: JSON, sorted, one instrument a line."""
    lines = (f"{json.dumps(name)}: {json.dumps(pools[name])}" for name in sorted(pools))
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read_instruments(directory: Path) -> dict[str, tuple[str, str]]:
    """Which (network, pool) each instrument of an export is.

    Raises:
        InputError: the directory holds no map, or something else than one.
    """
    path = directory / INSTRUMENTS_FILE
    try:
        found = json.loads(path.read_bytes())
        return {name: (network, pool) for name, (network, pool) in found.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"cannot read the instruments of {path}: {error}; export the bins again") from error
