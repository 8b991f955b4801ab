"""The door to the model registry: versions of a model, their files, and the aliases of those who stand somewhere.

Belongs here: versions, aliases and tags, and the one place where MLflow's errors become ours; what a training leaves in
MLflow is written by `logbook`. Stays out: judging (`gate`) and the truth about who is in charge (`ledger`): the
registry's aliases follow the ledger (`reconciliation`), never the other way round.

No model is ever unpickled: a version is one file (`kinds`), read as bytes, and those bytes must hash to what the
registry's tag and the ledger say before anybody parses them. The registry may be down: nothing here waits for
minutes, and what may come back is raised as `RegistryAwayError`.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pipeline.errors import RegistryAwayError, RegistryError
from pipeline.promotion.card import describe
from pipeline.promotion.connection import mlflow, probe
from pipeline.promotion.flavours import check_model
from pipeline.promotion.logbook import add_file, close_unfinished, logged
from pipeline.promotion.notes import of_model
from pipeline.promotion.run import TrainingRun
from pipeline.promotion.versions import LoadedModel, Pointers, RegisteredVersion, proven

CHAMPION: Final = "champion"
_HEAD: Final = "ledger_head"
_DOWN: Final = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED")
_ABSENT: Final = "RESOURCE_DOES_NOT_EXIST"


class Registry:
    """One MLflow registry, at a server (`http://...`) or straight at its database (`postgresql://...`).

    Calls that fail raise `RegistryAwayError` where the same call may succeed later (server or database away), else
    `RegistryError`. One writer at a time: two processes that register the same model at once may both log it; every
    reader then sees the lower version.

    Args:
        tracking_uri: where MLflow keeps runs and versions.
        artifact_root: folder or object-store URL for files; used when an experiment is created, not after. A model's
            runs belong to the experiment of its name.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path | str) -> None:
        self._uri = tracking_uri
        self._root = artifact_root.resolve().as_uri() if isinstance(artifact_root, Path) else artifact_root
        self._connected: Any = None

    def register(self, run: TrainingRun) -> RegisteredVersion:
        """Log a training and make its model a version; the second time the first version is given back.

        Nothing is logged again then; only the tag `code_version` names the newest code that made these very bytes.

        The version is the commit: it is created after everything else was logged. Runs of the same model that were
        killed before that are marked KILLED and not used again.

        Raises:
            InputError: the model file does not take and give what the run says.
            RegistryError, RegistryAwayError: see the class.
        """
        with self._asking(f"registered {run.model_name!r}") as client:
            experiment_id = self._experiment_id(client, run.model_name)
            known = self._known(run)
            close_unfinished(client, experiment_id, run, {v.run_id for v in known})
            return self._made_again(client, known[0], run) if known else self._log(client, experiment_id, run)

    @property
    def tracking_uri(self) -> str:
        """Where MLflow keeps runs and versions, for whoever else records something there."""
        return self._uri

    def open_experiment(self, model_name: str) -> str:
        """Make sure that a model's experiment is there, and give its name; a run made by others may join it then."""
        with self._asking(f"opened the experiment {model_name!r}") as client:
            self._experiment_id(client, model_name)
        return model_name

    def versions(self, model_name: str) -> list[RegisteredVersion]:
        """Every version of a model, oldest first; empty where there is no such model."""
        found: list[RegisteredVersion] = []
        with self._asking(f"listed the versions of {model_name!r}") as client:
            if _registered_model(client, model_name) is None:
                return found
            token: str | None = None
            while token != "":
                page = client.search_model_versions(f"name = '{model_name}'", page_token=token)
                found += [_version(v) for v in page]
                token = page.token or ""
        return sorted(found, key=lambda v: v.version)

    def champion(self, model_name: str) -> RegisteredVersion | None:
        """The version the champion alias points to, None where it points nowhere."""
        with self._asking(f"looked up the champion of {model_name!r}") as client:
            model = _registered_model(client, model_name)
            if model is None or CHAMPION not in model.aliases:
                return None
            return _version(client.get_model_version(model_name, str(model.aliases[CHAMPION])))

    def pointers(self, model_name: str) -> Pointers:
        """Where every alias of a model points, and which row of the ledger it followed last."""
        with self._asking(f"read the aliases of {model_name!r}") as client:
            model = _registered_model(client, model_name)
        if model is None:
            return Pointers()
        aliases = {str(alias): int(version) for alias, version in model.aliases.items()}
        return Pointers(aliases, model.tags.get(_HEAD))

    def set_alias(self, model_name: str, alias: str, version: int) -> None:
        """Point an alias at a version. The ledger was written before: `reconcile` is what to call."""
        with self._asking(f"moved the alias {alias!r} of {model_name!r} to version {version}") as client:
            client.set_registered_model_alias(model_name, alias, str(version))

    def clear_alias(self, model_name: str, alias: str) -> None:
        """Take an alias away."""
        with self._asking(f"removed the alias {alias!r} of {model_name!r}") as client:
            client.delete_registered_model_alias(model_name, alias)

    def remember(self, model_name: str, ledger_head: str) -> None:
        """Remember the ledger's row that the aliases follow, so that nobody can cut it off unseen."""
        with self._asking(f"remembered the ledger's head of {model_name!r}") as client:
            client.set_registered_model_tag(model_name, _HEAD, ledger_head)

    def tag(self, model_name: str, version: int, name: str, value: str | None) -> None:
        """Tell something of a version, for whoever looks at its page; None takes the tag away."""
        with self._asking(f"tagged {model_name!r} version {version} with {name!r}") as client:
            if value is None:
                client.delete_model_version_tag(model_name, str(version), name)
            else:
                client.set_model_version_tag(model_name, str(version), name, value)

    def load(self, model_name: str, version: int, *, expected_sha256: str | None = None) -> LoadedModel:
        """Read a version's model file as bytes and prove that it is the one that was registered.

        Args:
            model_name: the registered model.
            version: its version; who is in charge, the ledger says and not an alias.
            expected_sha256: what the ledger says; compared as well.

        Raises:
            RegistryError: there is no such version or file, it has no tag `model_sha256`, or the hashes differ.
            RegistryAwayError: the registry cannot be reached.
        """
        with self._asking(f"loaded {model_name!r} version {version}") as client, tempfile.TemporaryDirectory() as tmp:
            entry = _version(client.get_model_version(model_name, str(version)))
            uri = client.get_model_version_download_uri(model_name, str(entry.version))
            got = mlflow().artifacts.download_artifacts(
                f"{uri}/{entry.kind.file}", dst_path=tmp, tracking_uri=self._uri
            )
            model_bytes = Path(got).read_bytes()
        return proven(entry, model_bytes, expected_sha256)

    def plots(self, version: RegisteredVersion) -> dict[str, bytes]:
        """The pictures of a version's run, PNG by name; empty where it drew none.

        Raises:
            RegistryError: the run or its files are gone.
            RegistryAwayError: the registry cannot be reached.
        """
        attempted = f"read the plots of {version.model_name!r} version {version.version}"
        with self._asking(attempted) as client, tempfile.TemporaryDirectory() as tmp:
            if not client.list_artifacts(version.run_id, "plots"):
                return {}
            folder = Path(client.download_artifacts(version.run_id, "plots", tmp))
            return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.png"))}

    def document(self, version: RegisteredVersion, name: str) -> str:
        """A document of a version's run.

        Raises:
            RegistryError: the run or its files are gone.
            RegistryAwayError: the registry cannot be reached.
        """
        attempted = f"read {name!r} of {version.model_name!r} version {version.version}"
        with self._asking(attempted) as client, tempfile.TemporaryDirectory() as tmp:
            return Path(client.download_artifacts(version.run_id, name, tmp)).read_text(encoding="utf-8")

    def attach(self, model_name: str, version: int, name: str, content: bytes) -> str:
        """Keep one more file with a version's run, under `name` (`folder/file.html`); gives where it can be read.

        Raises:
            RegistryError: there is no such version, or its run is gone.
            RegistryAwayError: the registry cannot be reached.
        """
        attempted = f"kept {name!r} with {model_name!r} version {version}"
        with self._asking(attempted) as client, tempfile.TemporaryDirectory() as tmp:
            run_id = client.get_model_version(model_name, str(version)).run_id
            experiment_id = client.get_run(run_id).info.experiment_id
            add_file(client, run_id, name, content, Path(tmp))
        if self._uri.startswith("http"):
            return f"{self._uri}/#/experiments/{experiment_id}/runs/{run_id}/artifacts/{name}"
        return f"runs:/{run_id}/{name}"

    def page(self, version: RegisteredVersion) -> str:
        """Where people look at a version: its page, or its name where no server shows pages."""
        if self._uri.startswith("http"):
            return f"{self._uri}/#/models/{version.model_name}/versions/{version.version}"
        return f"models:/{version.model_name}/{version.version}"

    def _log(self, client: Any, experiment_id: str, run: TrainingRun) -> RegisteredVersion:
        check_model(run)
        with (
            tempfile.TemporaryDirectory() as tmp,
            logged(client, experiment_id, run, Path(tmp)) as (run_id, model),
        ):
            _ensure_registered_model(client, run)
            client.create_model_version(
                run.model_name,
                model.artifact_location,
                run_id,
                tags={**run.identity, **run.told_inputs, **run.kind.tags},
                description=describe(run),
                model_id=model.model_id,
            )
            return self._single(client, run, run_id)

    def _known(self, run: TrainingRun) -> list[RegisteredVersion]:
        """The versions of this very model from this very training set, oldest first."""
        told = (run.model_sha256, run.training_set_id)
        return [v for v in self.versions(run.model_name) if (v.model_sha256, v.training_set_id) == told]

    def _made_again(self, client: Any, first: RegisteredVersion, run: TrainingRun) -> RegisteredVersion:
        if first.code_version != run.code_version:
            client.set_model_version_tag(run.model_name, str(first.version), "code_version", run.code_version)
        return self._known(run)[0]

    def _single(self, client: Any, run: TrainingRun, run_id: str) -> RegisteredVersion:
        """The version just made. MLflow's client repeats a request whose answer came late: then there are twins."""
        first, *others = self._known(run)
        for twin in others:
            if twin.run_id == run_id == first.run_id:
                client.delete_model_version(run.model_name, str(twin.version))
        return first

    def _experiment_id(self, client: Any, name: str) -> str:
        found = client.get_experiment_by_name(name)
        if found is None:
            return str(client.create_experiment(name, artifact_location=self._root))
        if found.lifecycle_stage != "active":
            raise RegistryError(f"opened the experiment {name!r}: it was deleted; restore it in MLflow")
        return str(found.experiment_id)

    @contextmanager
    def _asking(self, what: str) -> Iterator[Any]:
        """The client; whatever MLflow raises meanwhile becomes one of our errors, `what` saying what was attempted."""
        library = mlflow()
        try:
            if self._connected is None:
                probe(self._uri)
                self._connected = library.MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
            yield self._connected
        except library.exceptions.MlflowException as error:
            kind = RegistryAwayError if error.error_code in _DOWN else RegistryError
            raise kind(f"{what}: the model registry answered {error.error_code}: {error.message}") from error
        except OSError as error:
            raise RegistryError(f"{what}: a file of the artifact store cannot be used: {error!r}") from error


def _version(entity: Any) -> RegisteredVersion:
    return RegisteredVersion.from_tags(entity.name, int(entity.version), entity.run_id or "", dict(entity.tags))


def _registered_model(client: Any, model_name: str) -> Any | None:
    try:
        return client.get_registered_model(model_name)
    except mlflow().exceptions.MlflowException as error:
        if error.error_code != _ABSENT:
            raise
        return None


def _ensure_registered_model(client: Any, run: TrainingRun) -> None:
    found, described = _registered_model(client, run.model_name), of_model(run.model_name, run.kind)
    if found is None:
        client.create_registered_model(run.model_name, description=described)
    elif found.description != described:
        client.update_registered_model(run.model_name, description=described)
