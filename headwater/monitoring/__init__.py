"""Monitoring: what a model in service did, as statistics of predictions and the truth. Loads neither SciPy nor River."""

from headwater.monitoring._calibration import (
    CalibrationDrift,
    CalibrationLimits,
    CalibrationReference,
    calibration_drift,
)
from headwater.monitoring._causes import ChangeKind, UpstreamChange, Writing, upstream_changes
from headwater.monitoring._concept import Adwin, Alarm, Alarms, Ddm, Detector, PageHinkley, concept_alarms
from headwater.monitoring._costs import DecisionCosts
from headwater.monitoring._drift import MovedFeature, WindowDrift, drift_windows, moved_features, prediction_drift
from headwater.monitoring._experiment import (
    Experiment,
    ExperimentReport,
    VariantDifference,
    VariantResult,
)
from headwater.monitoring._experiment_counts import ExperimentCounts, experiment_counts
from headwater.monitoring._experiment_run import experiment_report
from headwater.monitoring._intervals import Estimate, power_of_proportions, rows_for_proportions
from headwater.monitoring._labels import LabelChanges, changed_labels
from headwater.monitoring._loss_shift import Loss, LossShift, SliceShift, loss_shifts
from headwater.monitoring._metrics import COST, PERFORMANCE_METRICS
from headwater.monitoring._outcomes import Outcomes, Truth, join_outcomes
from headwater.monitoring._performance import (
    LOCAL_DAY,
    ROWS,
    Performance,
    PerformanceRules,
    SlicePerformance,
    WindowPerformance,
    performance_windows,
)
from headwater.monitoring._requests import count_requests, with_batches
from headwater.monitoring._rollout import (
    StageCounts,
    price_of,
    stage_counts,
    traffic_before,
    wrong_by_window,
)
from headwater.monitoring._sample_ratio import SampleRatio, sample_ratio, sample_ratio_of_parts
from headwater.monitoring._seasons import SeasonalReference
from headwater.monitoring._served import ServedView, served_views
from headwater.monitoring._service import accuracy_below, accuracy_dropped, burning, freshness, service_windows
from headwater.monitoring._service_levels import Budget, Burning, BurnRule, Freshness, ServiceLevels, ServiceWindow
from headwater.monitoring._settled import SettledWindow
from headwater.monitoring._windows import Span, Windowing
from headwater.monitoring.errors import (
    AmbiguousLabelsError,
    BadValuesError,
    ColumnTypeError,
    MissingColumnsError,
    MonitoringError,
    MonitoringRuleError,
    TooManyWindowsError,
)

__all__ = [
    "COST",
    "LOCAL_DAY",
    "PERFORMANCE_METRICS",
    "ROWS",
    "Adwin",
    "Alarm",
    "Alarms",
    "AmbiguousLabelsError",
    "BadValuesError",
    "Budget",
    "BurnRule",
    "Burning",
    "CalibrationDrift",
    "CalibrationLimits",
    "CalibrationReference",
    "ChangeKind",
    "ColumnTypeError",
    "Ddm",
    "DecisionCosts",
    "Detector",
    "Estimate",
    "Experiment",
    "ExperimentCounts",
    "ExperimentReport",
    "Freshness",
    "LabelChanges",
    "Loss",
    "LossShift",
    "MissingColumnsError",
    "MonitoringError",
    "MonitoringRuleError",
    "MovedFeature",
    "Outcomes",
    "PageHinkley",
    "Performance",
    "PerformanceRules",
    "SampleRatio",
    "SeasonalReference",
    "ServedView",
    "ServiceLevels",
    "ServiceWindow",
    "SettledWindow",
    "SlicePerformance",
    "SliceShift",
    "Span",
    "StageCounts",
    "TooManyWindowsError",
    "Truth",
    "UpstreamChange",
    "VariantDifference",
    "VariantResult",
    "WindowDrift",
    "WindowPerformance",
    "Windowing",
    "Writing",
    "accuracy_below",
    "accuracy_dropped",
    "burning",
    "calibration_drift",
    "changed_labels",
    "concept_alarms",
    "count_requests",
    "drift_windows",
    "experiment_counts",
    "experiment_report",
    "freshness",
    "join_outcomes",
    "loss_shifts",
    "moved_features",
    "performance_windows",
    "power_of_proportions",
    "prediction_drift",
    "price_of",
    "rows_for_proportions",
    "sample_ratio",
    "sample_ratio_of_parts",
    "served_views",
    "service_windows",
    "stage_counts",
    "traffic_before",
    "upstream_changes",
    "with_batches",
    "wrong_by_window",
]
