"""How drift is judged, in numbers.

Belongs here: every threshold of a comparison, and the seed that makes it repeatable. Stays out: how it is applied
(`comparison`, `classifier`).
"""

from dataclasses import dataclass

from pipeline.errors import UsageError


@dataclass(frozen=True)
class DriftSpec:
    """When two samples of pools count as different.

    Attributes:
        n_bins: quantiles of the reference that a numeric column is cut into, 2 to 50; zero, frequent values and missing
            ones get bins of their own.
        n_categories: the most frequent texts of the reference that get a bin; the others share one.
        n_permutations: how often pools are dealt out anew at least; with many columns it is done more often, so that
            the smallest p-value a permutation can give stays below what the false discovery rate asks for.
        alpha: false discovery rate over the columns, in (0, 0.5]. Without any drift it is the chance of an alarm; it
            is 3 % where 5 % are promised, so that a thousand comparisons keep the promise too.
        min_js: the least divergence, in [0, 1), beyond what chance gives, that anybody would act on.
        min_pools: with fewer pools on a side nothing is called drift.
        max_units: more pools than this on a side are permuted in random groups of equal size.
        seed: of the permutations; the same pools give the same answer.

    Raises:
        UsageError: a number lies outside its range.
    """

    n_bins: int = 10
    n_categories: int = 20
    n_permutations: int = 4_999
    alpha: float = 0.03
    min_js: float = 0.01
    min_pools: int = 10
    max_units: int = 5_000
    seed: int = 20_200_908

    def __post_init__(self) -> None:
        is_cut = 2 <= self.n_bins <= 50 and 1 <= self.n_categories <= 200
        is_tested = 99 <= self.n_permutations <= 1_000_000 and 0 < self.alpha <= 0.5 and 0 <= self.min_js < 1
        is_counted = self.min_pools >= 2 and self.max_units >= 100
        if not (is_cut and is_tested and is_counted and self.seed >= 0):
            raise UsageError(
                f"no drift can be judged under {self!r}: it needs 2 to 50 bins, 1 to 200 categories, 99 to 1,000,000"
                " permutations, alpha in (0, 0.5], a least divergence in [0, 1) and at least 2 pools, 100 units"
                " and a seed of 0 or more"
            )
