"""Training adapters, the model bundle on disk, evaluation, gates and semantic versions. Loads no training library."""

from headwater.models.bundle import IDENTITY, Bundle, read_bundle, write_bundle
from headwater.models.declarations import (
    LightGBMModel,
    LogisticBaseline,
    ModelDeclaration,
    TorchTabularModel,
    declaration_from_json,
)
from headwater.models.errors import EmptyPartError, LabelError, ModelError, RequestSchemaError, UnusableDataError
from headwater.models.evaluation import (
    CalibrationBin,
    Comparison,
    Difference,
    Evaluation,
    Importance,
    LiftRow,
    Metric,
    Slice,
)
from headwater.models.evaluation_bootstrap import Bootstrap
from headwater.models.evaluation_metrics import MetricName
from headwater.models.evaluation_plots import plots
from headwater.models.evaluation_run import Rival, Slicing, evaluate
from headwater.models.gates import Gate, GateVerdict, beats_baseline, judge, not_worse_than_champion
from headwater.models.importance import gain_importance, permutation_importance
from headwater.models.mlflow_sync import DatasetFacts, ModelVersionFacts, SyncReport, sync
from headwater.models.preprocessing import Preprocessing
from headwater.models.request_schema import FieldType, RequestField, RequestSchema, request_schema
from headwater.models.signature import Signature
from headwater.models.splits import Split, SplitBounds, TimeSplit
from headwater.models.thresholds import ThresholdKind, ThresholdRule
from headwater.models.training import (
    Predictor,
    Scorer,
    TrainedModel,
    Trainer,
    read_label,
    train_lightgbm,
    train_logistic,
    train_model,
)
from headwater.models.versions import VersionFacts, definition_digest, next_version, parse_version

__all__ = [
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
    "Preprocessing",
    "RequestField",
    "RequestSchema",
    "RequestSchemaError",
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
