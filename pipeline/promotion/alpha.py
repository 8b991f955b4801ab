"""The yearly budget of error, shared among a year's challengers.

Belongs here: the share of the k-th challenger. Stays out: which number a challenger is (`looks`), and spending it
(`sequential`).

With a challenger a week at alpha 0.05 each, the chance of a false promotion a year is 93 %. Here the shares of any
number of challengers add up to at most the yearly budget, and so does that chance (union bound; alpha spending across
hypotheses, Ramdas et al. 2023). A share is set before a challenger has shown anything, by its number alone.
"""

from pipeline.errors import UsageError
from pipeline.promotion.spec import YEARLY, AlphaSpec


def alpha_of(k: int, spec: AlphaSpec = YEARLY) -> float:
    """The alpha of the k-th challenger of a calendar year (UTC), k from 1.

    The first n = `spec.n_expected` get (1 - `spec.tail_share`) / n of the budget each. The j-th after them gets
    n / ((j + n - 1)(j + n)) of the tail, which over all j is the whole of it.

    Why equal shares: the pools that a proof takes grow with ln(1/alpha), and by Jensen's inequality the mean of
    ln(1/alpha_k) over n challengers is least when the shares are equal. Series that fall (1/k^2, 1/(k ln^2 k)) are
    generous to January and starve December, as if the year's best idea came first.

    Raises:
        UsageError: k is below 1.

    >>> round(alpha_of(1), 6), alpha_of(52) == alpha_of(1), round(alpha_of(53), 6)
    (0.001731, True, 0.000189)
    >>> sum(alpha_of(k) for k in range(1, 10_001)) < 0.10
    True
    """
    if k < 1:
        raise UsageError(f"asked for the share of challenger {k!r}: the first of a year is 1")
    n = spec.n_expected
    if k <= n:
        return spec.yearly * (1 - spec.tail_share) / n
    return spec.yearly * spec.tail_share * n / ((k - 1) * k)
