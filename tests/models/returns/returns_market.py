"""A made market of bars whose predictable part is known, and a provider directory written by hand.

The directory is QLib's plain format: nothing of the exporter is used, so that the two are tested apart.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

START = datetime(2020, 9, 8, tzinfo=UTC)
FIELDS = ("open", "high", "low", "close", "volume", "vwap", "factor")
PERSISTENCE = 0.98


@dataclass(frozen=True)
class Made:
    """`bars`: instrument, event_time and FIELDS. `pools`: as `return_rows` takes them."""

    bars: pl.DataFrame
    pools: pl.DataFrame


def made_market(
    *, n_pools: int = 60, n_hours: int = 160, strength: float = 0.0, traded: float = 0.85, seed: int = 0
) -> Made:
    """Random walks with gaps, pools born over the first 70 % of the hours.

    A state s (AR(1), unit variance) moves the next hour's log return by `strength` times its deviation of 4 %, and
    shows in how far the volume-weighted price lies from the close. With `strength` 0 nothing can be forecast.
    """
    rng = np.random.default_rng(seed)
    bars, pools = [], []
    for i in range(n_pools):
        birth = int(rng.integers(0, int(n_hours * 0.7)))
        length = n_hours - birth
        state = ar1(rng, length)
        known = np.concatenate([[0.0], state[:-1]])
        step = 0.04 * (strength * known + np.sqrt(1 - min(strength, 1) ** 2) * rng.normal(size=length))
        close = np.exp(np.cumsum(step)) * 10.0 ** rng.uniform(-6, 2)
        at = np.flatnonzero((rng.random(length) < traded) | (np.arange(length) == 0))
        bars.append(_bars(f"eth-{i:04d}", birth + at, close[at], state[at], rng))
        pools.append((f"eth-{i:04d}", "eth", f"0x{i:04x}", f"t{i:04d}", START + timedelta(hours=birth, minutes=-1)))
    schema = {"instrument": pl.String, "network": pl.String, "pool": pl.String, "base_token": pl.String}
    frame = pl.DataFrame(pools, schema=schema | {"created_at": pl.Datetime("us", "UTC")}, orient="row")
    return Made(pl.concat(bars), frame)


def made_rows(
    *, n_pools: int = 90, n_hours: int = 150, n_noise: int = 6, rho: float = 0.0, seed: int = 0, horizon: int = 1
) -> pl.DataFrame:
    """Rows as `return_rows` gives them, without bars: returns whose correlation with the feature `signal` is `rho`.

    Pools are born over the first 80 % of the hours and decide every hour until the end.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for i in range(n_pools):
        birth = int(rng.integers(0, int(n_hours * 0.8)))
        n = n_hours - birth
        signal = ar1(rng, n, 0.5)
        noise = {f"noise_{k}": rng.normal(size=n) for k in range(n_noise)}
        change = {"change_1h": rng.normal(size=n), "change_24h": rng.normal(size=n)}
        times = [START + timedelta(hours=birth + h + 1) for h in range(n)]
        parts.append(
            pl.DataFrame(
                {
                    "instrument": f"eth-{i:04d}", "network": "eth", "pool": f"0x{i:04x}", "base_token": f"t{i:04d}",
                    "created_at": START + timedelta(hours=birth, minutes=-1), "event_time": times,
                    "signal": signal, **noise, **change,
                    f"return_{horizon}h": 0.05 * (rho * signal + np.sqrt(1 - rho**2) * rng.normal(size=n)),
                    f"label_end_{horizon}h": [t + timedelta(hours=1 + horizon) for t in times],
                }
            )
        )  # fmt: skip
    utc = pl.Datetime("us", "UTC")
    features = ["signal", *(f"noise_{k}" for k in range(n_noise)), "change_1h", "change_24h"]
    return pl.concat(parts).with_columns(
        pl.col("created_at", "event_time", f"label_end_{horizon}h").cast(utc), pl.col(features).cast(pl.Float32)
    )


def ar1(rng: np.random.Generator, n: int, persistence: float = PERSISTENCE) -> np.ndarray:
    """A stationary AR(1) of unit variance."""
    state = np.empty(n)
    state[0] = rng.normal()
    for t in range(1, n):
        state[t] = persistence * state[t - 1] + np.sqrt(1 - persistence**2) * rng.normal()
    return state


def _bars(name: str, hours: np.ndarray, close: np.ndarray, state: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    open_ = np.concatenate([close[:1], close[:-1]])
    return pl.DataFrame(
        {
            "instrument": name,
            "event_time": [START + timedelta(hours=int(h)) for h in hours],
            "open": open_,
            "high": np.maximum(open_, close) * (1 + 0.01 * rng.random(len(close))),
            "low": np.minimum(open_, close) * (1 - 0.01 * rng.random(len(close))),
            "close": close,
            "volume": rng.lognormal(size=len(close)),
            "vwap": close * np.exp(0.01 * state),
            "factor": 1.0,
        }
    ).with_columns(pl.col("event_time").cast(pl.Datetime("us", "UTC")))


def write_provider(bars: pl.DataFrame, directory: Path, *, until: datetime | None = None) -> Path:
    """The bars as a QLib directory; the calendar runs from the first bar to the last, or to `until`."""
    first, last = bars["event_time"].min(), until or bars["event_time"].max()
    calendar = pl.datetime_range(first, last, "1h", eager=True)
    for part in ("calendars", "instruments", "features"):
        (directory / part).mkdir(parents=True)
    lines = calendar.dt.strftime("%Y-%m-%d %H:%M:%S").to_list()
    (directory / "calendars/60min.txt").write_text("".join(f"{line}\n" for line in lines))
    listed = []
    for (name,), own in bars.sort("instrument", "event_time").group_by("instrument", maintain_order=True):
        at = ((own["event_time"] - first).dt.total_hours()).to_numpy()
        folder = directory / "features" / str(name)
        folder.mkdir()
        for field in FIELDS:
            series = np.full(at[-1] - at[0] + 2, np.nan, dtype="<f4")
            series[0] = at[0]
            series[1 + at - at[0]] = own[field].to_numpy()
            (folder / f"{field}.60min.bin").write_bytes(series.tobytes())
        listed.append(f"{name}\t{lines[at[0]]}\t{lines[at[-1]]}\n")
    (directory / "instruments/all.txt").write_text("".join(listed))
    return directory
