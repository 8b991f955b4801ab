"""The daemon keeps the process with our code while nothing speaks against it, and no longer."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dagster import DagsterInstance, instance_for_test
from dagster._core.errors import DagsterUserCodeProcessError
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.constants import GrpcServerCommand

from resources.daemon import SteadyServers, _state

GRAPH = "import dagster as dg\n\n@dg.job\ndef nothing(): ...\n"


class Code:
    """A workspace of one file, and the processes that serve it."""

    def __init__(self, folder: Path, servers: SteadyServers, interpreter: str = sys.executable) -> None:
        self.file, self.servers = folder / "graph.py", servers
        target = LoadableTargetOrigin(
            executable_path=interpreter, python_file=str(self.file), working_directory=str(folder)
        )
        self.origin = ManagedGrpcPythonEnvCodeLocationOrigin(target, "code")

    def process(self) -> int:
        """The process that serves it after the daemon's minute."""
        self.servers.clear_all_grpc_endpoints()
        self.servers.get_grpc_endpoint(self.origin)
        return self._served_by().pid

    def kill(self) -> None:
        """End the process behind the daemon's back."""
        self._served_by().kill()
        self._served_by().wait()

    @contextmanager
    def hangs(self) -> Iterator[None]:
        """For a while the process answers nobody."""
        stopped = self._served_by()
        stopped.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            stopped.send_signal(signal.SIGCONT)

    def _served_by(self):  # type: ignore[no-untyped-def]  # Dagster's own
        return self.servers.get_grpc_server_entry(self.origin).process.server_process  # type: ignore[union-attr]


def serving(folder: Path, instance: DagsterInstance, longest_seconds: float) -> SteadyServers:
    return SteadyServers(
        folder / "workspace.yaml",
        longest_seconds,
        instance_ref=instance.get_ref(),
        server_command=GrpcServerCommand.API_GRPC,
        heartbeat_ttl=600,
        startup_timeout=120,
        wait_for_processes_on_shutdown=True,
    )


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    with instance_for_test(temp_dir=str(tmp_path)) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "code"
    made.mkdir()
    (made / "workspace.yaml").write_text("load_from: [python_file: graph.py]\n")
    (made / "graph.py").write_text(GRAPH)
    return made


def test_it_stays_while_the_code_does_and_goes_with_it(folder: Path, instance: DagsterInstance) -> None:
    with serving(folder, instance, 3600) as servers:
        code = Code(folder, servers)
        first = code.process()
        assert code.process() == first
        code.file.write_text(GRAPH.replace("nothing", "something"))
        second = code.process()
        assert second != first
        assert code.process() == second
        (folder / "package").mkdir()
        (folder / "package" / "__init__.py").touch()
        third = code.process()
        assert third != second
        code.kill()
        assert code.process() != third


def test_a_file_that_takes_the_place_of_another_is_noticed_by_its_size_too(folder: Path) -> None:
    before, file = _state(folder / "workspace.yaml"), folder / "graph.py"
    written = file.stat()
    file.write_text(f"{GRAPH}#")
    os.utime(file, ns=(written.st_atime_ns, written.st_mtime_ns))
    assert _state(folder / "workspace.yaml") != before


def test_a_process_that_did_not_start_is_tried_again(folder: Path, instance: DagsterInstance) -> None:
    with serving(folder, instance, 3600) as servers:
        interpreter = folder / "python"
        code = Code(folder, servers, str(interpreter))
        with pytest.raises(DagsterUserCodeProcessError, match="No such file"):
            code.process()
        interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        interpreter.chmod(0o755)
        assert code.process() == code.process()


@pytest.mark.slow
def test_a_process_that_hangs_is_not_waited_for_long(
    folder: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(folder, instance, 3600) as servers:
        code = Code(folder, servers)
        first = code.process()
        monkeypatch.setattr("resources.daemon._ANSWER_SECONDS", 1)
        with code.hangs():
            assert code.process() != first


def test_code_that_could_not_be_loaded_is_tried_again(
    folder: Path, instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{installed}:{os.environ.get('PYTHONPATH', '')}")
    (folder / "graph.py").write_text(f"import not_there_yet\n{GRAPH}")
    with serving(folder, instance, 3600) as servers:
        code = Code(folder, servers)
        first = code.process()
        (installed / "not_there_yet.py").touch()
        second = code.process()
        assert second != first
        assert code.process() == second


def test_after_an_hour_it_is_another(folder: Path, instance: DagsterInstance) -> None:
    with serving(folder, instance, 0.0) as servers:
        code = Code(folder, servers)
        assert code.process() != code.process()
