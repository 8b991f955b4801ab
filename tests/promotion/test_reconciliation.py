"""The registry follows the ledger, whatever died on the way: against a real MLflow store on PostgreSQL."""

from contextlib import suppress
from itertools import count

import polars as pl
import pytest
from training_runs import AT, a_ledger, a_run, model_file, with_row

from pipeline.errors import RegistryError, UsageError
from pipeline.lake import Lake
from pipeline.promotion.moves import Move, Moves, why_not
from pipeline.promotion.reconciliation import differences, reconcile
from pipeline.promotion.standing import ALIASES
from pipeline.tables import DEPLOYMENTS

pytestmark = pytest.mark.slow


class KilledError(Exception):
    """What a process that is killed does not get to handle."""


class Dying:
    """The registry in a process that is killed right before its n-th write."""

    WRITES = ("remember", "set_alias", "clear_alias", "tag")

    def __init__(self, registry, n: int) -> None:
        self.registry, self.left = registry, n
        self.killed_at: str | None = None

    def __getattr__(self, name):
        found = getattr(self.registry, name)
        if name not in self.WRITES:
            return found

        def write(*args, **named):
            if self.left == 0:
                self.killed_at = name
                raise KilledError
            self.left -= 1
            return found(*args, **named)

        return write


@pytest.fixture
def three(registry, model_name):
    return [registry.register(a_run(seed, model_name)) for seed in range(3)]


def page(registry, model_name) -> tuple:
    """Everything the registry says that follows the ledger."""
    pointers = registry.pointers(model_name)
    tags = {v.version: {n: v.tags.get(n) for n in ("standing", "evidence")} for v in registry.versions(model_name)}
    return dict(pointers.aliases), pointers.ledger_head, tags


def test_every_alias_follows_the_ledger_and_pages_say_who_stands_where(registry, model_name, three):
    one, two, third = three
    ledger = with_row(with_row(a_ledger(model_name, one, two), third, "challenge"), third, "shadow")
    assert reconcile(registry, ledger, model_name) == "moved"
    aliases, head, tags = page(registry, model_name)
    assert aliases == {"champion": 2, "former": 1, "shadow": 3}
    assert head == ledger["row_hash"][-1]
    assert tags[1] == {"standing": "former since 2020-11-01 00:00 UTC", "evidence": "promote by test: because"}
    assert tags[3] == {"standing": "shadow since 2020-11-01 00:00 UTC", "evidence": "shadow by test: because shadow"}
    assert reconcile(registry, ledger, model_name) == "agreed"
    back = with_row(ledger, one, "rollback")
    assert reconcile(registry, back, model_name) == "moved"
    aliases, _, tags = page(registry, model_name)
    assert aliases == {"champion": 1}
    assert tags[2] == {"standing": "barred", "evidence": "rollback by test: because rollback"}
    assert tags[3]["standing"] == "stands nowhere"


def test_a_persons_word_is_remembered_as_a_move_is(registry, model_name, three):
    ledger = with_row(a_ledger(model_name, three[0]), three[1], "veto")
    reconcile(registry, ledger, model_name)
    assert page(registry, model_name)[2][2]["standing"] == "vetoed"
    with pytest.raises(RegistryError, match="remembers"):
        reconcile(registry, ledger.head(1), model_name)


def test_aliases_and_tags_set_by_hand_are_put_right_and_a_persons_own_alias_is_left_alone(registry, model_name, three):
    ledger = a_ledger(model_name, three[0], three[1])
    reconcile(registry, ledger, model_name)
    said = page(registry, model_name)
    for alias, version in (("champion", 3), ("shadow", 3), ("challenger", 1), ("former", 2)):
        registry.set_alias(model_name, alias, version)
    registry.tag(model_name, 3, "standing", "champion, honestly")
    registry.tag(model_name, 2, "standing", None)
    registry.set_alias(model_name, "mine", 3)
    assert reconcile(registry, ledger, model_name) == "moved"
    assert page(registry, model_name)[0].pop("mine") == 3
    registry.clear_alias(model_name, "mine")
    assert page(registry, model_name) == said


def test_killed_before_any_write_the_next_reconciliation_ends_in_the_same_state(registry, model_name, three):
    one, two, _ = three
    start = with_row(a_ledger(model_name, one), two, "shadow")
    moves = {
        "promote": with_row(start, two, "promote"),
        "rollback": with_row(with_row(start, two, "promote"), one, "rollback"),
    }
    for action, ledger in moves.items():
        before = ledger.head(ledger.height - 1)
        reconcile(registry, ledger, model_name)
        wanted, killed_at = page(registry, model_name), []
        for n in count():
            undone(registry, model_name, before)
            dying = Dying(registry, n)
            with suppress(KilledError):
                reconcile(dying, ledger, model_name)
            killed_at.append(dying.killed_at)
            assert registry.champion(model_name) in (one, two), f"{action}, killed before write {n}"
            assert reconcile(registry, ledger, model_name) == "moved"
            assert page(registry, model_name) == wanted, f"{action}, killed before write {n}"
            if killed_at.count("tag") == 2:  # the others are no different
                break
        assert killed_at[:2] == ["remember", "set_alias"]
        assert "clear_alias" in killed_at
        undone(registry, model_name, start)


def undone(registry, model_name, ledger) -> None:
    """Put the registry where it was before a move: only a test may, by forgetting the head."""
    if not ledger.is_empty():
        registry.remember(model_name, ledger["row_hash"][-1])
    reconcile(registry, ledger, model_name)


def test_a_lost_file_stops_every_alias_until_a_person_vetoes_it_away(registry, model_name, three, tmp_path):
    one, two, _ = three
    ledger = a_ledger(model_name, one)
    reconcile(registry, ledger, model_name)
    ledger = with_row(ledger, two, "shadow")
    model_file(tmp_path, a_run(1, model_name).model_bytes).unlink()
    for _ in range(2):
        with pytest.raises(RegistryError, match="loaded"):
            reconcile(registry, ledger, model_name)
    assert page(registry, model_name)[0] == {"champion": 1}
    assert reconcile(registry, with_row(ledger, two, "veto"), model_name) == "moved"
    assert page(registry, model_name)[0] == {"champion": 1}


def a_move(version, action: str = "promote", **other) -> Move:
    return Move(version.model_name, action, version.version, version.model_sha256, "gate", "because", **other)


def test_a_move_is_a_row_and_an_alias_and_none_is_made_on_an_outdated_look(registry, model_name, three, tmp_path):
    one, two, third = three
    moves = Moves(Lake(tmp_path / "artifacts" / "lake"), registry)
    looked = moves.reconciled(model_name)
    stands = moves.move(a_move(one), at=AT, given=looked)
    assert stands is not None
    assert (stands, registry.champion(model_name)) == (moves.standing(model_name), one)
    assert moves.move(a_move(two), at=AT, given=looked) is None
    assert moves.ledger().height == 1
    moves.move(a_move(two), at=AT, given=stands)
    assert page(registry, model_name)[0] == {"champion": 2, "former": 1}
    assert why_not(moves.standing(model_name), a_move(third, approval="required")).startswith("its rule asks")
    assert why_not(moves.standing(model_name), a_move(third)) == ""
    with pytest.raises(UsageError, match="in charge already"):
        moves.move(a_move(two), at=AT)
    assert moves.ledger().height == 2


def test_killed_between_the_ledger_and_the_registry_the_next_mover_catches_up(registry, model_name, three, tmp_path):
    one, two, _ = three
    lake = Lake(tmp_path / "artifacts" / "lake")
    Moves(lake, registry).move(a_move(one), at=AT)
    with pytest.raises(KilledError):
        Moves(lake, Dying(registry, 0)).move(a_move(two), at=AT)
    assert registry.champion(model_name) == one
    assert differences(registry, lake.scan(DEPLOYMENTS).collect(), model_name).to_set.keys() == {"champion", "former"}
    assert Moves(lake, registry).reconciled(model_name).champion.version == 2
    assert registry.champion(model_name) == two


def test_a_registry_that_has_never_heard_of_a_model_agrees_with_an_empty_ledger(registry, model_name):
    empty: pl.DataFrame = DEPLOYMENTS.empty()
    assert reconcile(registry, empty, model_name) == "none"
    registry.register(a_run(model_name=model_name))
    for alias in ALIASES:
        registry.set_alias(model_name, alias, 1)
    assert reconcile(registry, empty, model_name) == "removed"
    assert page(registry, model_name)[0] == {}
