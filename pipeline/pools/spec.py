"""The constants of the pools stage; a change here changes the stage's code version.

Belongs here: what a credible record is, how long a candle is, what the simulated market is like as a whole.
Stays out: the habits of one simulated fate (`simulated_lives`), and where files lie (the resources).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.errors import UsageError


@dataclass(frozen=True)
class PoolsSpec:
    """How records are judged and candles are cut.

    `nominal_quote_price_usd` pairs a quote symbol with what one token is taken to be worth where the source
    ships no USD series: a stated constant, never an observation.
    """

    nominal_quote_price_usd: tuple[tuple[str, float], ...] = (("WETH", 375.0),)
    candle_minutes: int = 5
    max_text_length: int = 64
    max_address_length: int = 128
    max_decimals: int = 77
    """10^77 is the largest power of ten that fits the 256-bit integers tokens are counted in."""
    max_record_length: int = 2000


@dataclass(frozen=True)
class SimulationSpec:
    """The simulated market as a whole; each pool draws its fate by `fate_shares`, and its life from its own seed.

    Pools are born during the first `birth_days` of `days`, so that every planted fate happens before the end.

    Raises:
        UsageError: no pool, no room for the fates after the last birth, or shares that do not sum to one.
    """

    n_pools: int = 400
    start: str = "2024-03-01"
    days: int = 10
    birth_days: int = 8
    network: str = "simulated"
    dex: str = "simulated_amm"
    quote_symbol: str = "WETH"
    first_block: int = 19_300_000
    block_seconds: int = 12
    fee: float = 0.003
    fate_shares: tuple[tuple[str, float], ...] = (
        ("rug_pull", 0.12),
        ("slow_bleed", 0.12),
        ("pump", 0.10),
        ("healthy", 0.13),
        ("dud", 0.53),
    )

    def __post_init__(self) -> None:
        if not 1 <= self.n_pools <= 30_000:
            raise UsageError(f"a simulation holds 1 to 30,000 pools, asked for {self.n_pools!r}")
        if not 1 <= self.birth_days <= self.days - 2:
            raise UsageError(
                f"the last birth needs two days after it to meet its fate, found birth_days={self.birth_days!r} "
                f"of days={self.days!r}: lower birth_days or raise days"
            )
        total = sum(share for _, share in self.fate_shares)
        if abs(total - 1.0) > 1e-9:
            raise UsageError(f"the shares of the fates must sum to 1, found {total!r} in {self.fate_shares!r}")

    @property
    def start_at(self) -> datetime:
        """The first block's time, UTC midnight of `start`."""
        return datetime.fromisoformat(self.start).replace(tzinfo=UTC)

    @property
    def end_at(self) -> datetime:
        """The moment the market is watched up to, exclusive."""
        return self.start_at + timedelta(days=self.days)
