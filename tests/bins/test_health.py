"""A sound directory is told to be sound; each damage is found where it is, and nothing else is called an error."""

import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.bins.health import check
from pipeline.bins.health.check import HealthReport, check_bins
from pipeline.bins.health.files import Folder
from pipeline.bins.health.panel import Panel, panel_of
from pipeline.bins.health.spec import FINDING_SCHEMA, PROBLEMS, HealthSpec
from pipeline.errors import InputError, UsageError
from tests.bins.provider_damages import DAMAGES, PRICES, A, B, C
from tests.bins.sound_provider import FIELDS, FIRST, RANGES, Provider, at, sound_provider, walk


def checked(made: Provider, **spec: object) -> HealthReport:
    return check_bins(made.root, made.freq, HealthSpec(**spec))  # type: ignore[arg-type]


def errors(report: HealthReport) -> set[str]:
    return set(report.problems.filter(pl.col("severity") == "error")["problem"])


def rows(report: HealthReport, problem: str) -> list[dict[str, object]]:
    return report.problems.filter(pl.col("problem") == problem).to_dicts()


def test_a_sound_directory_has_gaps_and_nothing_else(tmp_path: Path) -> None:
    report = checked(sound_provider(tmp_path / "q"))
    found = report.problems.select("severity", "problem", "instrument", "field", "time", "n", "value").rows()
    assert found == [("info", "gap", name, None, at(first + 20), 3, 3.0) for name, (first, _) in RANGES.items()]
    assert (report.worst, report.is_healthy, report.n_instruments, report.n_files) == ("info", True, 3, 21)
    assert report.n_bytes == sum(path.stat().st_size for path in tmp_path.rglob("*.bin"))
    assert report.problems.schema == FINDING_SCHEMA


def test_a_sound_directory_of_days_is_sound_too_though_weekends_are_absent(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q", freq="day", step=timedelta(days=1))
    days = made.calendar.read_text().splitlines()
    worked = [day for day in days if datetime.fromisoformat(day).weekday() < 5]
    more = [f"{FIRST + timedelta(days=place):%Y-%m-%d}" for place in range(100, 200)]
    calendar = (worked + [day for day in more if datetime.fromisoformat(day).weekday() < 5])[:100]
    made.calendar.write_text("".join(f"{day}\n" for day in calendar))
    made.listed.write_text("".join(f"{n}\t{calendar[a]}\t{calendar[b - 1]}\n" for n, (a, b) in RANGES.items()))
    assert set(checked(made).problems["problem"]) == {"gap"}


@pytest.mark.parametrize("named", DAMAGES)
def test_each_damage_is_found_where_it_is_and_nothing_else_is_an_error(tmp_path: Path, named: str) -> None:
    problem, plant, instrument, field, time, n = DAMAGES[named]
    made = sound_provider(tmp_path / "q")
    plant(made)
    report = checked(made)
    found = {(row["instrument"], row["field"], row["time"], row["n"]) for row in rows(report, problem)}
    assert (instrument, field, time, n) in found
    is_error = PROBLEMS[problem].severity == "error"
    assert errors(report) == ({problem} if is_error else set())
    assert report.worst == PROBLEMS[problem].severity or not is_error


def test_every_problem_has_a_test_that_plants_it() -> None:
    ours = {name for name in PROBLEMS if name.startswith(("manifest", "map", "content"))}  # test_health_of_exports
    assert {damage.problem for damage in DAMAGES.values()} | ours | {"unreadable", "gap"} == set(PROBLEMS)


def test_a_directory_without_features_says_so_and_names_what_is_missing(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    shutil.rmtree(made.root / "features")
    assert errors(checked(made)) == {"unreadable", "listed_without_folder"}


def test_a_finding_counts_all_hits_and_tells_the_first_and_the_worst(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    for place, price in ((30, -1.0), (31, -5.0), (40, -2.0)):
        made.set(A, "low", place, price)
    (found,) = rows(checked(made), "non_positive_price")
    assert (found["instrument"], found["field"], found["time"], found["n"], found["value"]) == (
        A,
        "low",
        at(30),
        3,
        -5.0,
    )
    assert found["found"] == "3 bars, the lowest -5"


def test_a_price_that_leaves_its_bar_by_a_rounding_is_no_problem_and_by_more_it_is(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    high = made.numbers(A, "high")[31]
    made.set(A, "close", 30, np.nextafter(high, np.float32(np.inf)))
    assert errors(checked(made)) == set()
    made.set(A, "close", 30, high * np.float32(1 + 2**-20))
    assert errors(checked(made)) == {"price_outside_bar"}


def test_a_bar_whose_file_is_damaged_is_not_compared_with_the_others(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    found = made.numbers(C, "high")
    found[0], found[1:] = 39, found[1:] / 100
    made.put(C, "high", found)
    assert errors(checked(made)) == {"start_mismatch"}


def test_thresholds_and_severities_are_those_of_the_spec(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    made.set(A, "volume", 30, 6.0)
    assert rows(checked(made, volume_step=100), "large_step") == []
    assert rows(checked(made, price_step=0.001), "large_step") != []
    report = checked(made, volume_step=1.0, severities={"large_step": "error", "gap": "warning"})
    assert errors(report) == {"large_step"}
    assert {row["severity"] for row in rows(report, "gap")} == {"warning"}
    assert rows(checked(made, missing_share=0.01), "mostly_gaps") != []
    assert {row["field"] for row in rows(checked(made, stale_bars=2), "stale")} == set()


@pytest.mark.parametrize(
    "wrong",
    [{"severities": {"gapp": "info"}}, {"severities": {"gap": "fatal"}}, {"price_step": np.nan}, {"stale_bars": -1}],
)
def test_a_spec_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        HealthSpec(**wrong)  # type: ignore[arg-type]


def test_the_report_does_not_depend_on_how_much_is_looked_at_together(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    for named in ("high below low", "value missing", "one price over many bars", "odd column", "header negative"):
        DAMAGES[named].plant(made)
    whole, one_by_one = checked(made), checked(made, chunk_values=1)
    assert whole.problems.equals(one_by_one.problems)
    assert whole.problems.height > 8


def test_no_more_is_looked_at_together_than_the_spec_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counting(folders: Sequence[Folder]) -> Panel:
        panel = panel_of(folders)
        sizes.append(panel.n_rows * len(panel.values))
        return panel

    monkeypatch.setattr(check, "panel_of", counting)
    checked(sound_provider(tmp_path / "q"), chunk_values=7 * 130)
    assert sizes == [7 * 100, 7 * (60 + 60)]


def test_a_series_that_begins_elsewhere_is_looked_at_where_its_file_puts_it(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    found = made.numbers(B, "close")
    made.put(B, "close", np.append(np.array([found[0] + 2]), found[3:]))
    made.set(B, "close", 40, -1.0)
    report = checked(made)
    assert [row["time"] for row in rows(report, "non_positive_price")] == [at(40)]
    assert [(row["time"], row["n"]) for row in rows(report, "missing_value")] == [(at(10), 2)]


def test_of_two_folders_that_differ_in_case_the_one_qlib_reads_keeps_the_listed_name(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    DAMAGES["folder twice"].plant(made)
    made.set(B.upper(), "volume", 40, -1.0)
    assert [row["instrument"] for row in rows(checked(made), "negative_volume")] == [B.upper()]
    made.set(B, "volume", 40, -1.0)
    assert {row["instrument"] for row in rows(checked(made), "negative_volume")} == {B, B.upper()}


def test_a_column_that_is_absent_is_told_once(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    made.file(B, "factor").unlink()
    about_factor = checked(made).problems.filter(pl.col("field") == "factor")
    assert about_factor.select("problem", "instrument").rows() == [("missing_column", B)]


def test_steps_and_runs_do_not_cross_from_one_instrument_to_the_next(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    for name, scale in ((A, 1.0), (B, 1e6), (C, 1e-6)):
        for field in PRICES:
            found = made.numbers(name, field)
            found[1:] *= scale
            made.put(name, field, found)
    assert set(checked(made).problems["problem"]) == {"gap"}


def test_a_file_that_claims_to_be_huge_is_read_no_further_than_the_calendar(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    with made.file(A, "close").open("r+b") as file:
        file.truncate(2**40)
    report = checked(made)
    assert rows(report, "series_beyond_calendar")[0]["n"] == 2**38 - 1 - 100
    assert errors(report) == {"series_beyond_calendar"}


def test_two_freqs_share_a_list_whose_ranges_reach_as_far_as_the_longer(tmp_path: Path) -> None:
    made = sound_provider(tmp_path / "q")
    days = Provider(made.root, "day")
    days.calendar.write_text("2021-03-01\n2021-03-02\n2021-03-03\n")
    for field in FIELDS:
        days.put(B, field, np.array([0, *walk(3)[field]], np.float32))
    made.replace_line(made.listed, 1, f"{B}\t{at(0):%F %T}\t{at(69):%F %T}")
    assert (errors(checked(made)), checked(made).worst) == (set(), "info")
    report = checked(days)
    assert (errors(report), report.n_instruments, report.n_files) == (set(), 1, 7)


def test_what_is_no_provider_directory_and_what_is_no_freq_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("nowhere", "file", "empty"):
        with pytest.raises(InputError, match="directory"):
            check_bins(tmp_path / name, "60min")
    made = sound_provider(tmp_path / "q")
    for freq in ("day", "../60min", "60MIN", ""):
        with pytest.raises(UsageError, match="freq"):
            check_bins(made.root, freq)


def test_the_page_lists_every_problem_with_its_severity_and_meaning() -> None:
    page = (Path(__file__).parents[2] / "docs/bins-health.md").read_text()
    listed = [line for line in page.splitlines() if line.count("|") == 4 and "| `" in line]
    for name, problem in PROBLEMS.items():
        assert f"| `{name}` | {problem.severity} | {problem.meaning} |" in listed
