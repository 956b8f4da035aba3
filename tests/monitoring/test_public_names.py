import subprocess
import sys
from pathlib import Path

import headwater.monitoring


def test_the_public_names_are_these() -> None:
    assert sorted(headwater.monitoring.__all__) == sorted(
        [
            "COST",
            "PERFORMANCE_METRICS",
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
            "service_windows",
            "stage_counts",
            "traffic_before",
            "upstream_changes",
            "wrong_by_window",
        ]
    )


def test_importing_the_room_loads_no_heavy_library() -> None:
    heavy = ("river", "scipy", "sklearn", "torch", "mlflow", "matplotlib", "pandas", "dagster")
    script = f"import sys, headwater.monitoring; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"
