"""Whether anybody hears: tags that rules name and nobody carries are told, and what is critical is no success."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.alerts import alerts
from pipeline.monitoring.alerts.events import KINDS
from pipeline.monitoring.alerts.reach import Gap, gaps
from pipeline.monitoring.alerts.receivers import receivers_of
from pipeline.monitoring.alerts.rule_file import parse_rules, read_rules
from pipeline.monitoring.alerts.rules import Rules

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "alerts.md", ROOT / "docs" / "how-to" / "add-an-alert.md"]
TO_RESEARCH = {"rule": [{"kind": "promotion.r*", "to": ["research"]}]}


def gaps_of(told: dict[str, object], to: str) -> tuple[Gap, ...]:
    return gaps(parse_rules(told, "here"), receivers_of(to, b"salt"))


def test_a_tag_that_nobody_carries_is_told_with_what_nobody_hears_of() -> None:
    (gap,) = gaps_of(TO_RESEARCH, "ops=json://a")
    assert (gap.tag, gap.unheard, gap.is_critical) == ("research", ("promotion.rollback", "promotion.reject"), True)
    words = "no receiver carries the tag 'research': nobody hears of promotion.rollback, promotion.reject"
    assert gap.words == words
    assert gaps_of(TO_RESEARCH, "ops+research=json://a") == ()
    assert gaps_of(TO_RESEARCH, "json://a, research=json://b") == ()


def test_a_tag_beside_one_that_somebody_carries_costs_no_alert_and_is_told_all_the_same() -> None:
    (gap,) = gaps_of({"rule": [{"kind": "promotion.rollback", "to": ["ops", "research"]}]}, "ops=json://a")
    assert (gap.unheard, gap.is_critical) == ((), False)
    assert gap.words == "no receiver carries the tag 'research', which the rules name for promotion.rollback"


@pytest.mark.parametrize(
    ("rule", "is_critical"),
    [
        ({"kind": "promotion.promote", "to": ["research"]}, False),
        ({"kind": "promotion.promote", "to": ["research"], "severity": "critical"}, True),
        ({"kind": "promotion.rollback", "to": ["research"], "severity": "info"}, False),
    ],
)
def test_how_much_it_matters_is_what_the_rules_say(rule: dict[str, object], is_critical: bool) -> None:
    assert [gap.is_critical for gap in gaps_of({"rule": [rule]}, "ops=json://a")] == [is_critical]


def test_what_is_muted_is_meant_for_nobody() -> None:
    muted = {"kind": "promotion.rollback", "to": ["research"], "mute": True}
    assert gaps_of({"rule": [muted]}, "ops=json://a") == ()


def test_who_only_waits_for_escalations_hears_of_nothing_else() -> None:
    (gap,) = gaps(Rules(), receivers_of("escalate=json://a", b"salt"))
    assert (gap.tag, gap.unheard, gap.is_critical) == ("all", tuple(KINDS), True)
    assert gap.words.startswith("every receiver only waits for escalations: nobody hears of drift.harm, ")


def test_where_nobody_is_named_no_tag_is_missing() -> None:
    assert gaps_of(TO_RESEARCH, "") == ()


@pytest.fixture
def rule_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POOLCAST_DATA_DIR", str(tmp_path))
    path = tmp_path / "rules.toml"
    path.write_text("[[rule]]\nkind = 'promotion.*'\nto = ['research']\n")
    monkeypatch.setenv("POOLCAST_ALERT_RULES", str(path))
    monkeypatch.setenv("COLUMNS", "160")
    return path


def test_the_command_names_receivers_and_tags_and_fails_where_a_rollback_reaches_nobody(
    rule_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLCAST_ALERTS_TO", "ops=json://topsecret.example")
    done = CliRunner().invoke(alerts, ["rules"])
    assert done.exit_code == 1
    assert re.search(r"^Receiver json:[0-9a-f]{8}: ops$", done.stdout, re.MULTILINE)
    assert re.search(r"^promotion\.rollback +critical +research: nobody", done.stdout, re.MULTILINE)
    assert "Told when nobody acknowledges what is critical: nobody" in done.stdout
    assert "critical: no receiver carries the tag 'research': nobody hears of promotion.promote, " in done.stderr
    assert "topsecret" not in done.output
    monkeypatch.setenv("POOLCAST_ALERTS_TO", "ops+research=json://topsecret.example escalate=json://b.example")
    done = CliRunner().invoke(alerts, ["rules"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert re.search(r"what is critical: json:[0-9a-f]{8}$", done.stdout, re.MULTILINE)


def test_what_is_not_critical_is_a_warning_and_no_failure(rule_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule_file.write_text("[[rule]]\nkind = 'promotion.promote'\nto = ['research']\n")
    monkeypatch.setenv("POOLCAST_ALERTS_TO", "ops=json://a.example")
    done = CliRunner().invoke(alerts, ["rules"])
    assert done.exit_code == 0
    assert "warning: no receiver carries the tag 'research': nobody hears of promotion.promote" in done.stderr


def test_a_rule_file_can_be_checked_where_nobody_is_named(rule_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POOLCAST_ALERTS_TO", raising=False)
    monkeypatch.setenv("POOLCAST_DATA_DIR", str(rule_file.parent / "absent"))
    done = CliRunner().invoke(alerts, ["rules"])
    assert done.exit_code == 0
    assert "POOLCAST_ALERTS_TO names no receiver" in done.stdout
    assert not (rule_file.parent / "absent").exists()


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_the_receivers_of_the_pages_carry_the_tags_of_the_example(page: Path) -> None:
    (to,) = re.findall(r'^ *export POOLCAST_ALERTS_TO="(.+)"$', page.read_text(), re.MULTILINE)
    rules = read_rules(ROOT / "docs" / "alert-rules.toml")
    assert gaps(rules, receivers_of(to, b"salt")) == ()
    assert any(receiver.is_meant(rules.escalation.to) for receiver in receivers_of(to, b"salt"))


def test_the_rule_file_that_the_how_to_names_is_there() -> None:
    (named,) = re.findall(r"^ *export POOLCAST_ALERT_RULES=(\S+)$", PAGES[1].read_text(), re.MULTILINE)
    assert read_rules(ROOT / named).per_kind
