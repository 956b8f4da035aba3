import subprocess
import sys
from pathlib import Path

import headwater.models


def test_the_public_names_are_these() -> None:
    assert sorted(headwater.models.__all__) == sorted(
        [
            "IDENTITY",
            "Bootstrap",
            "Bundle",
            "CalibrationBin",
            "Comparison",
            "DatasetFacts",
            "Difference",
            "EmptyPartError",
            "Evaluation",
            "FieldType",
            "Gate",
            "GateVerdict",
            "Importance",
            "LabelError",
            "LiftRow",
            "LightGBMModel",
            "LogisticBaseline",
            "Metric",
            "MetricName",
            "ModelDeclaration",
            "ModelError",
            "ModelVersionFacts",
            "Predictor",
            "RequestField",
            "RequestSchema",
            "RequestSchemaError",
            "Preprocessing",
            "Rival",
            "Scorer",
            "Signature",
            "Slice",
            "Slicing",
            "Split",
            "SplitBounds",
            "SyncReport",
            "ThresholdKind",
            "ThresholdRule",
            "TimeSplit",
            "TorchTabularModel",
            "TrainedModel",
            "Trainer",
            "UnusableDataError",
            "VersionFacts",
            "beats_baseline",
            "declaration_from_json",
            "definition_digest",
            "evaluate",
            "gain_importance",
            "judge",
            "next_version",
            "not_worse_than_champion",
            "parse_version",
            "permutation_importance",
            "plots",
            "read_bundle",
            "read_label",
            "request_schema",
            "sync",
            "train_lightgbm",
            "train_logistic",
            "train_model",
            "write_bundle",
        ]
    )


def test_importing_the_room_loads_no_heavy_library() -> None:
    script = (
        "import sys, headwater.models;"
        "print([name for name in ('torch','mlflow','lightgbm','sklearn','scipy','matplotlib','pandas','dagster') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"
