"""Like is compared with like, the reference stays, and a loss is up where it is more than days differ by."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.errors import UsageError
from pipeline.monitoring.drift.concept import cuts, stream
from pipeline.monitoring.drift.days import usual_auc, usual_js
from pipeline.monitoring.drift.harm import loss_up, with_losses
from pipeline.monitoring.drift.reference import (
    Learned,
    keep,
    kept,
    outcomes_known,
    place,
    reference_rows,
    require_names,
)
from pipeline.monitoring.drift.watch_spec import WatchSpec
from pipeline.monitoring.drift.windows import Ages, Births, at_ages, births, n_pools
from pipeline.tables import LABELS, OUTCOMES
from tests.predictions.prediction_rows import a_label, a_row, some_features

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AGES = Ages((1, 2, 4), 1)
SPEC = WatchSpec(n_resamples=499)


def seen(pool: str, born: datetime, *ages: float) -> list[dict[str, object]]:
    return [a_row(pool, born + age * HOUR, age_hours=age, reserve_usd=10 * age) for age in ages]


def test_a_pool_has_one_row_an_age_its_first_within_the_tolerance() -> None:
    rows = some_features(*seen("a", BEGIN, 0.5, 1.25, 1.5, 3.5, 4.75, 5.0, 9.0))
    chosen = at_ages(rows.lazy(), AGES).sort("event_time").collect()
    assert chosen.select("at_age", "age_hours").rows() == [(1, 1.25), (4, 4.75)]
    assert set(chosen["born"]) == {BEGIN}


def test_a_window_holds_pools_that_had_the_time_to_reach_every_age_and_no_others() -> None:
    now = BEGIN + 2 * DAY
    window = births(now, AGES, DAY, not_before=BEGIN - DAY, wait=timedelta(0))
    assert window == Births(now - DAY - 5 * HOUR, now - 5 * HOUR)
    born = {"too_young": now - 4 * HOUR, "young": window.until, "old": window.after + HOUR, "too_old": window.after}
    rows = some_features(*(row for pool, at in born.items() for row in seen(pool, at, 1, 2, 4)))
    chosen = at_ages(rows.lazy(), AGES, window).collect()
    assert set(chosen["pool"]) == {"young", "old"}
    assert set(chosen.group_by("pool").len()["len"]) == {3}
    learned_later = births(now, AGES, DAY, not_before=now - 10 * HOUR, wait=timedelta(0))
    assert learned_later.after == now - 10 * HOUR
    labelled = births(now, AGES, DAY, not_before=BEGIN - DAY, wait=DAY)
    assert labelled == Births(window.after - DAY, window.until - DAY)


def test_ages_that_are_not_of_the_first_hours_are_left_out() -> None:
    assert Ages((1, 2, 4, 8, 16), 1).up_to(4) == AGES
    assert Ages((8, 16), 1).up_to(4) == Ages((8,), 1)
    with pytest.raises(UsageError, match="rising"):
        Ages((2, 1), 1)


def learned(**other: object) -> Learned:
    told = {"model_name": "m", "version": 3, "model_sha256": "ab" * 32, "feature_names": ("reserve_usd", "age_hours"),
            "learned_until": BEGIN + 3 * DAY, "horizon_hours": 24}  # fmt: skip
    return Learned(**{**told, **other})  # type: ignore[arg-type]


def history() -> tuple[pl.LazyFrame, pl.DataFrame]:
    pools = [(f"p{number:02}", BEGIN + number * 2 * HOUR) for number in range(40)]
    features = some_features(*(row for pool, born in pools for row in seen(pool, born, 1, 2, 4)))
    labels = [a_label(pool, born + age * HOUR, 24, "RUG") for pool, born in pools for age in (1, 2, 4)]
    known = outcomes_known(pl.DataFrame(labels, schema=LABELS.schema).lazy(), 24, BEGIN + 3 * DAY)
    return features.lazy(), known


def test_the_reference_is_whole_pools_from_before_the_end_of_learning_whatever_became_of_them() -> None:
    features, outcomes = history()
    rows = reference_rows(features, outcomes, learned(), AGES, SPEC)
    assert rows["born"].max() == BEGIN + 66 * HOUR, "the last that was five hours old when learning ended"
    assert n_pools(rows) == 34
    assert rows.height == 3 * 34
    late = rows.filter(pl.col("event_time") > BEGIN + 2 * DAY)
    assert late["outcome"].null_count() == late.height > 0, "what came of them was not known yet"
    assert rows.filter(pl.col("event_time") <= BEGIN + 2 * DAY)["outcome"].null_count() == 0


def test_a_drawn_reference_is_the_same_each_time_and_another_model_draws_others() -> None:
    features, outcomes = history()
    few = WatchSpec(max_reference_pools=9)
    one, again = (reference_rows(features, outcomes, learned(), AGES, few) for _ in range(2))
    other = reference_rows(features, outcomes, learned(model_sha256="cd" * 32), AGES, few)
    assert n_pools(one) == 9
    assert one.equals(again)
    assert not one["pool"].equals(other["pool"])


def test_a_kept_reference_is_read_back_and_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    features, outcomes = history()
    rows = reference_rows(features, outcomes, learned(), AGES, SPEC)
    path = place(tmp_path / "drift", learned(), AGES, SPEC)
    assert kept(path) is None
    made = keep(path, rows)
    found = kept(path)
    assert found is not None
    assert found.reference_id == made.reference_id
    assert found.rows.equals(rows)
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    assert kept(path) is None
    assert not path.exists()
    assert keep(path, rows).reference_id == made.reference_id


def test_only_the_references_used_last_are_kept(tmp_path: Path) -> None:
    for number in range(7):
        keep(place(tmp_path, learned(model_sha256=f"{number:02}" * 32), AGES, SPEC), pl.DataFrame({"a": [number]}))
    assert len(list(tmp_path.glob("*.reference"))) == 4
    assert place(tmp_path, learned(), AGES, SPEC) != place(tmp_path, learned(), AGES.up_to(2), SPEC)


@pytest.mark.parametrize("name", ["</script>", "Volume", "volume usd", "volumé", "", "a-b"])
def test_a_name_that_is_none_of_ours_never_stands_on_a_page(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be shown"):
        require_names(["volume_1h_usd", name])


def losses(rng: np.random.Generator, n: int, mean: float, days: int = 8, mood: float = 0.0) -> pl.DataFrame:
    day = np.arange(n) % days
    loss = rng.gamma(2.0, mean / 2, n) + mood * rng.normal(size=days)[day]
    born = [BEGIN + int(number) * DAY for number in day]
    pools = [f"{mean}-{number}" for number in range(n)]
    return pl.DataFrame({"network": "eth", "pool": pools, "born": born, "loss": loss})


def test_a_loss_that_went_up_is_harm_and_one_that_did_not_is_none() -> None:
    rng = np.random.default_rng(1)
    before = losses(rng, 400, 0.8)
    worse = loss_up(before, losses(rng, 100, 1.4, days=1), SPEC, 1)
    assert worse.is_up
    assert worse.increase_low is not None
    assert 0 < worse.increase_low < 0.6
    assert worse.p_value == 1 / 500
    assert loss_up(before, losses(rng, 100, 0.82, days=1), SPEC, 1).is_up is False
    assert loss_up(before, losses(rng, 100, 0.4, days=1), SPEC, 1).is_up is False
    assert loss_up(before, losses(rng, 10, 9.0), SPEC, 1).is_up is None


def test_with_no_change_a_loss_is_called_up_as_rarely_as_promised() -> None:
    rng, spec = np.random.default_rng(2), WatchSpec(n_resamples=199, min_days=1_000, min_increase=0.0)
    found = [loss_up(losses(rng, 120, 0.8), losses(rng, 30, 0.8), spec, seed) for seed in range(300)]
    assert sum(one.is_up is True for one in found) <= 9, "1 % of 300, with slack"


def test_a_day_no_worse_than_days_of_the_reference_were_is_no_harm() -> None:
    """Pools of one day share its mood: permuting pools alone calls nearly every second day worse."""
    rng = np.random.default_rng(3)
    found = [
        loss_up(losses(rng, 400, 0.8, mood=0.5), losses(rng, 100, 0.8, days=1, mood=0.5), SPEC, s) for s in range(40)
    ]
    certain = [one.p_value is not None and one.p_value <= 0.01 for one in found]
    assert sum(certain) >= 10
    assert sum(one.is_up is True for one in found) <= sum(certain) / 2


def test_the_estimated_loss_is_the_entropy_of_what_is_said() -> None:
    p = {f"p_{outcome}": [0.0, 1 / 7] for outcome in OUTCOMES} | {"p_RUG": [1.0, 1 / 7]}
    assert with_losses(pl.DataFrame(p), None)["loss"].round(6).to_list() == [0.0, round(float(np.log(7)), 6)]
    told = with_losses(pl.DataFrame(p | {"label": ["RUG", None]}), "label")
    assert told["loss"].to_list() == [0.0]


def errors(values: np.ndarray) -> pl.DataFrame:
    at = [BEGIN + number * HOUR for number in range(len(values))]
    pools = [f"{number}" for number in range(len(values))]
    return stream(pl.DataFrame({"network": "eth", "pool": pools, "matured_at": at, "loss": values}))


def test_a_change_of_the_mean_loss_is_cut_where_it_was_with_its_means_before_and_after() -> None:
    rng = np.random.default_rng(4)
    told = errors(np.concatenate([rng.gamma(2, 0.3, 600), rng.gamma(2, 0.9, 400)]))
    (cut,) = cuts(told, SPEC)[:1]
    assert cut.is_up
    assert BEGIN + 600 * HOUR < cut.at < BEGIN + 700 * HOUR
    assert cut.before == pytest.approx(0.6, abs=0.1)
    assert abs(cut.changed_at - (BEGIN + 600 * HOUR)) < 20 * HOUR
    assert cut.after == pytest.approx(1.8, abs=0.2)


def test_a_stream_without_change_is_hardly_ever_cut() -> None:
    rng = np.random.default_rng(5)
    assert sum(len(cuts(errors(rng.gamma(2, 0.3, 500)), SPEC)) for _ in range(40)) <= 2


def test_a_pool_enters_the_stream_once_when_all_of_it_is_known() -> None:
    rows = pl.DataFrame(
        {
            "network": "eth", "pool": ["b", "a", "b"], "loss": [1.0, 2.0, 3.0],
            "matured_at": [BEGIN, BEGIN + HOUR, BEGIN + 2 * HOUR],
        }
    )  # fmt: skip
    assert stream(rows).select("pool", "loss").rows() == [("a", 2.0), ("b", 2.0)]


def test_what_days_differ_by_anyhow_is_large_where_they_have_moods_and_small_where_not() -> None:
    rng = np.random.default_rng(6)
    n, day = 600, np.arange(600) % 20
    frame = pl.DataFrame(
        {
            "network": "eth", "pool": [str(number) for number in range(n)],
            "born": [BEGIN + int(number) * DAY for number in day], "own": rng.normal(size=n),
            "moody": rng.normal(size=n) + 2 * rng.normal(size=20)[day],
        }
    )  # fmt: skip
    usual = usual_js(frame, ["own", "moody"], SPEC)
    assert usual["moody"] > 3 * usual["own"] > 0
    assert usual_js(frame.filter(pl.col("born") < BEGIN + 3 * DAY), ["own"], SPEC) == {}


def test_the_days_that_the_classifier_is_asked_about_are_spread_over_all_of_the_reference() -> None:
    rng = np.random.default_rng(7)
    n, day = 180, np.arange(180) % 9
    frame = pl.DataFrame(
        {
            "network": "eth", "pool": [str(number) for number in range(n)],
            "born": [BEGIN + int(number) * DAY for number in day], "own": rng.normal(size=n) + 9 * (day == 7),
        }
    )  # fmt: skip
    usual = usual_auc(frame, ["own"], SPEC)
    assert usual is not None
    assert usual > 0.95
    assert usual_auc(frame.filter(pl.col("born") < BEGIN + 3 * DAY), ["own"], SPEC) is None
    assert usual_auc(frame, ["own"], WatchSpec(max_days=0)) is None
