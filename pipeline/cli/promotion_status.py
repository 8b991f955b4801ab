"""What `poolcast promotion status` shows: standings, words on them, and comparisons.

Belongs here: tables and words. Stays out: the commands (`promotion`), and who stands where (`pipeline.promotion`).
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table as RichTable

from pipeline.cli.screen import as_written

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.promotion.standing import Standing

_WIDEST_WHY: Final = 72
"""Characters of a line of a reason; a longer one takes several, and none is cut."""


def told_of(stands: "Standing") -> dict[str, Any]:
    """A standing as JSON holds it."""
    told: dict[str, Any] = dict.fromkeys(("champion", "former", "shadow", "challenger"))
    told |= {alias: asdict(who) for alias, who in stands.placed.items()}
    lists = {name: sorted(getattr(stands, name)) for name in ("approved", "vetoed", "barred")}
    return {**told, **lists, "pinned": stands.pinned, "cooling_since": stands.cooling_since}


def standings_table(stands: "dict[str, Standing]", rows: dict[int, dict[str, Any]]) -> RichTable:
    """Who stands where since when and why; `rows` are the ledger's, by their sequence."""
    shown = RichTable("model", "stands as", "version", "since, UTC", "by", box=None, pad_edge=False)
    shown.add_column("why", max_width=_WIDEST_WHY)
    for name, each in stands.items():
        for alias, who in each.placed.items():
            row = rows[who.sequence]
            # A champion becomes the former one by the row of whoever came after it.
            why = row["reason"] if row["version"] == who.version else f"version {row['version']} took its place"
            cells = (alias, who.version, f"{who.known_at:%Y-%m-%d %H:%M}", row["actor"], why)
            shown.add_row(*map(as_written, (name, *cells)))
    return shown


def mute_of(cache_folder: "Path", model_name: str, stands: "Standing") -> dict[str, str]:
    """Alias -> why the version there cannot be asked any more, of those whose file is in the cache."""
    from pipeline.promotion.cache import kept_version
    from pipeline.promotion.spec import OUTCOME

    kept = {alias: kept_version(cache_folder, who) for alias, who in stands.placed.items()}
    if model_name != OUTCOME.model_name or not any(kept.values()):  # others are fed with bins, and asked for nothing
        return {}
    from pipeline.features.definitions import feature_definitions
    from pipeline.features.registry import feature_set_hash
    from pipeline.promotion.versions import Fed, why_mute

    fed = Fed(feature_set_hash(), feature_definitions())
    return {alias: why for alias, entry in kept.items() if entry is not None and (why := why_mute(entry, fed))}


def words_on(stands: "Standing", pin: dict[str, Any] | None, mute: dict[str, str]) -> Iterator[str]:
    """What a table of places does not show: a person's words, and who (by alias) cannot be asked any more.

    `pin` is the ledger's last row that pinned the model.
    """
    if stands.pinned and pin is not None:
        yield (
            f"pinned since {pin['known_at']:%Y-%m-%d %H:%M} UTC by {pin['actor']}: {pin['reason']}. Nothing moves by "
            "itself until `poolcast promotion unpin`."
        )
    if stands.cooling_since is not None:
        yield f"last rolled back at {stands.cooling_since:%Y-%m-%d %H:%M} UTC."
    for name in ("approved", "vetoed", "barred"):
        versions = sorted(getattr(stands, name))
        if versions:
            yield f"{name}: version {', '.join(map(str, versions))}."
    for alias, who in stands.placed.items():
        if alias in mute:
            yield f"version {who.version}, {alias}, cannot be asked any more: {mute[alias]}."


def comparisons_table(rows: list[dict[str, Any]]) -> RichTable:
    """Every comparison on record, a row each."""
    from pipeline.promotion.spec import OUTCOME, RETURN

    least = {spec.model_name: f"over {100 * spec.min_gain:g} %" for spec in (OUTCOME, RETURN)}
    names = ("model", "version", "against", "pools", "judged by", "gain", "95 % interval", "asked for", "passed")
    table = RichTable(*names, title="Comparisons; the unit is the pool, losses are means over pools")
    for row in rows:
        low, high = row["gain_low_pct"], row["gain_high_pct"]
        interval = "" if low is None or high is None else f"{low:.1f} to {high:.1f} %"
        gain, passed = f"{row['gain_pct']:.1f} %", "yes" if row["is_passed"] else "no"
        # Live, a wealth decides and the gain stands beside it; offline, today's rule asks for a gain.
        wealth = row["wealth_needed"]
        asked = f"a wealth of {wealth:,.0f}" if wealth is not None else least.get(row["model_name"], "")
        who = (row["model_name"], str(row["challenger_version"]), row["opponent"], f"{row['n_pools']:,}")
        table.add_row(*map(as_written, who), row["loss"].replace("_", " "), gain, interval, asked, passed)
    return table
