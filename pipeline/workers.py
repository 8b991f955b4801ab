"""Where the independent parts of one computation are done: here, or by workers on many machines.

Belongs here: what the library asks of workers, and the one that is always there. Stays out: every cluster
(`resources.cluster`), and what is cut into parts (the stages).

A part must give the same answer wherever it is computed: it reads its arguments alone, and sums in an order of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol


class Workers(Protocol):
    """Somebody to give independent parts to."""

    @property
    def count(self) -> int:
        """How many parts are worked on at once; 1: cutting into parts gains nothing."""
        ...

    @property
    def cluster(self) -> Any:
        """What a library that spreads one fit by itself is handed; None where there is one machine."""
        ...

    def each[S, P, R](self, work: Callable[[S, P], R], shared: S, parts: Sequence[P]) -> list[R]:
        """The answers of `work(shared, part)`, in the order of the parts.

        Args:
            work: a function of a module, which other machines import by its name.
            shared: what all parts need; it travels once.
            parts: what each needs beside it, small.

        Raises:
            ClusterError: the workers are gone, or hang.
        """
        ...


class _Here:
    """This process, one part after another."""

    count = 1
    cluster = None

    def each[S, P, R](self, work: Callable[[S, P], R], shared: S, parts: Sequence[P]) -> list[R]:
        return [work(shared, part) for part in parts]


HERE: Final[Workers] = _Here()
"""The worker that is always there.

>>> HERE.each(pow, 2, [1, 2, 3])
[2, 4, 8]
"""
