"""What monitoring may rely on in the frames that it is given."""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from headwater.monitoring.errors import BadValuesError, ColumnTypeError, MissingColumnsError

PREDICTIONS: Final = "predictions"
LABELS: Final = "labels"
OUTCOMES: Final = "outcomes"

REQUEST_ID: Final = "request_id"
AT: Final = "at"
RECEIVED: Final = "received"
LATENCY: Final = "latency_us"
LOG: Final = "log_us"
VERSION: Final = "version"
VARIANT: Final = "variant"
SCORE: Final = "score"
DECISION: Final = "decision"
LABEL: Final = "label"
LABEL_KNOWN_AT: Final = "label_known_at"
TRUTH: Final = "truth"
JUDGED: Final = "judged"
UNIT: Final = "drawn_unit"
"""What a version was drawn for: rows that were drawn together have the same one. Null where nobody may know."""

_WANTED: Final[Mapping[str, tuple[type[pl.DataType], str]]] = {
    REQUEST_ID: (pl.String, "String"),
    AT: (pl.Datetime, "a Datetime with a time zone"),
    RECEIVED: (pl.Datetime, "a Datetime with a time zone"),
    LATENCY: (pl.Int64, "Int64 (microseconds)"),
    LOG: (pl.Int64, "Int64 (microseconds)"),
    VARIANT: (pl.String, "String"),
    SCORE: (pl.Float64, "Float64"),
    DECISION: (pl.Boolean, "Boolean"),
    TRUTH: (pl.String, "String"),
    JUDGED: (pl.Boolean, "Boolean"),
    UNIT: (pl.String, "String"),
    LABEL: (pl.Int8, "Int8 (0, 1 or null)"),
}


def check_columns(frame: pl.DataFrame, name: str, columns: Sequence[str]) -> None:
    """Raises MissingColumnsError for those of `columns` that are absent, and ColumnTypeError for a dtype that is not theirs."""
    if missing := [column for column in dict.fromkeys(columns) if column not in frame.columns]:
        raise MissingColumnsError(frame=name, columns=missing, known=frame.columns)
    for column in columns:
        if column in _WANTED:
            check_dtype(frame, name, column, *_WANTED[column])


def check_dtype(frame: pl.DataFrame, name: str, column: str, base: type[pl.DataType], wanted: str) -> None:
    """Raises ColumnTypeError. An instant without a time zone could be of any place, so it is none."""
    dtype = frame.schema[column]
    zoned = not isinstance(dtype, pl.Datetime) or dtype.time_zone is not None
    if dtype.base_type() is not base or not zoned:
        raise ColumnTypeError(frame=name, column=column, found=str(dtype), wanted=wanted)


def check_no_nulls(frame: pl.DataFrame, name: str, columns: Sequence[str]) -> None:
    """Raises BadValuesError for the first of `columns` with a null."""
    for column in columns:
        if nulls := frame[column].null_count():
            raise BadValuesError(frame=name, column=column, rows=nulls, problem="is null")


def check_scores(frame: pl.DataFrame, name: str) -> None:
    """Raises BadValuesError where a score is null, NaN or outside [0, 1]."""
    check_no_nulls(frame, name, [SCORE])
    bad = frame.select((~pl.col(SCORE).is_between(0.0, 1.0)).sum()).item()  # NaN is above everything in Polars
    if bad:
        raise BadValuesError(frame=name, column=SCORE, rows=bad, problem="is NaN or outside [0, 1]")


def check_label_values(frame: pl.DataFrame, name: str, column: str) -> None:
    """Raises BadValuesError where a label is neither 0, 1 nor null."""
    if bad := frame.select((~pl.col(column).is_in([0, 1])).sum()).item():
        raise BadValuesError(frame=name, column=column, rows=bad, problem="is neither 0, 1 nor null")


def shown(value: object) -> str | None:
    """The value of a slice as text, None for null."""
    return None if value is None else str(value)
