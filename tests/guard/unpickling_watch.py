"""Runs commands of ours, one after the other in this process, and reports what any of them unpickled of another's.

`python unpickling_watch.py PLANTED DATA_DIR`: PLANTED is a file whose unpickling makes a file beside it.
"""

import json
import sys
import traceback

from typer.testing import CliRunner

FOUND: list[str] = []


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "pickle.find_class":
        FOUND.append(f"{arguments[0]}.{arguments[1]}")


def commands(planted: str, folder: str) -> list[list[str]]:
    return [
        ["status"],
        ["lake", "status"],
        ["lake", "sql", "SELECT count(*) FROM pools"],
        ["alerts", "list"],
        ["alerts", "rules"],
        ["quality", "report", planted],
        ["quality", "quarantine", "list"],
        ["drift", "compare", planted, planted, "--group", "pool"],
        ["gate", "sequential", planted],
        ["gate", "offline", planted],
        ["evaluate", planted],
        ["models", "compare", planted, planted],
        ["features", "compute", planted, "-o", f"{folder}/out.parquet"],
        ["labels", "compute", planted, "-o", f"{folder}/out.parquet"],
        ["bins", "check", "--qlib-dir", f"{folder}/qlib/planted"],
        ["bins", "describe", "--qlib-dir", f"{folder}/qlib/planted"],
        ["bins", "export", planted, "--qlib-dir", f"{folder}/bins"],
        ["recordings", "describe", f"{folder}/recordings/planted"],
        ["recordings", "import", f"{folder}/recordings/planted"],
        ["predictions", "query"],
        ["promotion", "history"],
    ]


def main(planted: str, folder: str) -> None:
    """Every command with the planted file as its input, and as whatever it finds in the data folder."""
    from pipeline.cli import app
    from pipeline.errors import PoolcastError

    told = {}
    for command in commands(planted, folder):
        FOUND.clear()
        result = CliRunner().invoke(app, command, env={"POOLCAST_DATA_DIR": folder})
        error = result.exception
        if error is not None and not isinstance(error, PoolcastError | SystemExit | OSError):
            FOUND.append("".join(traceback.format_exception(error))[-2_000:])
        told[" ".join(command[:2])] = [result.exit_code, *dict.fromkeys(FOUND)]
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    sys.addaudithook(watch)
    main(*sys.argv[1:])
