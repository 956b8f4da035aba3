"""MLflow as a view of the lake: experiments, runs, registered versions and the champion alias, made from lake facts.

Nothing here is the truth. Delete MLflow's database and `sync` makes it again; run it twice and the second run changes
nothing.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from headwater.models.errors import MissingPackageError, RegistryError
from headwater.models.versions import parse_version

CHAMPION_ALIAS: Final = "champion"
TAG_COMMIT: Final = "headwater.lake_commit"
TAG_PATH: Final = "headwater.lake_path"
TAG_DATA_VERSION: Final = "headwater.data_version"
TAG_VERSION: Final = "headwater.version"
TAG_STATE: Final = "headwater.state"
TAG_KEY: Final = "headwater.key"
ARTIFACT_PATH: Final = "model"

_CONTEXT_TAG: Final = "mlflow.data.context"
_FINISHED: Final = "FINISHED"
_BATCH: Final = 100
_DIGEST_LENGTH: Final = 36  # MLflow's column for a dataset digest
_PAGE: Final = 1000


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """One input of a training, as the lake knows it.

    Attributes:
        path: Lake path.
        data_version: Its data version.
        commit: The lake commit at which it was read.
        context: What it was for, such as `training`.
    """

    path: str
    data_version: str
    commit: str
    context: str = "training"


@dataclass(frozen=True, kw_only=True)
class ModelVersionFacts:
    """One model version, as the lake knows it.

    Attributes:
        product: Name of the product, of the experiment and of the registered model.
        version: Semantic version.
        path: Lake path of the bundle.
        commit: Lake commit that published it.
        data_version: Of the bundle.
        bundle: Local folder with the bundle at that commit.
        created: When it was published, milliseconds since 1970 UTC.
        seconds: How long its materialization took.
        params: Declaration by dotted name.
        metrics: Numbers only; what is undefined is left out.
        inputs: What it was trained on.
        state: Such as `candidate` or `released`.
        champion: Whether it is the released one; at most one version of a product is.
        tags: Further tags.
    """

    product: str
    version: str
    path: str
    commit: str
    data_version: str
    bundle: Path
    created: int
    seconds: float = 0.0
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    inputs: tuple[DatasetFacts, ...] = ()
    state: str = ""
    champion: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What names the version over all of MLflow: product, version and lake commit."""
        return f"{self.product}@{self.version}:{self.commit}"


@dataclass(frozen=True, kw_only=True)
class SyncReport:
    """What a sync changed; all zero when MLflow agreed with the lake already."""

    experiments: int = 0
    runs: int = 0
    versions: int = 0
    aliases: int = 0
    tags: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything was changed."""
        return any((self.experiments, self.runs, self.versions, self.aliases, self.tags))


def sync(versions: Sequence[ModelVersionFacts], *, tracking_uri: str, artifact_root: Path) -> SyncReport:
    """Brings MLflow in line with `versions`. Idempotent; what it finds and the lake does not know stays.

    Args:
        versions: Any products, any order; each product's versions are registered oldest first.
        tracking_uri: A database such as `sqlite:////state/mlflow/mlflow.db`, for tracking and registry alike.
        artifact_root: Folder under which each experiment keeps a copy of its bundles. A copy, because MLflow writes a
            file into the folder of a version that it loads, which must never be a folder of the lake.

    Raises:
        RegistryError: Two versions of one product claim to be champion, or MLflow refuses the database.
        MissingPackageError: MLflow is not installed.
    """
    _check_champions(versions)
    registry = _Registry(_client(tracking_uri), artifact_root)
    for product in sorted({facts.product for facts in versions}):
        own = [facts for facts in versions if facts.product == product]
        registry.sync_product(product, sorted(own, key=lambda facts: (parse_version(facts.version), facts.created)))
    return SyncReport(**registry.changed)


class _Registry:
    """One sync under way: the client, and counts of what it changed."""

    def __init__(self, client: Any, artifact_root: Path) -> None:
        self.client = client
        self.artifact_root = artifact_root
        self.changed = {"experiments": 0, "runs": 0, "versions": 0, "aliases": 0, "tags": 0}

    def sync_product(self, product: str, versions: Sequence[ModelVersionFacts]) -> None:
        experiment = self._experiment(product)
        runs = self._runs(experiment)
        registered = self._registered(product)
        champion = None
        for facts in versions:
            run = runs.get(facts.key) or self._make_run(experiment, facts)
            number = self._version(facts, run, registered.get(facts.key))
            champion = number if facts.champion else champion
        self._alias(product, champion)

    def _experiment(self, product: str) -> str:
        found = self.client.get_experiment_by_name(product)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
                self.changed["experiments"] += 1
            return str(found.experiment_id)
        self.changed["experiments"] += 1
        location = (self.artifact_root / product).absolute().as_uri()
        return str(self.client.create_experiment(product, artifact_location=location))

    def _runs(self, experiment: str) -> dict[str, Any]:
        """Finished runs by key. One that a crash left unfinished is deleted, to be made again whole."""
        found = {}
        token = None
        while True:
            page = self.client.search_runs([experiment], max_results=_PAGE, page_token=token)
            for run in page:
                key = run.data.tags.get(TAG_KEY)
                if key is not None and run.info.status == _FINISHED:
                    found[key] = run
                elif key is not None:
                    self.client.delete_run(run.info.run_id)
            token = page.token
            if not token:
                return found

    def _make_run(self, experiment: str, facts: ModelVersionFacts) -> Any:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

        started = facts.created - int(facts.seconds * 1000)
        name = f"{facts.product} {facts.version}"
        run = self.client.create_run(experiment, start_time=started, tags=_tags(facts), run_name=name)
        run_id = str(run.info.run_id)
        params = [Param(key, str(value)) for key, value in sorted(facts.params.items())]
        metrics = [Metric(key, float(value), facts.created, 0) for key, value in sorted(facts.metrics.items())]
        for start in range(0, max(len(params), len(metrics)), _BATCH):
            chunk = slice(start, start + _BATCH)
            self.client.log_batch(run_id, params=params[chunk], metrics=metrics[chunk])
        inputs = [
            DatasetInput(
                dataset=Dataset(
                    name=item.path,
                    digest=item.data_version[:_DIGEST_LENGTH],
                    source_type="headwater_lake",
                    source=json.dumps({"path": item.path, "commit": item.commit, "data_version": item.data_version}),
                ),
                tags=[InputTag(_CONTEXT_TAG, item.context), InputTag(TAG_COMMIT, item.commit)],
            )
            for item in facts.inputs
        ]
        if inputs:
            self.client.log_inputs(run_id, datasets=inputs)
        self.client.log_artifacts(run_id, str(facts.bundle), artifact_path=ARTIFACT_PATH)
        self.client.set_terminated(run_id, status=_FINISHED, end_time=facts.created)
        self.changed["runs"] += 1
        return run

    def _registered(self, product: str) -> dict[str, Any]:
        """Registered versions by key; the registered model is made when absent."""
        if not self.client.search_registered_models(f"name = '{product}'"):
            self.client.create_registered_model(product)
        found = {}
        token = None
        while True:
            page = self.client.search_model_versions(f"name = '{product}'", page_token=token)
            found.update({version.tags[TAG_KEY]: version for version in page if TAG_KEY in version.tags})
            token = page.token
            if not token:
                return found

    def _version(self, facts: ModelVersionFacts, run: Any, found: Any) -> str:
        run_id, source = run.info.run_id, f"{run.info.artifact_uri}/{ARTIFACT_PATH}"
        if not self.client.list_artifacts(run_id, ARTIFACT_PATH):
            self.client.log_artifacts(run_id, str(facts.bundle), artifact_path=ARTIFACT_PATH)
            self.changed["runs"] += 1
        if found is not None and (found.source != source or found.run_id != run_id):
            # MLflow can't move a version's source: its run was made again, so the version is registered again.
            self.client.delete_model_version(facts.product, found.version)
            found = None
        if found is None:
            self.changed["versions"] += 1
            made = self.client.create_model_version(
                facts.product, source, run_id=run_id, tags=_tags(facts), description=f"{facts.product} {facts.version}"
            )
            return str(made.version)
        for name, value in _tags(facts).items():
            if found.tags.get(name) != value:
                self.client.set_model_version_tag(facts.product, found.version, name, value)
                self.changed["tags"] += 1
        return str(found.version)

    def _alias(self, product: str, champion: str | None) -> None:
        present = self.client.get_registered_model(product).aliases.get(CHAMPION_ALIAS)
        if present is not None and str(present) == champion:
            return
        if champion is not None:
            self.client.set_registered_model_alias(product, CHAMPION_ALIAS, champion)
        elif present is not None:
            self.client.delete_registered_model_alias(product, CHAMPION_ALIAS)
        else:
            return
        self.changed["aliases"] += 1


def _tags(facts: ModelVersionFacts) -> dict[str, str]:
    own = {
        TAG_KEY: facts.key,
        TAG_COMMIT: facts.commit,
        TAG_PATH: facts.path,
        TAG_DATA_VERSION: facts.data_version,
        TAG_VERSION: facts.version,
        TAG_STATE: facts.state,
    }
    return {**facts.tags, **own}


def _check_champions(versions: Sequence[ModelVersionFacts]) -> None:
    for product in sorted({facts.product for facts in versions}):
        champions = [facts.version for facts in versions if facts.product == product and facts.champion]
        if len(champions) > 1:
            raise RegistryError(
                what=f"Product '{product}'",
                problem=f"versions {', '.join(champions)} all claim to be champion.",
                remedy="Pass the released one alone as champion=True.",
            )


def _client(tracking_uri: str) -> Any:
    # MLflow reads these once, when it is first imported; it must not report home.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise MissingPackageError(package="mlflow", extra="train", purpose="the model registry") from error
    try:
        client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        client.search_experiments(max_results=1)
    except MlflowException as error:
        raise RegistryError(
            what=f"MLflow at {tracking_uri}",
            problem=f"it cannot be used ({error.message}).",
            remedy="Delete its database and run `headwater mlflow sync`: nothing but a view of the lake is lost.",
        ) from error
    return client
