"""The constant-product market maker of the simulated market.

Belongs here: what a swap and a change of liquidity do to two reserves (x * y = k, the fee kept in the pool; Uniswap v2,
Adams, Zinsmeister & Robinson 2020). Stays out: who trades, and why.
"""

import math
from dataclasses import dataclass


@dataclass
class Reserves:
    """The two reserves of one pool while it lives, in whole tokens.

    >>> pool = Reserves(base=100.0, quote=10.0, fee=0.0)
    >>> pool.buy(10.0)
    >>> (pool.base, pool.quote)
    (50.0, 20.0)
    """

    base: float
    quote: float
    fee: float

    @property
    def log_price(self) -> float:
        """Natural logarithm of the base token's price in quote tokens."""
        return math.log(self.quote / self.base)

    def buy(self, quote_in: float) -> None:
        """Swap `quote_in` quote tokens for base tokens."""
        paid = quote_in * (1.0 - self.fee)
        self.base *= self.quote / (self.quote + paid)
        self.quote += quote_in

    def sell(self, base_in: float) -> None:
        """Swap `base_in` base tokens for quote tokens."""
        paid = base_in * (1.0 - self.fee)
        self.quote *= self.base / (self.base + paid)
        self.base += base_in

    def withdraw(self, share: float) -> None:
        """Take `share` of the liquidity out of both sides; the price stays."""
        self.base *= 1.0 - share
        self.quote *= 1.0 - share
