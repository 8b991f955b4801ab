"""Whatever anybody tries, in whatever order, the standing stays one that can be."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.errors import RegistryError, UsageError
from pipeline.promotion.chain import verify
from pipeline.promotion.ledger import current, next_deployment, trial_evidence
from pipeline.promotion.rules import WORDS, why_refused
from pipeline.promotion.standing import ALIAS_OF, ALIASES, Standing, after, standing
from pipeline.tables import DEPLOYMENTS

AT = datetime(2020, 11, 1, tzinfo=UTC)
NAME, OTHER = "pool-outcome", "pool-return"
TRIAL = trial_evidence("[]", alpha=0.05, k=1)
PERSON = "person:ada"


def sha(version: int) -> str:
    return f"{version:064x}"


def moved(ledger: pl.DataFrame, action: str, version: int, **other: Any) -> pl.DataFrame:
    """The ledger with one more row, by whoever usually does it."""
    told: dict[str, Any] = {
        "model_name": NAME,
        "action": action,
        "version": version,
        "model_sha256": sha(version),
        "actor": PERSON if action in WORDS else "gate",
        "reason": "because",
        "evidence": TRIAL if action == "shadow" else "[]",
        "at": AT + timedelta(hours=ledger.height),
    }
    return pl.concat([ledger, next_deployment(ledger, **{**told, **other})])


def told(*moves: tuple[str, int]) -> pl.DataFrame:
    ledger = DEPLOYMENTS.empty()
    for action, version in moves:
        ledger = moved(ledger, action, version)
    return ledger


def who(ledger: pl.DataFrame) -> dict[str, int]:
    return {str(alias): found.version for alias, found in standing(ledger, NAME).placed.items()}


def test_a_challenger_goes_from_waiting_through_its_trial_to_the_top():
    ledger = told(("promote", 1), ("challenge", 2))
    assert who(ledger) == {"champion": 1, "challenger": 2}
    ledger = moved(ledger, "shadow", 2)
    assert who(ledger) == {"champion": 1, "shadow": 2}
    ledger = moved(ledger, "promote", 2)
    assert who(ledger) == {"champion": 2, "former": 1}
    former = current(ledger, NAME, "former")
    assert former is not None
    assert (former.model_sha256, former.sequence, former.row_hash) == (sha(1), 4, ledger["row_hash"][3])


def test_a_trial_that_is_lost_leaves_nobody_in_the_shadow():
    ledger = told(("promote", 1), ("shadow", 2), ("reject", 2))
    assert who(ledger) == {"champion": 1}
    assert ledger["previous_version"].to_list() == [None, None, 2]


def test_who_is_thrown_out_stays_out_until_a_person_approves_it():
    ledger = told(("promote", 1), ("promote", 2), ("rollback", 1))
    found = standing(ledger, NAME)
    assert who(ledger) == {"champion": 1}
    assert (found.barred, found.cooling_since) == ({2}, ledger["known_at"][2])
    for action in ("promote", "challenge", "shadow"):
        with pytest.raises(UsageError, match="thrown out once"):
            moved(ledger, action, 2)
    again = moved(moved(ledger, "approve", 2), "promote", 2)
    assert who(again) == {"champion": 2, "former": 1}
    assert standing(moved(again, "rollback", 1), NAME).approved == frozenset()


def test_nobody_goes_back_to_one_that_never_was_in_charge_or_is_or_was_thrown_out():
    ledger = told(("promote", 1), ("promote", 2), ("promote", 3), ("rollback", 2))
    for version, why in ((9, "never was in charge"), (2, "in charge already"), (3, "thrown out once")):
        with pytest.raises(UsageError, match=why):
            moved(ledger, "rollback", version)
    assert who(moved(ledger, "rollback", 1)) == {"champion": 1}
    with pytest.raises(UsageError, match="nobody is in charge"):
        moved(DEPLOYMENTS.empty(), "rollback", 1)


@pytest.mark.parametrize(
    ("moves", "alias"),
    [
        ((("promote", 1), ("challenge", 2)), "challenger"),
        ((("promote", 1), ("shadow", 2)), "shadow"),
        ((("promote", 2), ("promote", 1)), "former"),
    ],
)
def test_a_veto_takes_the_place_away_and_lasts_until_the_same_version_is_approved(moves, alias):
    ledger = told(*moves)
    assert who(ledger)[alias] == 2
    ledger = moved(ledger, "veto", 2)
    assert who(ledger) == {"champion": 1}
    for action in ("promote", "challenge", "shadow"):
        with pytest.raises(UsageError, match="vetoed"):
            moved(ledger, action, 2)
    assert who(moved(moved(ledger, "approve", 2), "challenge", 2)) == {"champion": 1, "challenger": 2}


def test_the_champion_is_not_vetoed_but_rolled_back():
    with pytest.raises(UsageError, match="rollback"):
        moved(told(("promote", 1)), "veto", 1)


def test_a_pinned_model_moves_by_nobody_but_a_person():
    ledger = told(("promote", 1), ("promote", 2), ("shadow", 3), ("pin", 2))
    for action, version in (("promote", 3), ("reject", 3), ("challenge", 4), ("shadow", 4), ("rollback", 1)):
        with pytest.raises(UsageError, match="pinned"):
            moved(ledger, action, version)
    back = moved(ledger, "rollback", 1, actor=PERSON)
    assert who(back) == {"champion": 1}
    assert standing(back, NAME).pinned
    assert who(moved(moved(back, "unpin", 1), "promote", 4)) == {"champion": 4, "former": 1}


@pytest.mark.parametrize("actor", ["gate", "person:", "ada"])
@pytest.mark.parametrize("word", WORDS)
def test_a_persons_word_is_said_by_a_person(word, actor):
    with pytest.raises(UsageError, match="only a person"):
        moved(told(("promote", 1)), word, 1, actor=actor)


def test_where_approval_is_required_nobody_takes_charge_without_it():
    with pytest.raises(UsageError, match="approval"):
        moved(DEPLOYMENTS.empty(), "promote", 1, approval="required")
    approved = moved(DEPLOYMENTS.empty(), "approve", 1)
    assert who(approved) == {}
    assert who(moved(approved, "promote", 1, approval="required")) == {"champion": 1}


@pytest.mark.parametrize(
    "evidence", ["[]", "{}", '{"alpha":0.05}', '{"alpha":1.5,"k":1}', '{"alpha":0.05,"k":0}', '{"alpha":NaN,"k":1}']
)
def test_a_trial_says_what_it_may_cost_and_which_of_the_year_it_is(evidence):
    with pytest.raises(UsageError, match="alpha"):
        moved(told(("promote", 1)), "shadow", 2, evidence=evidence)


def test_one_version_is_one_file_for_good():
    ledger = told(("promote", 1), ("promote", 2))
    with pytest.raises(UsageError, match="knows its model file"):
        moved(ledger, "rollback", 1, model_sha256=sha(9))


def test_there_is_one_trial_at_a_time_and_it_ends_with_the_champion_it_is_against():
    ledger = told(("promote", 1), ("promote", 2), ("shadow", 3))
    with pytest.raises(UsageError, match="one trial at a time"):
        moved(ledger, "shadow", 4)
    with pytest.raises(UsageError, match="not on trial"):
        moved(ledger, "reject", 4)
    assert who(moved(ledger, "rollback", 1)) == {"champion": 1}
    assert who(moved(ledger, "promote", 4)) == {"champion": 4, "former": 2}


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "\x1b[2J", "\u202eabc", "\ud800"])
def test_a_reason_is_one_line_that_can_be_printed(text):
    with pytest.raises(UsageError, match="one line"):
        moved(DEPLOYMENTS.empty(), "promote", 1, reason=text)


def test_a_row_of_an_action_that_is_unknown_is_not_guessed_at():
    (row,) = told(("promote", 1)).to_dicts()
    with pytest.raises(RegistryError, match="newer poolcast"):
        after(Standing(), {**row, "action": "retire"})
    with pytest.raises(RegistryError, match="newer poolcast"):
        after(Standing(), {**row, "alias": "shadow"})


def test_a_page_says_where_a_version_stands_and_what_was_said_of_it():
    found = standing(told(("promote", 1), ("approve", 2), ("promote", 2), ("veto", 1)), NAME)
    assert found.of(2) == "champion since 2020-11-01 02:00 UTC, approved"
    assert (found.of(1), found.of(7)) == ("vetoed", "stands nowhere")


class Everybody(RuleBasedStateMachine):
    """Gates, sensors and people who try anything on two models, allowed or not."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = DEPLOYMENTS.empty()
        self.folded = {NAME: Standing(), OTHER: Standing()}
        self.before = dict(self.folded)
        self.last: dict[str, Any] | None = None

    @rule(
        model=st.sampled_from([NAME, NAME, NAME, OTHER]),
        action=st.sampled_from(sorted(ALIAS_OF)),
        version=st.integers(1, 4),
        actor=st.sampled_from(["gate", PERSON]),
        evidence=st.sampled_from([TRIAL, TRIAL, "[]"]),
        approval=st.sampled_from(["none", "none", "required"]),
    )
    def try_anything(self, model, action, version, actor, evidence, approval):
        told = {"model_name": model, "actor": actor, "evidence": evidence, "approval": approval}
        try:
            longer = moved(self.ledger, action, version, **told)
        except UsageError:
            return
        self.ledger, self.before = longer, dict(self.folded)
        self.last = {**longer.row(-1, named=True), "approval": approval}
        self.folded[model] = after(self.folded[model], self.last)

    @rule(data=st.data())
    def do_something_allowed(self, data):
        """Blind tries seldom get anywhere; so half the moves go through, and rules are tried where they matter."""
        asked = [
            (action, version, actor)
            for action in sorted(ALIAS_OF)
            for version in range(1, 5)
            for actor in ("gate", PERSON)
            if not why_refused(
                self.folded[NAME],
                action=action,
                version=version,
                model_sha256=sha(version),
                actor=actor,
                evidence=TRIAL,
            )
        ]
        action, version, actor = data.draw(st.sampled_from(asked))
        self.try_anything(NAME, action, version, actor, TRIAL, "none")

    @invariant()
    def what_one_is_told_row_by_row_is_what_the_ledger_says(self):
        for name, found in self.folded.items():
            assert standing(self.ledger, name) == found
        if self.last is not None:
            others = {NAME, OTHER} - {self.last["model_name"]}
            assert all(self.folded[name] == self.before[name] for name in others)

    @invariant()
    def there_is_one_champion_or_there_never_was_one(self):
        for name, found in self.folded.items():
            charges = self.ledger.filter(pl.col("model_name") == name, pl.col("alias") == "champion")
            assert (found.champion is None) == charges.is_empty()
            if found.champion is not None:
                assert found.champion.version == charges["version"][-1]
                assert found.champion.model_sha256 == sha(found.champion.version)

    @invariant()
    def nobody_stands_where_he_may_not(self):
        for found in self.folded.values():
            placed = {alias: deployed.version for alias, deployed in found.placed.items()}
            champion = placed.pop("champion", None)
            assert champion not in placed.values()
            assert champion is not None or not {"former", "shadow"} & placed.keys()
            assert placed.get("challenger", -1) != placed.get("shadow", -2)
            assert not ({champion, *placed.values()} & (found.vetoed | found.barred))
            assert not found.approved & (found.vetoed | found.barred)

    @precondition(lambda self: self.last is not None)
    @invariant()
    def the_last_row_was_allowed(self):
        assert self.last is not None
        before, row = self.before[self.last["model_name"]], self.last
        now = self.folded[row["model_name"]]
        is_person = row["actor"] == PERSON
        assert is_person or row["action"] not in WORDS
        if before.pinned and now.champion != before.champion:
            assert is_person
            assert row["action"] == "rollback"
        if row["action"] == "promote" and row["approval"] == "required":
            assert row["version"] in before.approved
        if before.pinned:
            assert row["action"] in {"rollback", "approve", "veto", "unpin"}
        if row["action"] == "shadow":
            assert row["evidence"] == TRIAL
            assert before.shadow is None
        if row["action"] == "rollback":
            assert before.champion is not None
            assert before.champion.version in now.barred
            assert row["version"] in before.reigned
            assert now.cooling_since == row["known_at"]
        if row["action"] in WORDS:
            assert now.champion == before.champion

    @precondition(lambda self: self.last is not None)
    @invariant()
    def everybody_else_stands_where_he_stood(self):
        """What each action does to each place, told once more in plain words, as sets of version numbers."""
        assert self.last is not None
        old, new = (
            {alias: (deployed := found.at(alias)) and deployed.version for alias in ALIASES}
            for found in (self.before[self.last["model_name"]], self.folded[self.last["model_name"]])
        )
        action, version = self.last["action"], self.last["version"]
        want = dict(old)
        if action in {"promote", "rollback"}:
            want |= {"champion": version, "shadow": None, "former": old["champion"] if action == "promote" else None}
        elif action in {"challenge", "shadow"}:
            want[ALIAS_OF[action]] = version
        elif action == "reject":
            want["shadow"] = None
        if action in {"promote", "rollback", "shadow"} and want["challenger"] == version:
            want["challenger"] = None
        if action == "veto":
            want = {alias: None if who == version else who for alias, who in want.items()}
        assert new == want

    @precondition(lambda self: self.last is not None)
    @invariant()
    def a_word_lasts_until_another(self):
        assert self.last is not None
        before, now = self.before[self.last["model_name"]], self.folded[self.last["model_name"]]
        action, one = self.last["action"], {self.last["version"]}
        thrown = {before.champion.version} if action == "rollback" and before.champion else set()
        gone = one if action == "approve" else set()
        assert now.vetoed == (before.vetoed | one if action == "veto" else before.vetoed - gone)
        assert now.barred == (before.barred | thrown) - gone
        said = before.approved | one if action == "approve" else before.approved - (one if action == "veto" else thrown)
        assert now.approved == said
        assert now.pinned == {"pin": True, "unpin": False}.get(action, before.pinned)

    def teardown(self):
        """After any number of rows it is the fold of those, and the chain is whole."""
        found = {NAME: Standing(), OTHER: Standing()}
        for n, row in enumerate(self.ledger.iter_rows(named=True), start=1):
            found[row["model_name"]] = after(found[row["model_name"]], row)
            assert standing(self.ledger.head(n), row["model_name"]) == found[row["model_name"]]
        verify(self.ledger)


Everybody.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestEverybody = Everybody.TestCase


def test_every_alias_and_every_action_has_its_place():
    assert set(ALIAS_OF.values()) - {"none"} < set(ALIASES)
    assert set(ALIAS_OF) == set(DEPLOYMENTS.column("action").values or ())
    assert set(ALIAS_OF.values()) == set(DEPLOYMENTS.column("alias").values or ())
