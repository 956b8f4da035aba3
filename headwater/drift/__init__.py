"""Drift: exact statistics over columns, batch-wise or whole, and the verdict by declared limits."""

from headwater.drift._columns import Frame, ValueKind
from headwater.drift._distribution import CategoricalProfile, NumericProfile
from headwater.drift._evidently import evidently_html
from headwater.drift._store import read_profile, write_profile
from headwater.drift.errors import (
    ColumnKindError,
    DriftError,
    EmptySampleError,
    MissingColumnError,
    ProfileFormatError,
    ProfileMismatchError,
    UnsupportedColumnError,
)
from headwater.drift.profile import ReferenceProfile, profile, profile_batches
from headwater.drift.report import (
    REPORT_SCHEMA,
    ChiSquared,
    ColumnDrift,
    DriftLimits,
    DriftReport,
    DriftVerdict,
    KolmogorovSmirnov,
    LimitError,
    Psi,
    Side,
    Wasserstein,
    report_frame,
)
from headwater.drift.statistics import drift_statistics, joined

__all__ = [
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
