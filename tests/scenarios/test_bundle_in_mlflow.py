"""The published bundle in MLflow, opened by its path in the lake: the same numbers."""

import numpy as np

from headwater.lake import EmbeddedLake
from headwater.models import read_bundle
from tests.scenarios.workshop import PRODUCT, Workshop


def test_mlflow_opens_the_model_by_its_path_in_the_lake_and_predicts_the_same(built: Workshop) -> None:
    import mlflow.pyfunc

    lake = EmbeddedLake.open(built.state / "lake", create=False)
    rows = lake.at("main").table(f"{PRODUCT}/training_set").collect()
    place = built.state / "lake" / "main" / PRODUCT / "model"
    bundle = read_bundle(place)
    loaded = mlflow.pyfunc.load_model(str(place))
    features = [column.name for column in bundle.signature.inputs]
    scores = np.asarray(loaded.predict(rows.select(features).to_pandas())).ravel()
    assert len(scores) == rows.height > 100
    np.testing.assert_array_equal(scores, np.asarray(bundle.predict(rows)))
