"""MLflow as a view of the lake: what the registry lists is read from commits, never the other way round."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from headwater.lake import Lake
from headwater.models import DatasetFacts, ModelVersionFacts, sync
from headwater.registry import ModelState, ModelVersion, model_versions
from resources.settings import Settings

DATABASE: Final = "mlflow.db"
_STAMP: Final = "synced.sha256"


def tracking_uri(settings: Settings) -> str:
    """MLflow's SQLite database in the state folder."""
    return f"sqlite:///{(settings.mlflow_folder / DATABASE).resolve()}"


def sync_all(lake: Lake, settings: Settings) -> Mapping[str, Any]:
    """Makes MLflow's experiments, runs, versions and aliases say what the lake says; returns what it changed."""

    from assets._products import products

    # MLflow sets the level of its own logger at import, so the talkative child is told.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    versions = [facts for product in products() for facts in _facts(lake, product.name, settings.branch)]
    settings.mlflow_folder.mkdir(parents=True, exist_ok=True)
    artifacts = settings.mlflow_folder / "artifacts"
    report = sync(versions, tracking_uri=tracking_uri(settings), artifact_root=artifacts)
    (settings.mlflow_folder / _STAMP).write_text(_digest(lake, settings))
    return {name: getattr(report, name) for name in ("experiments", "runs", "versions", "aliases", "tags")}


def sync_if_behind(lake: Lake, settings: Settings) -> bool:
    """Syncs when models or releases changed since the last sync, or its database is gone; returns whether it did."""
    stamp = settings.mlflow_folder / _STAMP
    if (
        (settings.mlflow_folder / DATABASE).is_file()
        and stamp.is_file()
        and stamp.read_text() == _digest(lake, settings)
    ):
        return False
    sync_all(lake, settings)
    return True


def _digest(lake: Lake, settings: Settings) -> str:
    """Digest of every model and release as it stands on the branch."""
    from assets._products import products

    snapshot = lake.at(settings.branch)
    paths = [f"{product.name}/{name}" for product in products() for name in ("model", "evaluation", "release")]
    state = {path: snapshot.entry(path).data_version for path in paths if snapshot.has(path)}
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _facts(lake: Lake, product: str, branch: str) -> Iterator[ModelVersionFacts]:
    for version in model_versions(lake, product, ref=branch):
        snapshot = lake.at(version.commit)
        bundle = snapshot.folder(version.path)
        yield ModelVersionFacts(
            product=product,
            version=version.version,
            path=version.path,
            commit=version.commit,
            data_version=version.data_version,
            bundle=bundle,
            created=int(version.created.timestamp() * 1000),
            seconds=version.provenance.cost.wall_seconds,
            params=_flat(json.loads((bundle / "declaration.json").read_text())),
            metrics=_metrics(version),
            inputs=tuple(
                DatasetFacts(path=pin.path, data_version=pin.data_version, commit=version.provenance.input_commit)
                for pin in version.inputs
                if pin.role == "input"
            ),
            state=version.state.value,
            champion=version.state is ModelState.LIVE,
        )


def _metrics(version: ModelVersion) -> dict[str, float]:
    judged = {name: metric["value"] for name, metric in version.metrics.items() if metric["value"] is not None}
    training = {f"training_{k}": float(v) for k, v in version.training.items() if isinstance(v, int | float)}
    return {**training, **judged}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value if not isinstance(value, list) else ",".join(map(str, value))}
    return {
        key: item
        for name, inner in value.items()
        for key, item in _flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }
