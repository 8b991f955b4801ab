"""QLib set up once, for one provider or another, and its recorder on a tracking server of ours."""

import sqlite3
import sys
from pathlib import Path

import pytest
from returns_market import made_market, write_provider

from pipeline.errors import InputError
from pipeline.models.returns.qlib_session import Tracking, qlib_data, record, recorded, start_qlib

pytestmark = pytest.mark.slow


def closes(name: str = "eth-0000") -> list[float]:
    found = qlib_data().features([name], ["$close", "Mean($close,3)"], freq="60min")
    return found["$close"].tolist()


def test_another_provider_is_read_and_not_what_is_left_of_the_first(tmp_path: Path) -> None:
    here = write_provider(made_market(n_pools=2, n_hours=40, seed=1).bars, tmp_path / "here")
    there = write_provider(made_market(n_pools=2, n_hours=40, seed=2).bars, tmp_path / "there")
    start_qlib(here)
    first = closes()
    start_qlib(there)
    second = closes()
    start_qlib(here)
    assert closes() == pytest.approx(first, nan_ok=True)
    assert len(first) != len(second) or first != pytest.approx(second, nan_ok=True)


def test_the_same_provider_again_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import qlib

    here = write_provider(made_market(n_pools=2, n_hours=40, seed=1).bars, tmp_path / "here")
    start_qlib(here)
    monkeypatch.setattr(qlib, "init", lambda **_: pytest.fail("set up again"))
    start_qlib(here)
    start_qlib()


def test_a_link_is_read_as_what_it_leads_to_now(tmp_path: Path) -> None:
    link, through = tmp_path / "bins", []
    for seed in (1, 2):
        link.unlink(missing_ok=True)
        link.symlink_to(write_provider(made_market(n_pools=2, n_hours=40, seed=seed).bars, tmp_path / f"export{seed}"))
        start_qlib(link)
        through.append(closes())
    for seed in (1, 2):
        start_qlib(tmp_path / f"export{seed}")
        assert closes() == pytest.approx(through[seed - 1], nan_ok=True)


def test_a_directory_that_is_no_provider_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="export bins first"):
        start_qlib(tmp_path / "nothing")


def test_the_interpreters_hook_stays_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def own(*_: object) -> None: ...

    monkeypatch.setattr(sys, "excepthook", own)
    start_qlib(write_provider(made_market(n_pools=2, n_hours=40).bars, tmp_path / "here"))
    assert sys.excepthook is own


def test_the_recorder_writes_to_the_tracking_server_and_only_when_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = tmp_path / "mlflow.db"
    tracking = Tracking(f"sqlite:///{database}", "returns-test")
    start_qlib(tracking=tracking)
    record({"kind": "nobody"}, {"lost": 1.0})
    with recorded(None, "nothing"):
        pass
    with recorded(tracking, "linear 1h"):
        record({"kind": "linear"}, {"rank_ic": 0.25})
    with pytest.raises(ZeroDivisionError), recorded(tracking, "broken"):
        1 / 0  # noqa: B018
    with sqlite3.connect(database) as db:
        runs = dict(db.execute("select name, status from runs").fetchall())
        assert runs == {"linear 1h": "FINISHED", "broken": "FAILED"}
        assert db.execute("select key, value from metrics").fetchall() == [("rank_ic", 0.25)]
        assert ("kind", "linear") in db.execute("select key, value from params").fetchall()
    assert [path.name for path in tmp_path.iterdir() if path.name == "mlruns"] == []
