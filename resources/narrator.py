"""What a person at the terminal is told while a run works."""

import logging

import dagster as dg
from rich.console import Console
from rich.markup import escape

from pipeline.text import spelled


class Narrator(logging.Handler):
    """Prints what a person wants to follow: steps that begin and end, and what the assets log."""

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(stderr=True, highlight=False)

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
        elif event.is_step_start:
            self.console.print(f"[bold]{escape(str(event.step_key))}[/]")
        elif event.is_step_success:
            self.console.print(f"    [green]done[/] in {event.step_success_data.duration_ms / 1000:.1f} s")
        elif event.is_step_failure:
            self.console.print("    [red]failed[/]")


@dg.logger(config_schema=None, description="Tells a person at the terminal what is going on.")
def narrator(_context: dg.InitLoggerContext) -> logging.Logger:
    """The logger of a run that somebody is watching."""
    logger = logging.Logger("poolcast.narrator", level=logging.DEBUG)
    logger.addHandler(Narrator())
    return logger
