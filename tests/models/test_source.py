"""Which source a model learns from."""

import pytest

from pipeline.errors import UsageError
from pipeline.models.source import choose_source


def test_two_real_sources_are_never_mixed_nor_guessed_between() -> None:
    with pytest.raises(UsageError, match="name one"):
        choose_source({"geckoterminal", "recording:a"})


def test_a_simulation_is_not_learned_from_unless_it_is_named() -> None:
    with pytest.raises(UsageError, match="simulation only when it is named"):
        choose_source({"simulation:7"})


def test_a_source_that_is_not_there_is_named_in_the_error() -> None:
    with pytest.raises(UsageError, match="recording:b"):
        choose_source({"recording:a"}, "recording:b")
