"""The Transformer over a pool's last decisions, as QLib has it; needs PyTorch, which the extra `torch` brings.

Belongs here: fitting QLib's `TransformerModel` on our segments, and its network from plain weights. Stays out: which
rows.
"""

import base64
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UsageError
from pipeline.models.returns.dataset import Bench, Floats
from pipeline.models.returns.processors import Matrix
from pipeline.models.returns.sequences import sequences
from pipeline.models.returns.spec import GET_TORCH
from pipeline.models.splits import Rows

type State = dict[str, Any]


class _Segment:
    """What QLib's model takes from a dataset: (n_bars, n_features + 1) arrays, the target last."""

    def __init__(self, x: Matrix, y: Floats) -> None:
        label = np.repeat(y.astype(np.float32)[:, None, None], x.shape[1], axis=1)
        self._values = np.concatenate([x, label], axis=2)

    @property
    def empty(self) -> bool:
        return not len(self._values)

    def config(self, **_: object) -> None:
        """Nothing is missing, so there is nothing to fill."""

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, at: int) -> Matrix:
        return np.asarray(self._values[at])


class _Sequences:
    """Segments of sequences in place of QLib's `TSDatasetH`, whose segments can only be stretches of time."""

    def __init__(self, bench: Bench, rows: dict[str, Rows]) -> None:
        keys = bench.table.frame.select("instrument", "event_time")
        x = sequences(bench.scaled, keys, bench.spec.transformer.n_bars)
        self._segments = {name: _Segment(x[at], bench.y[at]) for name, at in rows.items()}

    def prepare(self, segment: str, **_: object) -> _Segment:
        return self._segments[segment]


def fit_transformer(bench: Bench, seed: int) -> State:
    """QLib's Transformer on the sequences of one member's rows; on the processor, so that a seed gives one model.

    Raises:
        UsageError: PyTorch is not installed.
    """
    _torch()
    from qlib.contrib.model.pytorch_transformer_ts import TransformerModel  # noqa: PLC0415

    t = bench.spec.transformer
    rows = bench.segments(seed, t.max_rows)
    model = TransformerModel(
        d_feat=len(bench.table.names), d_model=t.width, nhead=t.n_heads, num_layers=t.n_layers, dropout=t.dropout,
        # QLib drops the last batch where it is not full, all there is in a short segment.
        batch_size=min(t.batch_size, *(len(rows[name]) for name in ("train", "valid"))), n_epochs=t.n_epochs,
        lr=t.learning_rate, early_stop=t.early_stopping_epochs, reg=t.weight_decay, n_jobs=0, GPU=-1, seed=seed,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        model.fit(_Sequences(bench, rows), evals_result={}, save_path=str(Path(folder) / "weights"))
    weights = {name: _text(value.numpy()) for name, value in model.model.state_dict().items()}
    shape = {"n_features": len(bench.table.names), "width": t.width, "n_heads": t.n_heads, "n_layers": t.n_layers}
    return {"weights": weights, "n_bars": t.n_bars, **shape}


def network(state: State) -> Callable[[Matrix], Floats]:
    """What a fitted member answers to (n, n_bars, n_features) sequences.

    Raises:
        UsageError: PyTorch is not installed.
        ValueError, KeyError: the state is not a Transformer's.
    """
    torch = _torch()
    from qlib.contrib.model.pytorch_transformer_ts import Transformer  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(torch|qlib)\..*")
        net = Transformer(
            int(state["n_features"]), int(state["width"]), int(state["n_heads"]), int(state["n_layers"]), 0.0
        )
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    try:
        net.load_state_dict(
            {name: torch.from_numpy(_array(text).reshape(shapes[name])) for name, text in state["weights"].items()}
        )
    except RuntimeError as e:
        raise ValueError(f"weights that do not fit their network: {e}") from e
    net.eval()

    def said(x: Matrix) -> Floats:
        with torch.no_grad():
            parts = [net(torch.from_numpy(x[at : at + 4096])).reshape(-1) for at in range(0, len(x), 4096)]
        return np.concatenate([part.numpy() for part in parts]).astype(np.float64) if parts else np.zeros(0)

    return said


def _torch() -> Any:
    try:
        import torch  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415  an extra
    except ModuleNotFoundError as e:
        raise UsageError(f"a Transformer needs PyTorch: {GET_TORCH}") from e
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    return torch


def _text(values: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()


def _array(text: str) -> Matrix:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(np.float32)
