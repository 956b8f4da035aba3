"""One materialization is one lake transaction: pin, write, audit, publish. No Dagster in here."""

from headwater.materialize._build import Outcome, Run, Status, materialize
from headwater.materialize._freshness import Reason, Record, record_of, why_stale
from headwater.materialize._inputs import (
    LandedFileMissingError,
    RecordingInputs,
    UndeclaredInputError,
)

__all__ = [
    "LandedFileMissingError",
    "Outcome",
    "Reason",
    "Record",
    "RecordingInputs",
    "Run",
    "Status",
    "UndeclaredInputError",
    "materialize",
    "record_of",
    "why_stale",
]
