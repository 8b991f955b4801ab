"""`poolcast promotion`: who is in charge and why, whether the record of it is sound, and a person's word on it.

Belongs here: arguments, exit statuses, and how a command reaches the registry without a server. Stays out: how
standings are shown (`promotion_status`), and what a word does (`pipeline.promotion.human`).
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.promotion_status import comparisons_table, mute_of, standings_table, told_of, words_on
from pipeline.cli.rows import print_wide
from pipeline.cli.screen import AsJson, DataDir, as_written, err, lake_of, out, print_json, settings_there, user_name
from pipeline.errors import RegistryAwayError, ServiceError, TransientError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.promotion.audit import Finding
    from pipeline.promotion.human import Said, Word
    from pipeline.promotion.registry import Registry
    from resources.settings import Settings

promotion = typer.Typer(no_args_is_help=True, help="Promotion: who is in charge and why, and a person's word on it.")

_STYLES: Final = {"sound": "green", "broken": "bold red", "unchecked": "yellow"}

Model = Annotated[str, typer.Option("--model", help="The registered model.")]
AnyModel = Annotated[str | None, typer.Option("--model", help="Only this registered model.")]
ModelName = Annotated[str, typer.Argument(metavar="[MODEL]", help="The registered model.")]
Version = Annotated[int, typer.Argument(help="A version in the registry.", min=1)]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the ledger for good.")]
_OUTCOME: Final = "pool-outcome"


@promotion.command("status")
def status(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Say who stands where since when and why, of every model, after checking the ledger's hash chain.

    Also who cannot be asked any more, because a feature that it takes has changed: of versions whose file is in the
    cache, where those are that predict.

    A chain shows any row that was changed, moved or slipped in. That its end was cut off shows only against the
    registry: `poolcast promotion audit`.
    """
    from pipeline.promotion.standing import standing
    from pipeline.tables import COMPARISONS, DEPLOYMENTS

    settings = settings_there(data_dir)
    lake = lake_of(settings)
    ledger = lake.scan(DEPLOYMENTS).sort("sequence").collect()
    stands = {name: standing(ledger, name) for name in sorted(set(ledger["model_name"]))}
    mute = {name: mute_of(settings.model_cache, name, each) for name, each in stands.items()}
    compared = lake.scan(COMPARISONS).sort("known_at", "challenger_version", "opponent").collect()
    if as_json:
        told = {name: {**told_of(each), "cannot_be_asked": mute[name]} for name, each in stands.items()}
        print_json({"deployments": ledger.to_dicts(), "comparisons": compared.to_dicts(), "standings": told})
        return
    if not stands:
        out.print("Nobody is in charge.")
    else:
        print_wide(standings_table(stands, {row["sequence"]: row for row in ledger.iter_rows(named=True)}))
    pins = {row["model_name"]: row for row in ledger.iter_rows(named=True) if row["action"] == "pin"}
    for name, each in stands.items():
        for line in words_on(each, pins.get(name), mute[name]):
            out.print(f"{name}: {line}", markup=False)
    if compared.height:
        print_wide(comparisons_table(compared.to_dicts()))


@promotion.command("history")
def history(model: AnyModel = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Print the ledger row by row, after checking its hash chain."""
    import polars as pl

    from pipeline.promotion.chain import verify
    from pipeline.tables import DEPLOYMENTS

    ledger = lake_of(settings_there(data_dir)).scan(DEPLOYMENTS).sort("sequence").collect()
    verify(ledger)
    if model is not None:
        _require_known(model, ledger["model_name"])
    rows = ledger if model is None else ledger.filter(pl.col("model_name") == model)
    if as_json:
        print_json(rows.to_dicts())
        return
    if rows.is_empty():
        out.print("Nothing has moved yet.")
        return
    shown = RichTable("row", "when, UTC", "model", "what", "version", "before", "by", "why", box=None, pad_edge=False)
    for row in rows.iter_rows(named=True):
        cells = (f"{row['known_at']:%Y-%m-%d %H:%M}", row["model_name"], row["action"], row["version"])
        last = (row["previous_version"], row["actor"], row["reason"])
        shown.add_row(*map(as_written, (row["sequence"], *cells, *last)))
    print_wide(shown)


@promotion.command("audit")
def audit_command(
    is_offline: Annotated[
        bool, typer.Option("--offline", help="Leave the registry out: only the tables are looked at.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Check everything that can be checked: chain, rules, evidence, and the registry's aliases, head and files.

    Exit status: 0 sound; 1 something is broken, or the registry could not be looked at though nobody said --offline.
    """
    from pipeline.promotion.audit import audit
    from pipeline.promotion.spec import OUTCOME, RETURN

    settings, models = settings_there(data_dir), (OUTCOME.model_name, RETURN.model_name)
    lake = lake_of(settings)
    if is_offline:
        found = audit(lake, None, models=models, why_not="--offline was asked for")
    else:
        with reached(settings) as (registry, why_not):
            found = audit(lake, registry, models=models, why_not=why_not)
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        _show_findings(found)
    is_left_out = not is_offline and any(each.state == "unchecked" for each in found)
    sys.exit(1 if is_left_out or any(each.state == "broken" for each in found) else 0)


@promotion.command("reconcile")
def reconcile_command(model: AnyModel = None, data_dir: DataDir = None) -> None:
    """Make the registry's aliases agree with the ledger now, as `poolcast up` and every training do."""
    from pipeline.promotion.moves import Moves

    settings = settings_there(data_dir)
    ledger = Moves(lake_of(settings), None).ledger()["model_name"]
    models = [model] if model else sorted(set(ledger))
    if not models:
        out.print("Nothing has moved yet.")
        return
    with reached(settings) as (registry, why_not):
        if registry is None:
            raise RegistryAwayError(f"reconciled {models!r}: the registry cannot be reached: {why_not}")
        moves = Moves(lake_of(settings), registry)
        for name in models:
            pointers = registry.pointers(name)
            if not (pointers.aliases or registry.versions(name)):
                _require_known(name, ledger)
            moves.reconciled(name)
            if pointers.aliases and pointers.ledger_head is None:
                err.print(Text("The registry remembered no row: the ledger was taken for whole as it is.", "yellow"))
            out.print(f"The registry agrees with the ledger on {name}.", markup=False)


@promotion.command("approve")
def approve(version: Version, reason: Reason, model: Model = _OUTCOME, data_dir: DataDir = None) -> None:
    """Approve a version, after its file was found to be what it should be: it may take charge, or return."""
    _say("approve", model, version, reason, data_dir)


@promotion.command("veto")
def veto(version: Version, reason: Reason, model: Model = _OUTCOME, data_dir: DataDir = None) -> None:
    """Veto a version: it never takes charge, and loses whatever place it has. To remove the champion, roll back."""
    _say("veto", model, version, reason, data_dir)


@promotion.command("pin")
def pin(reason: Reason, model: ModelName = _OUTCOME, data_dir: DataDir = None) -> None:
    """Pin a model at its champion: nothing moves by itself until somebody unpins it."""
    _say("pin", model, None, reason, data_dir)


@promotion.command("unpin")
def unpin(reason: Reason, model: ModelName = _OUTCOME, data_dir: DataDir = None) -> None:
    """Let a pinned model move again."""
    _say("unpin", model, None, reason, data_dir)


@promotion.command("rollback")
def rollback(
    reason: Reason,
    to: Annotated[
        int | None, typer.Option(help="The version to put in charge again; else the one before.", min=1)
    ] = None,
    model: Model = _OUTCOME,
    data_dir: DataDir = None,
) -> None:
    """Throw the champion out and put an earlier one in charge. The one thrown out stays out until it is approved."""
    _say("rollback", model, to, reason, data_dir)


def _say(word: "Word", model: str, version: int | None, reason: str, data_dir: "Path | None") -> None:
    from pipeline.calendars import SystemClock
    from pipeline.promotion.human import say
    from pipeline.promotion.moves import Moves

    settings = settings_there(data_dir)
    with reached(settings) as (registry, why_not):
        if registry is None or not registry.versions(model):
            _require_known(model, Moves(lake_of(settings), None).ledger()["model_name"])
        said = say(
            lake_of(settings),
            registry,
            word,
            model_name=model,
            version=version,
            user=user_name(),
            reason=reason,
            at=SystemClock().now(),
            why_not=why_not,
        )
    _show_said(word, model, said)
    sys.exit(1 if said.is_broken else 0)


def _show_said(word: str, model: str, said: "Said") -> None:
    out.print(f"{word}: version {said.version} of {model}. It is written in the ledger.", markup=False)
    champion = said.standing.champion
    who = f"Version {champion.version}" if champion else "Nobody"
    out.print(f"{who} is in charge{', pinned' if said.standing.pinned else ''}.", markup=False)
    if said.is_broken:
        err.print(Text(f"The registry does not agree, and will not by itself: {said.pending}", style="red"))
    elif said.pending:
        out.print(f"The aliases follow at the next reconciliation: {said.pending}", markup=False)


@contextmanager
def reached(settings: "Settings") -> Iterator[tuple["Registry | None", str]]:
    """The registry for the length of a block, or None and why it cannot be reached.

    It is reached through its database, so that `poolcast up` need not run; the embedded server is started if it has to
    be, but never made: where there is none yet, there is no registry.
    """
    from pipeline.promotion.registry import Registry
    from resources.migrations import require_migrated
    from resources.postgres import postgres

    with ExitStack() as held:
        registry, why_not = None, ""
        try:
            uri = settings.tracking_uri
            if uri is None:
                if settings.postgres_url is None and not settings.postgres_dir.exists():
                    raise ServiceError(f"there is none yet under {str(settings.data_dir)!r}")
                databases = held.enter_context(postgres(settings))
                require_migrated(settings, databases)  # MLflow would change an older database on the spot
                uri = databases.mlflow_url
            found = Registry(uri, settings.mlflow_artifacts)
            found.pointers(_OUTCOME)
            registry = found
        except (ServiceError, TransientError) as error:
            why_not = str(error)
        yield registry, why_not


def _require_known(model: str, told_of: Iterable[str]) -> None:
    """Raise UsageError for a model that is neither ours nor one that the ledger tells of: most likely mistyped."""
    from pipeline.promotion.spec import OUTCOME, RETURN

    known = {OUTCOME.model_name, RETURN.model_name, *told_of}
    if model not in known:
        raise UsageError(f"nobody knows a model {model!r}; known are {sorted(known)!r}")


def _show_findings(found: "list[Finding]") -> None:
    shown = RichTable("check", "model", "found", "what", box=None, pad_edge=False)
    for each in found:
        state = Text(each.state, style=_STYLES[each.state])
        shown.add_row(each.check, as_written(each.model_name or "all"), state, as_written(each.told))
    out.print(shown)
