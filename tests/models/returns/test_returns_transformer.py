"""The Transformer, where PyTorch is installed."""

from datetime import timedelta
from importlib.util import find_spec

import numpy as np
import pytest
from returns_market import made_rows

from pipeline.errors import RegistryError
from pipeline.models.returns.dataset import Bench, Table, bench
from pipeline.models.returns.kinds import competing, fit_member
from pipeline.models.returns.portable import HorizonModel, load_returns
from pipeline.models.returns.qlib_session import start_qlib
from pipeline.models.returns.spec import KINDS, ReturnsSpec, TransformerSpec
from pipeline.models.returns.targets import feature_columns, scored
from pipeline.models.returns.train import train_returns
from pipeline.models.splits import last_block

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed: the extra `torch`"),
]
SPEC = ReturnsSpec(
    horizons_hours=(1,), kinds=("transformer",), seeds=(1, 2), n_folds=2, min_hour_pools=4, n_resamples=20,
    transformer=TransformerSpec(n_bars=3, width=8, n_epochs=3, max_rows=600, learning_rate=5e-3),
)  # fmt: skip


@pytest.fixture(scope="module")
def own() -> Bench:
    start_qlib()
    rows = made_rows(rho=0.5, n_pools=60, n_hours=120)
    table = Table.of(scored(rows, 1, SPEC), feature_columns(rows, SPEC))
    return bench(table, last_block(table.frame, share=0.3, embargo=timedelta(hours=24)), SPEC)


def test_it_competes_where_pytorch_is_installed() -> None:
    assert competing(ReturnsSpec()) == (KINDS, {})


def test_a_seed_gives_one_transformer_and_it_finds_a_planted_signal(own: Bench) -> None:
    state = fit_member("transformer", own, 1)
    assert fit_member("transformer", own, 1) == state
    assert fit_member("transformer", own, 2) != state
    model, test = HorizonModel("transformer", 1.0, own.scale, [(1, state)]), own.split.test
    said = model.forecast(own.table.x, own.table.frame)[test]
    assert np.corrcoef(said, own.table.y[test])[0, 1] > 0.3
    # Only what a pool's own earlier rows say moves a forecast.
    some = own.table.frame["pool"].is_in(own.table.frame["pool"].unique()[:5].to_list()).to_numpy()
    alone = model.forecast(own.table.x[some], own.table.frame.filter(some))
    np.testing.assert_allclose(alone, model.forecast(own.table.x, own.table.frame)[some], atol=1e-5)


def test_a_transformer_travels_and_broken_weights_are_refused() -> None:
    rows = made_rows(rho=0.5, n_pools=60, n_hours=160)
    trained = train_returns(rows, SPEC, dataset_id="an-id", source="recording:made")
    assert trained.chosen == {1: "transformer"}
    model = load_returns(trained.model_bytes)
    assert model.to_bytes() == trained.model_bytes
    assert np.ptp(model.forecast(rows, 1)) > 0
    broken = trained.model_bytes.replace(b'"width":8', b'"width":16')
    with pytest.raises(RegistryError):
        load_returns(broken)
