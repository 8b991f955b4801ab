"""What a person at the terminal is told while a run works."""

import logging
from collections.abc import Collection

import dagster as dg
from rich.console import Console
from rich.markup import escape

from pipeline.text import spelled


class Narrator(logging.Handler):
    """Prints what a person wants to follow: assets that begin and end, what is logged, one line for checks in a row."""

    def __init__(self, assets: Collection[str] = ()) -> None:
        """Follow a run.

        Args:
            assets: the steps that make assets; every other step is a check. Without any, all are told alike.
        """
        super().__init__()
        self.console = Console(stderr=True, highlight=False)
        self._assets = assets
        self._is_checking = False

    def emit(self, record: logging.LogRecord) -> None:
        """One line for one thing worth knowing."""
        meta = getattr(record, "dagster_meta", {})
        event = meta.get("dagster_event")
        if event is None:
            told = str(meta.get("orig_message", record.getMessage()))
            # What waits for a failed step is named by the failure; twenty lines of it would hide that.
            if record.levelno >= logging.INFO and not told.startswith("Dependencies for step"):
                shown = "\n".join(spelled(line) for line in told.split("\n"))
                self.console.print(f"    {escape(shown)}")
        elif self._assets and event.step_key is not None and event.step_key not in self._assets:
            self._tell_check(event)
        else:
            self._tell_step(event)

    def _tell_step(self, event: dg.DagsterEvent) -> None:
        if event.is_step_start:
            self._is_checking = False
            self.console.print(f"[bold]{escape(str(event.step_key))}[/]")
        elif event.is_step_success:
            self.console.print(f"    [green]done[/] in {event.step_success_data.duration_ms / 1000:.1f} s")
        elif event.is_step_failure:
            self.console.print("    [red]failed[/]")

    def _tell_check(self, event: dg.DagsterEvent) -> None:
        """That there are some, and the name of one that stops the run, which says why."""
        if event.is_step_start and not self._is_checking:
            self._is_checking = True
            self.console.print("    checks")
        elif event.is_step_failure:
            self.console.print(f"    {escape(str(event.step_key))} [red]failed[/]")


@dg.logger(config_schema=None, description="Tells a person at the terminal what is going on.")
def narrator(context: dg.InitLoggerContext) -> logging.Logger:
    """The logger of a run that somebody is watching."""
    job = context.job_def
    assets = () if job is None else {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    logger = logging.Logger("poolcast.narrator", level=logging.DEBUG)
    logger.addHandler(Narrator(assets))
    return logger
