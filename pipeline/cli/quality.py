"""`poolcast quality`: is the data sound.

Belongs here: arguments, and reports on the screen. Names and values of a file are anybody's text: shown, never
interpreted.
"""

import typer

from pipeline.cli.quality_docs import docs
from pipeline.cli.quality_quarantine import quarantine
from pipeline.cli.quality_report import report

quality = typer.Typer(no_args_is_help=True, help="Quality: is the data sound, and what was put aside.")


@quality.callback()
def _quality() -> None:
    """Quality: is the data sound, and what was put aside."""


quality.command("report")(report)
quality.add_typer(quarantine, name="quarantine")
quality.command("docs")(docs)
