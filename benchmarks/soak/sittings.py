"""The sittings of one soak: where each lies, and what they came to together.

Belongs here: finding them and adding them up. Stays out: what one sitting found (`findings`).
"""

from datetime import timedelta
from pathlib import Path

from benchmarks.soak.findings import HEAD, Soaked, body_of, counted


def sittings(folder: Path) -> list[Soaked]:
    """What was seen in each sitting, in order; one that ended before it saw anything is not among them."""
    return [Soaked.seen(place) for place in _places(folder) if (place / "seen.json").exists()]


def next_place(folder: Path) -> Path:
    """The folder of the next sitting, made."""
    taken = _places(folder)
    place = folder / f"sitting-{_number(taken[-1]) + 1 if taken else 1}"
    place.mkdir()
    return place


def _places(folder: Path) -> list[Path]:
    return sorted(folder.glob("sitting-*"), key=_number)


def _number(place: Path) -> int:
    return int(place.name.rpartition("-")[2])


def show_all(folder: Path) -> str:
    """Write the page of all sittings into the folder; gives it."""
    page = page_of(sittings(folder))
    (folder / "soak.md").write_text(page)
    return page


def page_of(told: list[Soaked]) -> str:
    """All sittings as Markdown: what they came to together, and then each by itself."""
    whole = [one for one in told if one.judged]
    hours = sum(((one.ended or one.began) - one.began) / timedelta(hours=1) for one in whole)
    missed = [one.missed() for one in whole]
    n = sum(one.judged["cycles"]["n_grid_points"] for one in whole)
    n_hit, n_late = (sum(len(slots[place]) for slots in missed) for place in (0, 1))
    lines = [
        HEAD,
        f"{counted(len(whole), 'sitting')}, {hours:.1f} hours of the market, "
        f"{counted(sum(len(one.troubles()) for one in whole), 'disturbance')}. Of {counted(n, 'grid point')} a cycle "
        f"served {n - n_hit - n_late:,}; {counted(n_hit, 'was', 'were')} missed beside a disturbance, {n_late} "
        f"otherwise. Of {counted(sum(len(one.runs) for one in whole), 'run')} "
        f"{sum(sum(one.failures().values()) for one in whole)} failed.",
        "",
    ]
    if len(told) > len(whole):
        n_cut = counted(len(told) - len(whole), "more was cut off before it", "more were cut off before they")
        lines += [f"{n_cut} could be judged.", ""]
    for one in whole:
        lines += [f"## {one.folder.name}", "", f"![Memory, cycles and disturbances]({one.folder.name}/soak.png)", ""]
        lines += [body_of(one)]
    return "\n".join(lines)
