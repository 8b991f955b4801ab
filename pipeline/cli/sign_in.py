"""`poolcast sign-in`: lines for POOLCAST_SIGN_IN.

Belongs here: asking for a password without showing it. Stays out: what a line is (`pipeline.guard.sign_in`).
"""

import sys
from typing import Annotated

import typer

from pipeline.cli.screen import err, out

sign_in = typer.Typer(no_args_is_help=True, help="Who may come in: lines for POOLCAST_SIGN_IN.")


@sign_in.callback()
def sign_in_commands() -> None:
    """Keep `hash` a command of its own, though it is the only one."""


@sign_in.command("hash")
def hash_command(
    name: Annotated[str, typer.Argument(help="The name to sign in with.")],
) -> None:
    """Print a name's line, from a password that is asked for twice, or read from standard input where it is a pipe.

    Nothing is kept: put the line into POOLCAST_SIGN_IN, or into a file whose path you put there.
    """
    from pipeline.guard.sign_in import Account

    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    line = Account.make(name, password).written()
    out.print(line, markup=False, soft_wrap=True)
    err.print("Set POOLCAST_SIGN_IN to this line, or to the path of a file that holds it.", markup=False)
