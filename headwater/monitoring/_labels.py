"""Labels as outcomes read them, and how they changed between two commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from headwater.monitoring._frames import (
    LABEL,
    LABEL_KNOWN_AT,
    LABELS,
    check_columns,
    check_dtype,
    check_label_values,
    check_no_nulls,
)
from headwater.monitoring._json import Recorded
from headwater.monitoring.errors import AmbiguousLabelsError, BadValuesError, ColumnTypeError
from headwater.product import Labels

EVENT_TIME: Final = "__event_time"
_BEFORE: Final = "label_before"
_CHANGE: Final = "change"


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelChanges(Recorded):
    """What became of the labels of one commit in another.

    Attributes:
        rows: The events that changed: key, `label_before`, `label`, `change`; sorted by key.
        events: Events at the earlier commit.
        added: Events that came in. No surprise, so they are not among `rows`.
        filled: Null became 0 or 1.
        emptied: 0 or 1 became null.
        flipped: 0 became 1, or 1 became 0.
        vanished: Events that are gone.
    """

    rows: pl.DataFrame
    events: int
    added: int
    filled: int
    emptied: int
    flipped: int
    vanished: int

    @property
    def revised(self) -> int:
        """Events whose truth was given and is another now: every number that rested on it was wrong."""
        return self.emptied + self.flipped + self.vanished

    def to_json(self) -> dict[str, Any]:
        """The counts; the rows themselves are a table."""
        names = ("events", "added", "filled", "emptied", "flipped", "vanished", "revised")
        return {name: getattr(self, name) for name in names}


def changed_labels(before: pl.DataFrame, after: pl.DataFrame, *, declared: Labels) -> LabelChanges:
    """How the labels of one commit differ from those of an earlier one.

    Args:
        before: Labels at the earlier commit, one row an event.
        after: Labels at the later one.
        declared: Which columns key, time and label are.

    Raises:
        MissingColumnsError, ColumnTypeError, BadValuesError, AmbiguousLabelsError: As in `join_outcomes`.
    """
    key = list(declared.key)
    old, new = (read_labels(side, declared) for side in (before, after))
    was, now, there = pl.col(_BEFORE), pl.col(LABEL), pl.col("there")
    both = old.select(*key, pl.col(LABEL).alias(_BEFORE)).join(
        new.select(*key, LABEL, pl.lit(True).alias("there")), on=key, how="left"
    )
    change = (
        pl.when(there.is_null()).then(pl.lit("vanished"))
        .when(was.is_null() & now.is_not_null()).then(pl.lit("filled"))
        .when(was.is_not_null() & now.is_null()).then(pl.lit("emptied"))
        .when(was != now).then(pl.lit("flipped"))
    )  # fmt: skip
    rows = both.with_columns(change.alias(_CHANGE)).filter(pl.col(_CHANGE).is_not_null()).drop("there").sort(key)
    counts = dict(rows.group_by(_CHANGE).len().iter_rows())
    return LabelChanges(
        rows=rows,
        events=old.height,
        added=new.join(old, on=key, how="anti").height,
        filled=counts.get("filled", 0),
        emptied=counts.get("emptied", 0),
        flipped=counts.get("flipped", 0),
        vanished=counts.get("vanished", 0),
    )


def read_labels(labels: pl.DataFrame, declared: Labels) -> pl.DataFrame:
    """The key columns, `EVENT_TIME`, `label` (Int8) and `label_known_at` (UTC, null without such a column) of labels.

    Rows with a null in the key name no event and are left out.

    Raises:
        MissingColumnsError, ColumnTypeError, BadValuesError, AmbiguousLabelsError: As in `join_outcomes`.
    """
    times = [declared.time, *([declared.known_at] if declared.known_at else [])]
    check_columns(labels, LABELS, [*declared.key, *times])
    if declared.label not in labels.columns:
        check_columns(labels, LABELS, [declared.label])
    for column in times:
        check_dtype(labels, LABELS, column, pl.Datetime, "a Datetime with a time zone")
    dtype = labels.schema[declared.label]
    if not (dtype.is_integer() or dtype.base_type() in (pl.Boolean, pl.Null)):
        raise ColumnTypeError(frame=LABELS, column=declared.label, found=str(dtype), wanted="a whole number or Boolean")
    if dtype.is_integer():
        check_label_values(labels, LABELS, declared.label)
    key = list(declared.key)
    known_at = pl.col(declared.known_at) if declared.known_at else pl.lit(None, pl.Datetime("us", "UTC"))
    found = labels.select(
        *key,
        pl.col(declared.time).dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(EVENT_TIME),
        pl.col(declared.label).cast(pl.Int8).alias(LABEL),
        known_at.dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(LABEL_KNOWN_AT),
    ).drop_nulls(key)
    check_no_nulls(found, LABELS, [EVENT_TIME])
    if declared.known_at and (
        undated := found.filter(pl.col(LABEL_KNOWN_AT).is_null() & pl.col(LABEL).is_not_null()).height
    ):
        problem = "is null beside a label, so nobody knows since when it is known,"
        raise BadValuesError(frame=LABELS, column=declared.known_at, rows=undated, problem=problem)
    _check_unambiguous(found, key)
    return found


def _check_unambiguous(labels: pl.DataFrame, key: Sequence[str]) -> None:
    several = labels.group_by(list(key)).len().filter(pl.col("len") > 1)
    if several.height:
        example = several.select(key).sort(key).row(0)
        shown = ", ".join(f"{name} {value}" for name, value in zip(key, example, strict=True))
        raise AmbiguousLabelsError(key=key, events=several.height, example=shown)
