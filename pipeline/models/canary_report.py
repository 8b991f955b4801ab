"""What a canary says.

Belongs here: the shape of one answer and of all of them. Stays out: the canaries themselves (`canary_*`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class CanaryResult:
    """One canary: what it heard, in words and numbers."""

    name: str
    is_passed: bool
    words: str
    numbers: dict[str, float]


@dataclass(frozen=True)
class CanaryReport:
    """What all canaries say about one training set."""

    training_set_id: str
    results: tuple[CanaryResult, ...]

    @property
    def is_passed(self) -> bool:
        """Every canary is quiet."""
        return all(result.is_passed for result in self.results)

    @property
    def words(self) -> str:
        """One line a canary."""
        return "\n".join(f"{'passed' if r.is_passed else 'FAILED'} {r.name}: {r.words}" for r in self.results)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the canaries that sing."""
        return tuple(result.name for result in self.results if not result.is_passed)


def counted(name: str, n_rows: int, of_what: str, faults: dict[str, int]) -> CanaryResult:
    """The result of a canary that counts faults and allows none.

    Args:
        of_what: what was looked at, in the plural. faults: how many rows have each fault, by the fault in words.

    >>> counted("labels", 3, "labels", {"known too late": 1, "without a key": 0}).words
    '3 labels: 1 known too late'
    """
    found = {fault: n for fault, n in faults.items() if n}
    said = ", ".join(f"{n} {fault}" for fault, n in found.items()) if found else "nothing wrong"
    if not n_rows:
        said = "nothing to look at"
    numbers = {"n_rows": float(n_rows)} | {fault: float(n) for fault, n in faults.items()}
    return CanaryResult(name, n_rows > 0 and not found, f"{n_rows} {of_what}: {said}", numbers)
