"""Documents spoiled in every way that comes to mind, by a seed."""

import copy
import json
from random import Random
from typing import Any

_TEXTS = (
    "", " ", "NaN", "nan", "Infinity", "-Infinity", "inf", "null", "true", "None", "1_000", " 12 ", "+5", "0x10",
    "\u0661\u0662", "1e400", "-1e400", "1e30", "1.0000001e30", "-0.0", "-100", "-100.1", "1e-320", "4.9e-324", "1e-400",
    "0." + "0" * 90 + "7", "0." + "1" * 198, "0." + "1" * 199, "9007199254740993", "0.1" * 3, "1,5", "1.", ".1",
    "1e", "1e+5", "1E5", "12\n", "12\u0000", "\u202e<script>alert(1)</script>", "\u200b", "=1+1", "x" * 5_000,
    "\U0001f480" * 40,
    "../../etc/passwd", "eth", "solana", "__HIVE_DEFAULT_PARTITION__", "eth_", "_", "2024-02-30T00:00:00Z",
    "2024-02-29T00:00:00Z", "9999-12-31T23:59:59Z", "2024-01-01T00:00:60Z", "2024-01-01T24:00:00Z",
    "2024-01-01T00:00:00.123456789Z", "0000-01-01T00:00:00Z", "buy", "sell", "yes", "no", "\ud800",
)  # fmt: skip
_NUMBERS = (
    0, 1, -1, 7, 77, 78, 10**12, 10**12 + 1, 2**53 + 1, 2**63, 2**64, 10**40, -(2**63), 0.1, -0.5, 1e30, 1.1e30, 1e308,
    5e-324, -0.0, 1.5, 1e3, 100.0, 100.5, 1757362200, 1757362201,
)  # fmt: skip
_RAW = (
    b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e999", b"1" + b"0" * 5_000, b"0.1" + b"0" * 600 + b"1", b"-0",
    b"18446744073709551616", b'"\\ud800"', b'"\\udfff x"', b"[" * 60 + b"]" * 60, b"[" * 400 + b"]" * 400,
    b"[" * 1_100 + b"]" * 1_100, b'{"a":' * 300 + b"1" + b"}" * 300, b"01", b"1.", b"+1", b"tru", b"'x'", b"", b"{}",
)  # fmt: skip
_BYTES = (
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\xc3", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"e", b"-", b"9",
    b"\n", b"\xef\xbb\xbf", b"\\u0000", b"\\ud83d", b"NaN", b"null",
)  # fmt: skip


def spoiled(document: Any, rng: Random) -> bytes:
    """The document with one to three faults, in its structure or in its bytes."""
    if rng.random() < 0.3:
        return _with_bytes_spoiled(json.dumps(document, ensure_ascii=False).encode(), rng)
    document = copy.deepcopy(document)
    raws: list[bytes] = []
    for _ in range(rng.randint(1, 3)):
        _spoil_a_node(document, rng, raws)
    body = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    for number, raw in enumerate(raws):
        body = body.replace(f'"@{number}@"'.encode(), raw)
    return _with_bytes_spoiled(body, rng) if rng.random() < 0.05 else body


def _with_bytes_spoiled(body: bytes, rng: Random) -> bytes:
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(body) + 1)
        upto = min(len(body), at + rng.choice((1, 1, 2, 8, 64, 512)))
        body = rng.choice(
            (
                lambda b, i, j: b[:i] + bytes((b[i] ^ (1 << rng.randrange(8)),)) + b[i + 1 :] if i < len(b) else b,
                lambda b, i, j: b[:i],
                lambda b, i, j: b[:i] + b[j:],
                lambda b, i, j: b[:j] + b[i:],
                lambda b, i, j: b[:i] + rng.choice(_BYTES) + b[i:],
                lambda b, i, j: b[:i] + rng.choice(_BYTES) + b[j:],
                lambda b, i, j: b[:i] + rng.choice(b"0123456789").to_bytes() + b[i + 1 :],
            )
        )(body, at, upto)
    return body


def _spoil_a_node(document: Any, rng: Random, raws: list[bytes]) -> None:
    parents = [node for node in _nodes(document) if len(node)]
    if not parents:
        return
    # Half of the faults take every value for equally likely, so that they strike numbers and not the frame around them.
    parent = rng.choice([parent for parent in parents for _ in parent] if rng.random() < 0.5 else parents)
    key = rng.choice(list(parent)) if isinstance(parent, dict) else rng.randrange(len(parent))
    kind = rng.choice(("replace", "replace", "replace", "retype", "retype", "delete", "duplicate", "swap"))
    if kind == "delete":
        del parent[key]
    elif kind == "duplicate":
        _duplicate(parent, key, rng)
    elif kind == "swap":
        other = rng.choice(parents)
        parent[key] = copy.deepcopy(
            other[rng.choice(list(other)) if isinstance(other, dict) else rng.randrange(len(other))]
        )
    else:
        parent[key] = _retyped(parent[key], rng) if kind == "retype" else _hostile(rng, raws)


def _nodes(node: Any) -> list[Any]:
    """Every list and object of the document."""
    found = [node] if isinstance(node, dict | list) else []
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [*found, *(below for child in children for below in _nodes(child))]


def _duplicate(parent: Any, key: Any, rng: Random) -> None:
    if isinstance(parent, list):
        parent.insert(rng.randint(0, len(parent)), copy.deepcopy(parent[key]))
    else:
        parent[rng.choice(list(parent))] = copy.deepcopy(parent[key])


def _retyped(value: Any, rng: Random) -> Any:
    if isinstance(value, dict) and rng.random() < 0.5:
        return list(value.values())
    if isinstance(value, str):
        try:
            return rng.choice((float(value), int(float(value)), [value], value + "x", " " + value))
        except (ValueError, OverflowError):
            return rng.choice(([value], {"a": value}, value.upper(), value + "\u200b", value[:-1]))
    if isinstance(value, int | float):
        return rng.choice((str(value), value + 0.5, -value - 1, [value], bool(value), value * 1e25))
    return rng.choice((str(value), [value], {"data": value}, None, 0, True))


def _hostile(rng: Random, raws: list[bytes]) -> Any:
    kind = rng.random()
    if kind < 0.3:
        raws.append(rng.choice(_RAW))
        return f"@{len(raws) - 1}@"
    if kind < 0.6:
        return rng.choice(_TEXTS)
    if kind < 0.85:
        return rng.choice(_NUMBERS)
    return copy.deepcopy(rng.choice((None, True, False, [], {}, [[]], [None], {"": None}, {"data": None}, [1, "x"])))
