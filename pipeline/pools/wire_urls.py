"""What an answer's address says that its body does not: the pool that was asked about, and the bars.

Belongs here: taking addresses apart. Stays out: making them (`answer`).
"""

from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import polars as pl

_POOL: Final = r"/networks/([^/?#]+)/pools/([^/?#]+)/"
_FIVE_MINUTES: Final = ("minute", "5")


def with_asked_pool(answers: pl.DataFrame) -> pl.DataFrame:
    """The answers with the `url_network` and the `pool` that their address names, null where it names none."""
    named = [_pool_of(url) for url in answers["url"].str.extract_groups(_POOL)]
    return answers.with_columns(
        pl.Series("url_network", [network for network, _ in named], pl.String),
        pl.Series("pool", [pool for _, pool in named], pl.String),
    )


def currency_of_bars(url: str) -> str | None:
    """What the prices of five-minute bars of a base token are in, `usd` or `quote`; None for every other address.

    >>> currency_of_bars("https://x/networks/eth/pools/0xa/ohlcv/minute?aggregate=5&currency=token&token=base")
    'quote'
    >>> currency_of_bars("https://x/networks/eth/pools/0xa/ohlcv/minute?aggregate=5")
    'usd'
    >>> currency_of_bars("https://x/networks/eth/pools/0xa/ohlcv/hour?aggregate=1")
    """
    try:
        address = urlsplit(url)
        asked = {name: values[-1] for name, values in parse_qs(address.query).items()}
    except ValueError:
        return None
    bars = (address.path.rpartition("/")[2], asked.get("aggregate", "1"))
    if bars != _FIVE_MINUTES or asked.get("token", "base") != "base":
        return None
    return {"token": "quote", "usd": "usd"}.get(asked.get("currency", "usd"))


def _pool_of(found: dict[str, str | None]) -> tuple[str | None, str | None]:
    network, pool = found.values()
    return network and unquote(network), pool and unquote(pool)
