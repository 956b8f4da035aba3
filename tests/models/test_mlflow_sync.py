from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headwater.models import DatasetFacts, ModelVersionFacts, Split, SyncReport, TrainedModel, sync, write_bundle
from headwater.models.errors import RegistryError

# MLflow warns about the hints of its own classes when it is first imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")


def version(bundle: Path, number: str, commit: str, **more: object) -> ModelVersionFacts:
    facts = ModelVersionFacts(
        product="flights",
        version=number,
        path="flights/model",
        commit=commit,
        data_version=f"data-{commit}" + "x" * 40,
        bundle=bundle,
        created=1_700_000_000_000 + int(number.replace(".", "")) * 1000,
        seconds=2.5,
        params={"parameters.learning_rate": 0.1, "features": "delay,hops"}
        | {f"p{index}": index for index in range(120)},
        metrics={"auc": 0.71, "brier": 0.15},
        inputs=(DatasetFacts(path="flights/training_set", data_version="d" * 64, commit="c0ffee"),),
        state="candidate",
    )
    return replace(facts, **more)


def test_mlflow_follows_the_lake_and_can_be_rebuilt_from_it(
    split: Split, trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    bundle = tmp_path / "lake" / "flights" / "model"
    write_bundle(bundle, trained)
    kept = {path.name: path.read_bytes() for path in bundle.iterdir()}
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    root = tmp_path / "artifacts"
    facts = [version(bundle, "1.1.0", "bbb"), version(bundle, "1.0.0", "aaa", champion=True, state="released")]

    assert sync(facts, tracking_uri=uri, artifact_root=root) == SyncReport(experiments=1, runs=2, versions=2, aliases=1)
    assert not sync(facts, tracking_uri=uri, artifact_root=root).changed

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("flights")
    assert experiment.artifact_location == (root / "flights").as_uri()
    runs = {run.data.tags["headwater.version"]: run for run in client.search_runs([experiment.experiment_id])}
    first = runs["1.0.0"]
    assert first.info.status == "FINISHED"
    assert first.info.end_time - first.info.start_time == 2500
    assert first.data.metrics == {"auc": 0.71, "brier": 0.15}
    assert first.data.params["parameters.learning_rate"] == "0.1"
    assert len(first.data.params) == 122
    assert first.data.tags["headwater.lake_commit"] == "aaa"
    (used,) = first.inputs.dataset_inputs
    assert used.dataset.name == "flights/training_set"
    assert {tag.key: tag.value for tag in used.tags}["headwater.lake_commit"] == "c0ffee"
    numbers = {
        item.tags["headwater.version"]: int(item.version) for item in client.search_model_versions("name='flights'")
    }
    assert numbers == {"1.0.0": 1, "1.1.0": 2}
    assert (
        client.get_model_version_by_alias("flights", "champion").tags["headwater.data_version"] == facts[1].data_version
    )

    import mlflow
    import mlflow.pyfunc

    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        loaded = mlflow.pyfunc.load_model("models:/flights@champion")
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    columns = list(trained.preprocessing.names)
    np.testing.assert_array_equal(loaded.predict(split.test.select(columns).to_pandas()), trained.predict(split.test))

    promoted = [replace(facts[0], champion=True, state="released"), replace(facts[1], champion=False, state="retired")]
    assert sync(promoted, tracking_uri=uri, artifact_root=root) == SyncReport(aliases=1, tags=2)
    assert client.get_model_version_by_alias("flights", "champion").tags["headwater.version"] == "1.1.0"
    withdrawn = [replace(item, champion=False) for item in promoted]
    assert sync(withdrawn, tracking_uri=uri, artifact_root=root) == SyncReport(aliases=1)
    assert "champion" not in client.get_registered_model("flights").aliases

    client.update_run(runs["1.1.0"].info.run_id, status="RUNNING")
    assert sync(withdrawn, tracking_uri=uri, artifact_root=root) == SyncReport(runs=1, versions=1)
    assert not sync(withdrawn, tracking_uri=uri, artifact_root=root).changed

    rebuilt = f"sqlite:///{tmp_path / 'other.db'}"
    assert sync(promoted, tracking_uri=rebuilt, artifact_root=root) == SyncReport(
        experiments=1, runs=2, versions=2, aliases=1
    )
    assert list((tmp_path / "work").iterdir()) == []
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == kept


def test_two_champions_of_one_product_are_refused_before_mlflow_is_touched(tmp_path: Path) -> None:
    facts = [version(tmp_path, "1.0.0", "aaa", champion=True), version(tmp_path, "1.1.0", "bbb", champion=True)]
    with pytest.raises(RegistryError, match=r"1\.0\.0, 1\.1\.0"):
        sync(facts, tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}", artifact_root=tmp_path)
    assert list(tmp_path.iterdir()) == []
