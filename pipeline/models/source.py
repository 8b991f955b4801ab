"""Which source's pools a model learns from. A mix is never an answer."""

from collections.abc import Collection

from pipeline.errors import UsageError


def choose_source(present: Collection[str], wanted: str = "") -> str:
    """The one source to learn from: the one asked for, else the only real one there is.

    Args:
        present: sources that have features and labels.
        wanted: a source's name; empty to let the data decide.

    Raises:
        UsageError: the wanted source is absent, or nothing was wanted and the choice is not plain.

    >>> choose_source({"recording:uniswap_v2_2020", "simulation:7"})
    'recording:uniswap_v2_2020'
    >>> choose_source({"simulation:7"}, "simulation:7")
    'simulation:7'
    """
    if wanted:
        if wanted not in present:
            raise UsageError(f"there is nothing to learn from source {wanted!r}; there is {sorted(present)}")
        return wanted
    real = sorted(source for source in present if not source.startswith("simulation:"))
    if len(real) == 1:
        return real[0]
    found = f"found {sorted(present)}" if present else "found none"
    raise UsageError(f"a model learns from one source, and from a simulation only when it is named; {found}: name one")
