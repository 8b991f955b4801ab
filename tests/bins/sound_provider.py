"""A small QLib provider directory, written by hand from the documented format, and ways to change what lies in it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

FIRST = datetime(2021, 3, 1, tzinfo=UTC)
FIELDS = ("open", "high", "low", "close", "volume", "vwap", "factor")
RANGES = {"eth-0xa": (0, 100), "eth-0xb": (10, 70), "sol-abc-5": (40, 100)}
"""Place of the first bar, and the place after the last."""
GAP = (20, 23)
"""Bars of each instrument, counted from its first, in which nobody traded."""

Values = npt.NDArray[np.float32]


def at(place: int) -> datetime:
    return FIRST + timedelta(hours=place)


@dataclass(frozen=True)
class Provider:
    """A directory; everything is read from and written to the disk."""

    root: Path
    freq: str = "60min"

    def file(self, name: str, field: str) -> Path:
        return self.root / "features" / name / f"{field}.{self.freq}.bin"

    @property
    def calendar(self) -> Path:
        return self.root / "calendars" / f"{self.freq}.txt"

    @property
    def listed(self) -> Path:
        return self.root / "instruments" / "all.txt"

    def numbers(self, name: str, field: str) -> Values:
        """The header and the values."""
        return np.fromfile(self.file(name, field), "<f4")

    def put(self, name: str, field: str, numbers: Values) -> None:
        self.file(name, field).parent.mkdir(parents=True, exist_ok=True)
        np.asarray(numbers, "<f4").tofile(self.file(name, field))

    def set(self, name: str, field: str, place: int, value: float) -> None:
        """Change one value, by its place in the calendar."""
        numbers = self.numbers(name, field)
        numbers[1 + place - int(numbers[0])] = value
        self.put(name, field, numbers)

    def replace_line(self, path: Path, number: int, line: str) -> None:
        lines = path.read_text().splitlines()
        lines[number] = line
        path.write_text("".join(f"{one}\n" for one in lines))

    def add_line(self, path: Path, line: str) -> None:
        path.write_text(path.read_text() + line + "\n")


def walk(n: int, seed: int = 0) -> dict[str, Values]:
    """Bars of one instrument that can be true: no large step, no gap."""
    rng = np.random.default_rng(seed)
    close = np.exp(np.cumsum(rng.normal(0, 0.05, n)))
    opened = close * rng.uniform(0.97, 1.03, n)
    high, low = np.maximum(opened, close) * 1.02, np.minimum(opened, close) * 0.98
    columns = {"open": opened, "high": high, "low": low, "close": close, "vwap": (high + low) / 2}
    columns |= {"volume": rng.uniform(1, 2, n), "factor": np.ones(n)}
    return {field: columns[field].astype(np.float32) for field in FIELDS}


def sound_provider(
    root: Path, n_times: int = 100, freq: str = "60min", step: timedelta = timedelta(hours=1)
) -> Provider:
    """Three instruments with one gap each; nothing is wrong with it."""
    made = Provider(root, freq)
    for folder in ("calendars", "instruments"):
        (root / folder).mkdir(parents=True)
    times = [FIRST + place * step for place in range(n_times)]
    form = "%Y-%m-%d" if freq == "day" else "%Y-%m-%d %H:%M:%S"
    made.calendar.write_text("".join(f"{time:{form}}\n" for time in times))
    lines = []
    for seed, (name, (first, end)) in enumerate(RANGES.items()):
        for field, values in walk(end - first, seed).items():
            values[slice(*GAP)] = np.nan
            made.put(name, field, np.concatenate([[first], values]))
        lines.append(f"{name}\t{times[first]:{form}}\t{times[end - 1]:{form}}\n")
    made.listed.write_text("".join(lines))
    return made
