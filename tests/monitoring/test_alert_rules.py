"""The rule file: what it may say, and where it is wrong."""

import tomllib
from datetime import time, timedelta
from pathlib import Path

import pytest

from pipeline.errors import InputError, UsageError
from pipeline.monitoring.alerts.events import KINDS
from pipeline.monitoring.alerts.receivers import receivers_of, salt_of
from pipeline.monitoring.alerts.rule_file import parse_rules, read_rules
from pipeline.monitoring.alerts.rules import Quiet, Rules
from pipeline.monitoring.alerts.setup import AlertSetup
from resources.doors import doors
from resources.settings import Settings

EXAMPLE = Path(__file__).parents[2] / "docs" / "alert-rules.toml"


def test_the_example_in_the_docs_is_a_rule_file_and_uses_every_key() -> None:
    told = tomllib.loads(EXAMPLE.read_text())
    rules = read_rules(EXAMPLE)
    assert set(told) == {"limit_per_hour", "defaults", "rule", "quiet", "escalation"}
    assert {key for rule in told["rule"] for key in rule} == {"kind", "severity", "to", "dedup", "mute"}
    assert rules.treatment("promotion.promote").to == ("research",)
    assert rules.treatment("freshness.stale").dedup == timedelta(hours=12)
    assert rules.quiet[0] == Quiet(("mon", "tue", "wed", "thu", "fri"), time(22), time(7))
    assert rules.escalation.repeat == 3


def test_without_a_file_there_are_rules_all_the_same() -> None:
    assert read_rules(None) == Rules()
    assert all(Rules().treatment(kind).to == ("all",) for kind in KINDS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules = 1", "there is no key 'rules'"),
        ("limit_per_hour = 0", "key 'limit_per_hour': found 0; give a whole number from 1 to 1000"),
        ("limit_per_hour = true", "found True"),
        ("defaults = 3", "key 'defaults': found 3"),
        ("[defaults]\ndedup = 5", r"\[defaults\], key 'dedup': found 5; give a whole number above zero and a unit"),
        ("[defaults]\ndedup = '0h'", "found '0h'"),
        ("[defaults]\ndedup = '9999d'", "found '9999d'"),
        ("[defaults]\nto = []", r"found \[\]"),
        ("[defaults]\nto = ['Ops!']", "found .*Ops"),
        ("[defaults]\nkind = 'run.failed'", "there is no key 'kind'"),
        ("[[rule]]\nseverity = 'info'", r"\[\[rule\]\] no. 1, key 'kind': found ''"),
        ("[[rule]]\nkind = 'nonsense.*'", "found 'nonsense.*'; give a kind or a pattern"),
        (
            "[[rule]]\nkind = '*'\n[[rule]]\nkind = '*'\nseverity = 'loud'",
            r"no. 2, key 'severity': found 'loud'",
        ),
        ("[[rule]]\nkind = 'run.*'\nmute = 'yes'", "found 'yes'; give true or false"),
        ("[rule]\nkind = 'run.*'", r"one or more tables: \[\[rule\]\]"),
        ("[[quiet]]\nfrom = '22:00'", "key 'until': found None"),
        ("[[quiet]]\nfrom = '25:00'\nuntil = '07:00'", "found '25:00'; give a time of day in UTC"),
        ("[[quiet]]\nfrom = '07:00'\nuntil = '07:00'", "another time than `from`"),
        ("[[quiet]]\ndays = ['monday']\nfrom = '22:00'\nuntil = '07:00'", "found .*monday"),
        ("[escalation]\nrepeat = -1", "found -1"),
        ("[escalation]\nafter = '30'", "found '30'"),
        ("a = 1\nb = x", "is no TOML.*line 2"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_rules(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_or_is_no_text_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="POOLCAST_ALERT_RULES"):
        read_rules(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="could not read"):
        read_rules(tmp_path / "bytes.toml")


def test_the_first_rule_that_fits_decides_and_what_it_leaves_out_is_the_default() -> None:
    rules = parse_rules(
        {
            "defaults": {"dedup": "2h"},
            "rule": [{"kind": "promotion.r*", "severity": "critical"}, {"kind": "promotion.*", "to": ["quiet"]}],
        },
        "here",
    )
    assert rules.severity("promotion.reject", "info") == "critical"
    assert rules.treatment("promotion.reject").to == ("all",)
    assert rules.treatment("promotion.promote").to == ("quiet",)
    assert rules.treatment("promotion.promote").dedup == timedelta(hours=2)


SECRET = "slack://T1JJ3T3L2/A1BRTD4JD/verysecretverysecret/#general"  # noqa: S105 - of nobody


def test_a_receiver_is_named_without_giving_its_address_away(tmp_path: Path) -> None:
    salt = salt_of(tmp_path / "alerts")
    (found,) = receivers_of(SECRET, salt)
    assert found.name.startswith("slack:")
    assert "secret" not in repr(found)
    assert receivers_of(SECRET, salt_of(tmp_path / "alerts"))[0].name == found.name
    assert receivers_of(SECRET, b"another")[0].name != found.name
    assert (tmp_path / "alerts" / "salt").stat().st_mode & 0o077 == 0


def test_the_settings_read_both_variables_and_show_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLCAST_ALERTS_TO", SECRET)
    monkeypatch.setenv("POOLCAST_ALERT_RULES", "rules.toml")
    settings = Settings.from_environment()
    assert settings.alerts_to == SECRET
    assert settings.alert_rules == Path.cwd() / "rules.toml"
    assert "secret" not in repr(settings)
    assert "secret" not in repr(AlertSetup(Path("here"), None, SECRET))
    assert "secret" not in repr(doors(settings))


def test_addresses_may_be_parted_by_spaces_or_commas_and_hold_commas_themselves() -> None:
    told = f"ops+night={SECRET},  mailto://u:p@host?to=a@b.example,c@d.example\n\tESCALATE=json://host/x,"
    found = receivers_of(told, b"s")
    assert [each.url for each in found] == [SECRET, "mailto://u:p@host?to=a@b.example,c@d.example", "json://host/x"]
    assert [set(each.tags) for each in found] == [{"ops", "night"}, set(), {"escalate"}]
    assert receivers_of("  ", b"s") == ()


@pytest.mark.parametrize("told", ["verysecret", f"{SECRET} verysecret@host", "verysecret://"])
def test_what_is_no_address_is_refused_without_being_shown(told: str) -> None:
    with pytest.raises(UsageError, match="POOLCAST_ALERTS_TO") as caught:
        receivers_of(told if told != f"{SECRET} verysecret@host" else f"x {SECRET}", b"s")
    assert "secret" not in str(caught.value).replace("it may be secret", "")


def test_a_file_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / "rules.toml"
    deep.write_text("a=" + "[" * 100_000)
    with pytest.raises(InputError, match="nested too deeply"):
        read_rules(deep)


def test_a_word_that_is_no_address_does_not_become_part_of_the_one_before_it() -> None:
    with pytest.raises(UsageError, match="number 3 of 3"):
        receivers_of("json://one.example, mailto://two.example?to=a,b nonsense", b"salt")


@pytest.mark.parametrize("between", [" ", ", ", " , ", "\n"])
def test_of_two_that_are_named_the_second_is_told_to_be_no_address(between: str) -> None:
    with pytest.raises(UsageError, match="number 2 of 2 is no address"):
        receivers_of(f"json://127.0.0.1:9/x{between}ops+night", b"salt")
