"""QLib's recorder on MLflow, which keeps only what it was started for.

Belongs here: the experiment manager that `qlib_session` hands to QLib. Stays out: when a run is started.
"""

from typing import Any


def on_purpose() -> type[Any]:
    """An experiment manager that writes to MLflow between `R.start` and its end, and nowhere else.

    QLib's own starts a run by itself as soon as a model logs a round: one request a round and segment, thousands for
    a walk-forward, and without a server a folder in the working directory. It also attaches the answer of `git diff`,
    wherever the process stands; what is private stays here.
    """
    from qlib.workflow.exp import MLflowExperiment  # noqa: PLC0415  QLib takes seconds to import
    from qlib.workflow.expm import MLflowExpManager  # noqa: PLC0415
    from qlib.workflow.recorder import MLflowRecorder  # noqa: PLC0415

    class Recorder(MLflowRecorder):  # type: ignore[misc]  # QLib ships no types
        def _log_uncommitted_code(self) -> None:
            """Nothing."""

    class Experiment(MLflowExperiment):  # type: ignore[misc]
        def create_recorder(self, recorder_name: str | None = None) -> Recorder:
            return Recorder(self.id, self._uri, recorder_name or self._default_rec_name)

    class OnPurpose(MLflowExpManager):  # type: ignore[misc]
        def get_exp(self, **kwargs: Any) -> Any:
            is_asked = kwargs.get("experiment_id") or kwargs.get("experiment_name")
            return _Silent() if self.active_experiment is None and not is_asked else super().get_exp(**kwargs)

        def _get_or_create_exp(self, **kwargs: Any) -> tuple[Experiment, bool]:
            found, is_new = super()._get_or_create_exp(**kwargs)
            return Experiment(found.id, found.name, self.uri), is_new

    return OnPurpose


class _Silent:
    """Takes what QLib's models log and keeps nothing; it stands for an experiment and for its recorder."""

    def get_recorder(self, **_: Any) -> "_Silent":
        return self

    def log_metrics(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    def log_params(self, *_: Any, **__: Any) -> None:
        """Nothing."""
