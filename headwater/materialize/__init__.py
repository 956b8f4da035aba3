"""One materialization is one lake transaction: pin, write, audit, publish. No Dagster in here."""

from headwater.materialize._adding import add_rows
from headwater.materialize._append import POSITIONS_SUFFIX, kept_beside, read_positions
from headwater.materialize._audit import INPUTS_READ, INPUTS_USABLE, REJECTED_SUFFIX
from headwater.materialize._build import (
    NoDataError,
    NothingAppendedError,
    PartitionRebuildError,
    UnknownPartitionError,
    materialize,
)
from headwater.materialize._facts import FactError, plain_facts
from headwater.materialize._file_digests import file_sha256, landed_sha256
from headwater.materialize._finish import (
    Outcome,
    Run,
    Status,
    Stopwatch,
    Written,
    definition_of,
    finish,
    replayed,
    transaction_id_of,
)
from headwater.materialize._freshness import Histories, Reason, Record, record_of, why_held, why_stale
from headwater.materialize._inputs import (
    LandedFileChangedError,
    LandedFileMissingError,
    NotFedError,
    PartitionMissingError,
    RecordingInputs,
    UndeclaredInputError,
    version_of,
)
from headwater.materialize._lineage import column_lineage
from headwater.names import BY_HAND

__all__ = [
    "BY_HAND",
    "INPUTS_READ",
    "INPUTS_USABLE",
    "POSITIONS_SUFFIX",
    "REJECTED_SUFFIX",
    "FactError",
    "Histories",
    "LandedFileChangedError",
    "LandedFileMissingError",
    "NoDataError",
    "NotFedError",
    "NothingAppendedError",
    "Outcome",
    "PartitionMissingError",
    "PartitionRebuildError",
    "Reason",
    "Record",
    "RecordingInputs",
    "Run",
    "Status",
    "Stopwatch",
    "UndeclaredInputError",
    "UnknownPartitionError",
    "Written",
    "add_rows",
    "column_lineage",
    "definition_of",
    "file_sha256",
    "finish",
    "kept_beside",
    "landed_sha256",
    "materialize",
    "plain_facts",
    "read_positions",
    "record_of",
    "replayed",
    "transaction_id_of",
    "version_of",
    "why_held",
    "why_stale",
]
