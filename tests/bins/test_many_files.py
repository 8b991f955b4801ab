"""Work on many small files by a few threads: all of it is done, or what failed is raised and the rest is left."""

import time

import pytest

from pipeline.bins.files import each


def test_every_item_is_worked_on_once() -> None:
    done: list[int] = []
    each(done.append, range(1_000))
    assert sorted(done) == list(range(1_000))


def test_after_an_error_nothing_more_is_begun() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 0:
            raise OSError("the disk is gone")
        time.sleep(1e-4)
        done.append(item)

    with pytest.raises(OSError, match="the disk is gone"):
        each(work, range(20_000))
    assert len(done) < 10_000
