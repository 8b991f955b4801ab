"""False and missed promotions and rollbacks in worlds of known truth: the sequential gate beside the usual ways.

    python benchmarks/promotion.py [--repetitions 2000] [--seed 1]

The worlds are in promotion_worlds.py; docs/promotion.md says what the figures mean.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
from promotion_worlds import (
    NEVER,
    Floats,
    Loss,
    World,
    draw,
    early_rugs,
    first_below,
    first_mcnemar,
    first_promotion,
    shared_shocks,
)
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy import stats

from pipeline.promotion.alpha import alpha_of
from pipeline.promotion.spec import BETTER, HARM, YEARLY

PART = 200
"""Repetitions at once: bounded memory, however many are asked for."""
LOSSES: tuple[Loss, ...] = ("error", "log_loss")
ALPHA, HARM_ALPHA = 0.05, 0.01

type Row = tuple[str, str]
type Section = Callable[[int, np.random.Generator, Callable[[], None]], Iterator[Row]]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repetitions", type=int, default=2_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--only", choices=SECTIONS, help="one part of it")
    given = arguments.parse_args()
    console, started = Console(width=150), time.perf_counter()
    chosen = [given.only] if given.only else list(SECTIONS)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("worlds", total=None)
        for name in chosen:
            table = Table("world and way of judging", "found", title=name, title_justify="left")
            rng = np.random.default_rng([given.seed, list(SECTIONS).index(name)])
            for row in SECTIONS[name](given.repetitions, rng, lambda: progress.advance(task)):
                table.add_row(*row)
            console.print(table)
    console.print(f"{given.repetitions:,} repetitions each, seed {given.seed}, {time.perf_counter() - started:.0f} s")


def in_parts(n: int, tick: Callable[[], None], one: Callable[[int], Floats]) -> Floats:
    """`one` part of the repetitions after the other."""
    found = []
    for start in range(0, n, PART):
        found.append(one(min(PART, n - start)))
        tick()
    return np.concatenate(found)


def equal_models(n: int, rng: np.random.Generator, tick: Callable[[], None]) -> Iterator[Row]:
    for snapshots in (1, 8):
        for rho in (0.0, 0.4):
            world = World(0.65, 0.65, rho, snapshots)
            named = f"equal, 0.65, rho {rho}, {snapshots} a pool, 1,000 pools"
            for loss in LOSSES:
                found = in_parts(
                    n, tick, lambda m, w=world, x=loss: first_promotion(draw(w, 1_000, m, rng).difference(x), ALPHA)
                )
                yield f"{named}: gate on {loss}, alpha 0.05, a look after every pool", share(found < NEVER)
        world = World(0.65, 0.65, 0.4, snapshots)
        found = in_parts(n, tick, lambda m, w=world: metric_gain(w, m, rng))
        yield f"equal, {snapshots} a pool: promote when the metric of 100 pools is >= the old one", share(found >= 0)
        found = in_parts(n, tick, lambda m, w=world: first_mcnemar(draw(w, 1_000, m, rng), 10))
        yield f"equal, {snapshots} a pool: McNemar on rows, again every 10 pools, 1,000 pools", share(found < NEVER)
    right = rng.random((100, n)) < 0.7
    yield (
        "70 % no rugs, always 'no rug': accuracy of at least 0.65 on 100 predictions",
        share(right.mean(axis=0) >= 0.65),
    )


def metric_gain(world: World, m: int, rng: np.random.Generator) -> Floats:
    """The gain in log loss over 100 pools, looked at once."""
    drawn = draw(world, 100, m, rng)
    return (drawn.log_champion - drawn.log_challenger).mean(axis=(0, 2))


def a_year(n: int, rng: np.random.Generator, tick: Callable[[], None]) -> Iterator[Row]:
    n_pools, weeks = 400, 52
    for snapshots, loss in ((1, "error"), (1, "log_loss"), (8, "error"), (8, "log_loss")):
        world = World(0.65, 0.65, 0.4, snapshots)
        ours, usual = np.zeros(n, bool), np.zeros(n, bool)
        for week in range(1, weeks + 1):
            difference = draw(world, n_pools, n, rng).difference(loss)
            ours |= first_promotion(difference, alpha_of(week)) < NEVER
            usual |= stats.ttest_1samp(difference, 0, axis=0, alternative="greater").pvalue < ALPHA
            tick()
        named = f"52 equal challengers of {n_pools} pools, {snapshots} a pool, {loss}"
        yield f"{named}: gate, 0.10 a year shared out", share(ours)
        yield f"{named}: t-test at 0.05 each", share(usual)


def better_models(n: int, rng: np.random.Generator, tick: Callable[[], None]) -> Iterator[Row]:
    for champion, challenger, rho in (
        (0.6, 0.7, 0.0), (0.6, 0.7, 0.4), (0.6, 0.7, 0.7), (0.5, 0.6, 0.4), (0.7, 0.8, 0.4), (0.8, 0.9, 0.4),
    ):  # fmt: skip
        for snapshots in (1, 8):
            world = World(champion, challenger, rho, snapshots)
            for loss in LOSSES:
                found = in_parts(
                    n, tick, lambda m, w=world, x=loss: first_promotion(draw(w, 1_000, m, rng).difference(x), ALPHA)
                )
                told = f"{share(found <= 300)} at 300, {share(found <= 1_000)} at 1,000, median {median(found)} pools"
                yield f"{champion} -> {challenger}, rho {rho}, {snapshots} a pool, {loss}, alpha 0.05", told
    world = World(0.6, 0.7, 0.4)
    found = in_parts(n, tick, lambda m: first_promotion(draw(world, 2_000, m, rng).difference("error"), alpha_of(1)))
    yield (
        "0.6 -> 0.7, rho 0.4, error, at a 52nd of a year's alpha",
        f"{share(found <= 1_000)} at 1,000, median {median(found)}",
    )
    worse = World(0.7, 0.6, 0.4)
    found = in_parts(n, tick, lambda m: first_promotion(draw(worse, 1_000, m, rng).difference("error"), ALPHA))
    yield "worse, 0.7 -> 0.6: gate promotes", share(found < NEVER)
    found = in_parts(n, tick, lambda m: first_promotion(-draw(worse, 1_000, m, rng).difference("error"), ALPHA))
    yield "worse, 0.7 -> 0.6: gate rejects", f"{share(found < NEVER)}, median {median(found)} pools"


def shares_of_alpha(n: int, rng: np.random.Generator, tick: Callable[[], None]) -> Iterator[Row]:
    """Pools until a challenger of 0.70 takes over from 0.60, mean over a year's challengers, by how it is shared."""
    ways: dict[str, Callable[[int], float]] = {
        "equal for 52, 10 % for all after": alpha_of,
        "1 / k^2": lambda k: YEARLY.yearly * 6 / np.pi**2 / k**2,
        "1 / k^1.1": lambda k: YEARLY.yearly / 10.5844 / k**1.1,
        "1 / (k ln^2(k + 1))": lambda k: YEARLY.yearly / 3.3878 / (k * np.log(k + 1) ** 2),
        "halved each time": lambda k: YEARLY.yearly / 2**k,
    }
    difference = draw(World(0.6, 0.7, 0.4), 3_000, min(n, 200), rng).difference("error")
    for name, way in ways.items():
        told = []
        for year in (12, 52, 104):
            numbers = np.unique(np.linspace(1, year, 12).astype(int))
            found = [np.minimum(first_promotion(difference, max(way(int(k)), 1e-12)), 3_000).mean() for k in numbers]
            told.append(f"{year} a year: {np.mean(found):.0f}")
            tick()
        yield name, "   ".join(told)


def in_charge(n: int, rng: np.random.Generator, tick: Callable[[], None]) -> Iterator[Row]:
    for rho in (0.0, 0.4, 0.7):
        for loss in LOSSES:
            found = in_parts(n, tick, lambda m, r=rho, x=loss: rolled_back(World(0.7, 0.7, r), 2_000, m, x, rng))
            yield f"healthy, 0.70 after 0.70, rho {rho}, {loss}: gate at 0.01, 2,000 outcomes", share(found < NEVER)
    found = in_parts(n, tick, lambda m: first_below(draw(World(0.7, 0.7), 2_000, m, rng), 100, 0.65))
    yield "healthy, 0.70: roll back when below 0.65 over the last 100, 2,000 outcomes", share(found < NEVER)
    for snapshots in (1, 8):
        for rho in (0.0, 0.4, 0.7):
            broken = World(0.7, 0.5, rho, snapshots, challenger_says=0.7)
            for loss in LOSSES:
                found = in_parts(n, tick, lambda m, w=broken, x=loss: rolled_back(w, 1_000, m, x, rng))
                yield f"broken, 0.70 -> 0.50, rho {rho}, {snapshots} a pool, {loss}: gate at 0.01", quartiles(found)
    found = in_parts(n, tick, lambda m: first_below(draw(World(0.7, 0.5), 1_000, m, rng), 100, 0.65))
    yield "broken, 0.70 -> 0.50: below 0.65 over the last 100", quartiles(found)
    for named, accuracy in (
        ("mild, 0.70 -> 0.64 at once", 0.64),
        ("sliding, 0.70 -> 0.50 over 1,000 outcomes", np.linspace(0.7, 0.5, 1_000)),
    ):
        path = np.concatenate([np.broadcast_to(accuracy, 1_000), np.full(3_000, np.broadcast_to(accuracy, 1_000)[-1])])
        world = World(0.7, path, 0.4)
        found = in_parts(n, tick, lambda m, w=world: rolled_back(w, 4_000, m, "error", rng))
        yield f"{named}, rho 0.4, error: gate at 0.01", quartiles(found)
    better_then_broken = World(0.7, np.concatenate([np.full(1_000, 0.75), np.full(3_000, 0.5)]), 0.4)
    for named, spec in (("HARM", HARM), ("without late money", BETTER)):
        found = in_parts(n, tick, lambda m, s=spec: rolled_back(better_then_broken, 4_000, m, "error", rng, s))
        yield f"better (0.75) for 1,000 outcomes, then broken: gate at 0.01, {named}", quartiles(found - 1_000)


def rolled_back(world: World, n_pools: int, m: int, loss: Loss, rng: np.random.Generator, spec=HARM) -> Floats:
    """Pools until the new model (the world's challenger) loses its office to the former one."""
    return first_promotion(-draw(world, n_pools, m, rng).difference(loss), HARM_ALPHA, spec, is_mirrored=False)


def traps(n: int, rng: np.random.Generator, tick: Callable[[], None]) -> Iterator[Row]:
    for an_hour in (5, 20, 80):
        both = in_parts(n, tick, lambda m, k=an_hour: _early(k, m, rng)).reshape(-1, 2)
        named = f"equal in all, better on rugs, {an_hour} pools an hour"
        yield f"{named}: in order of the end of the whole window", share(both[:, 0] < NEVER)
        yield f"{named}: in order of label_known_at", share(both[:, 1] < NEVER)
    for common in (0.0, 0.02, 0.05, 0.2):
        both = in_parts(n, tick, lambda m, c=common: _shocked(c, m, rng)).reshape(-1, 2)
        named = f"equal, 20 pools an hour, {common:.0%} of what decides them common to the hour"
        yield f"{named}: the pool as the unit", share(both[:, 0] < NEVER)
        yield f"{named}: the hour as the unit", share(both[:, 1] < NEVER)


def _early(an_hour: int, m: int, rng: np.random.Generator) -> Floats:
    whole, known = early_rugs(max(48, 2_000 // an_hour), an_hour, m, rng)
    return np.stack([first_promotion(whole[:2_000], ALPHA), first_promotion(known[:2_000], ALPHA)], axis=1).ravel()


def _shocked(common: float, m: int, rng: np.random.Generator) -> Floats:
    difference = shared_shocks(50, 20, common, m, rng)
    hours = difference.reshape(50, 20, m).mean(axis=1)
    return np.stack([first_promotion(difference, ALPHA), first_promotion(hours, ALPHA)], axis=1).ravel()


def share(is_so) -> str:
    """A share of repetitions with its standard error."""
    p = float(np.mean(is_so))
    return f"{100 * p:.1f} % (+- {100 * np.sqrt(p * (1 - p) / len(is_so)):.1f})"


def median(found: Floats) -> str:
    middle = np.quantile(found, 0.5, method="inverted_cdf")
    return "never" if middle == NEVER else f"{middle:.0f}"


def quartiles(found: Floats) -> str:
    """Median and quartiles of the time, and how often it came at all."""
    low, middle, high = np.quantile(found, [0.25, 0.5, 0.75], method="inverted_cdf")
    return f"median {middle:.0f} outcomes ({low:.0f} to {high:.0f}), {100 * np.mean(found < NEVER):.1f} % in all"


SECTIONS: dict[str, Section] = {
    "False promotions": equal_models,
    "A year": a_year,
    "Better and worse challengers": better_models,
    "Ways to share a year's alpha: pools to promote a good one": shares_of_alpha,
    "In charge: rollbacks": in_charge,
    "Traps": traps,
}


if __name__ == "__main__":
    main()
