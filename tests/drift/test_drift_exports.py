"""The public surface of `headwater.drift`, spelled out: a new name costs a line here."""

import subprocess
import sys

import headwater.drift


def test_the_public_names_are_these() -> None:
    assert headwater.drift.__all__ == [
        "REPORT_SCHEMA",
        "CategoricalProfile",
        "ChiSquared",
        "ColumnDrift",
        "ColumnKindError",
        "DriftError",
        "DriftLimits",
        "DriftReport",
        "DriftVerdict",
        "EmptySampleError",
        "Frame",
        "KolmogorovSmirnov",
        "LimitError",
        "MissingColumnError",
        "NumericProfile",
        "ProfileFormatError",
        "ProfileMismatchError",
        "Psi",
        "ReferenceProfile",
        "Side",
        "UnsupportedColumnError",
        "ValueKind",
        "Wasserstein",
        "drift_statistics",
        "evidently_html",
        "joined",
        "profile",
        "profile_batches",
        "read_profile",
        "report_frame",
        "write_profile",
    ]
    for name in headwater.drift.__all__:
        assert hasattr(headwater.drift, name)


def test_importing_drift_loads_no_heavy_library() -> None:
    heavy = "{'evidently', 'pandas', 'scipy', 'sklearn', 'matplotlib', 'dagster'}"
    code = f"import sys, headwater.drift; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
