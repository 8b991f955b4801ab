from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from sklearn.metrics import cohen_kappa_score

from pipeline.errors import InputError
from pipeline.labels.agreement import agreement

T = datetime(2020, 10, 1, tzinfo=UTC)
OURS = [True, True, True, False, False, None, True]
THEIRS = [1.0, 1.0, 0.0, 1.0, 0.0, 1.0, None]
POOLS = [f"0x{i}" for i in range(7)]


def verdicts(rule: str = "life") -> pl.DataFrame:
    rug_at = [T + timedelta(hours=i) if is_rug else None for i, is_rug in enumerate(OURS)]
    return pl.DataFrame({"rule": [rule] * 7, "pool": POOLS, "is_rug": OURS, "rug_at": rug_at})


def set_a() -> pl.DataFrame:
    return pl.DataFrame({"pool": POOLS, "is_rugpull": THEIRS, "rug_time": [T.timestamp()] * 7})


def set_b() -> pl.DataFrame:
    return pl.DataFrame({"pool": [*POOLS[:5], "0xunknown"], "Label": [True] * 6})


def test_the_table_of_four_counts_what_both_sides_judged_and_says_what_they_did_not() -> None:
    row = agreement(verdicts(), set_a(), set_b()).row(0, named=True)
    four = [row[f"n_{cell}"] for cell in ("both", "ours_only", "theirs_only", "neither")]
    assert (row["label_set"], four) == ("a", [2, 1, 1, 1])
    assert (row["n_unjudged_ours"], row["n_unjudged_theirs"]) == (1, 1)
    assert row["agreement"] == pytest.approx(0.6)


def test_kappa_is_the_one_of_the_literature() -> None:
    judged = [(o, t == 1) for o, t in zip(OURS, THEIRS, strict=True) if o is not None and t is not None]
    expected = cohen_kappa_score(*zip(*judged, strict=True))
    assert agreement(verdicts(), set_a(), set_b())["kappa"][0] == pytest.approx(expected)


def test_the_lag_is_ours_minus_theirs_over_rugs_of_both() -> None:
    row = agreement(verdicts(), set_a(), set_b()).row(0, named=True)
    assert (row["n_lags"], row["lag_q50_hours"]) == (2, pytest.approx(0.5))


def test_a_pool_we_do_not_know_is_unjudged_and_constant_verdicts_give_kappa_zero() -> None:
    row = agreement(verdicts(), set_a(), set_b()).row(1, named=True)
    assert (row["label_set"], row["n_unjudged_ours"], row["n_lags"]) == ("b", 1, 0)
    assert (row["kappa"], row["lag_q50_hours"]) == (pytest.approx(0), None)


def test_two_sides_that_call_everything_a_rug_have_no_kappa() -> None:
    rugs = verdicts().with_columns(is_rug=pl.lit(value=True))
    assert agreement(rugs, set_a(), set_b())["kappa"].to_list()[1] is None


def test_each_rule_gets_its_own_row_and_a_pool_judged_twice_is_refused() -> None:
    both = pl.concat([verdicts("a rule"), verdicts("b rule")])
    assert agreement(both, set_a(), set_b())["rule"].to_list() == ["a rule", "b rule"] * 2
    with pytest.raises(InputError, match="judged twice"):
        agreement(pl.concat([verdicts(), verdicts()]), set_a(), set_b())
