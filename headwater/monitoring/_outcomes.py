"""Predictions meet the truth: as of an instant, by the declared key, with what is not known yet left open."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import polars as pl

from headwater.monitoring._frames import (
    AT,
    DECISION,
    JUDGED,
    LABEL,
    LABEL_KNOWN_AT,
    PREDICTIONS,
    RECEIVED,
    REQUEST_ID,
    SCORE,
    TRUTH,
    VERSION,
    check_columns,
    check_no_nulls,
    check_scores,
)
from headwater.monitoring._json import Recorded
from headwater.monitoring._labels import EVENT_TIME, read_labels
from headwater.monitoring.errors import ColumnTypeError, MonitoringRuleError
from headwater.product import Labels

_REPEATED: Final = "__repeated"
_TEXT = (pl.String, pl.Categorical, pl.Enum)


class Truth(StrEnum):
    """What is known of an event at an instant."""

    KNOWN = "known"
    """It happened, or it did not."""
    NONE = "none"
    """It will never have a label, such as a flight that was cancelled."""
    PENDING = "pending"
    """Nobody can know yet, or nobody has said."""
    REVIEWED = "reviewed"
    """Pending, but a person said what it is: a label that stands in for the truth. Performance is not judged on it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes(Recorded):
    """Predictions beside their labels, and what did not fit together.

    Attributes:
        frame: One row a prediction, which request id and `received` name, by `at`, `received` and request id: the predictions' columns, `label` (Int8, null unless known),
            `label_known_at`, `truth` (a `Truth`), `judged` (whether it is the newest prediction of its event).
        now: As of when.
        repeated: Rows left out because an earlier received row has their request id, and they came in soon enough after it.
        reused: Rows with the request id of an earlier one that came in longer before: they count.
        contradicted: Request ids whose rows differ in score, decision or version.
        superseded: Predictions of which their event has a newer one; kept, not judged.
        unkeyed: Predictions with a null in the key: they name no event, and are not judged.
        unpredicted: Events between the first and the last prediction time whose truth is known and that nobody predicted.
    """

    frame: pl.DataFrame
    now: datetime
    repeated: int
    reused: int
    contradicted: int
    superseded: int
    unkeyed: int
    unpredicted: int

    def to_json(self) -> dict[str, Any]:
        """The counts, and rows by truth; the rows themselves are a table."""
        counts = dict(self.frame.group_by(TRUTH).len().iter_rows())
        return {
            "now": self.now.isoformat(),
            "rows": self.frame.height,
            "judged": int(self.frame[JUDGED].sum()),
            "truth": {truth.value: counts.get(truth.value, 0) for truth in Truth},
            "repeated": self.repeated,
            "reused": self.reused,
            "contradicted": self.contradicted,
            "superseded": self.superseded,
            "unkeyed": self.unkeyed,
            "unpredicted": self.unpredicted,
        }


def join_outcomes(
    predictions: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    declared: Labels,
    now: datetime,
    unique_for: timedelta | None = None,
) -> Outcomes:
    """Every prediction with what is known of its event at `now`.

    A label that came in later than `now` is pending. A null label is no truth as soon as it is known, and without a known-at
    time once the event's prediction time has passed. An event without a label is pending.

    Args:
        predictions: `request_id`, `at`, `received`, `version`, `score`, `decision`, the key and any further columns; those called
            `label`, `label_known_at`, `truth` or `judged` are replaced.
        labels: The declared key, time, label and known-at columns, one row an event.
        declared: Which columns these are.
        now: As of when, with a time zone.
        unique_for: A row that came in at most so long after another with its request id repeats it; None takes all of an id for one.

    Raises:
        MissingColumnsError: A column is absent.
        ColumnTypeError: A column has another dtype, or a key another one on each side.
        BadValuesError: A score is no probability, a label neither 0, 1 nor null, a request has no id or no time.
        AmbiguousLabelsError: An event has several labels.
        MonitoringRuleError: `now` has no time zone.
    """
    if now.tzinfo is None:
        raise MonitoringRuleError(rule="now", value=now, wanted="an instant with a time zone")
    _check_predictions(predictions, declared.key)
    known = read_labels(labels, declared)
    key = list(declared.key)
    is_repeated = _is_repeated(unique_for)
    ordered = predictions.sort(RECEIVED, AT, REQUEST_ID, maintain_order=True).with_columns(is_repeated.alias(_REPEATED))
    once = ordered.filter(~pl.col(_REPEATED)).drop(_REPEATED)
    unkeyed = pl.any_horizontal(pl.col(key).is_null())
    # The last row of an event in this order is its newest prediction.
    newest_first = pl.int_range(pl.len(), 0, -1)
    frame = (
        _with_keys_of(known, once, declared.key)
        .join(known, on=key, how="left")
        .sort(AT, RECEIVED, REQUEST_ID)
        .with_columns(_truth(now), ((newest_first.over(key) == 1) & ~unkeyed).alias(JUDGED))
    )
    without_event = frame.filter(unkeyed).height
    return Outcomes(
        frame=frame.with_columns(
            pl.when(pl.col(TRUTH) == Truth.KNOWN.value).then(LABEL).alias(LABEL),
            pl.when(pl.col(TRUTH) != Truth.PENDING.value).then(LABEL_KNOWN_AT).alias(LABEL_KNOWN_AT),
        ).drop(EVENT_TIME),
        now=now,
        repeated=predictions.height - frame.height,
        reused=once.height - once[REQUEST_ID].n_unique(),
        contradicted=_contradicted(ordered),
        superseded=frame.height - without_event - int(frame[JUDGED].sum()),
        unkeyed=without_event,
        unpredicted=_unpredicted(frame, known, key, now),
    )


def _is_repeated(unique_for: timedelta | None) -> pl.Expr:
    """Of rows by `received`: whether one repeats the row of its request id before it."""
    since = pl.col(RECEIVED).diff().over(REQUEST_ID)
    return (since.is_not_null() if unique_for is None else since <= unique_for).fill_null(False)


def _contradicted(ordered: pl.DataFrame) -> int:
    use = (~pl.col(_REPEATED)).cum_sum().over(REQUEST_ID).alias("use")
    several = ordered.filter(pl.col(REQUEST_ID).is_duplicated()).with_columns(use)
    answers = several.group_by(REQUEST_ID, "use").agg(pl.struct(SCORE, DECISION, VERSION).n_unique().alias("answers"))
    return answers.filter(pl.col("answers") > 1)[REQUEST_ID].n_unique()


def _truth(now: datetime) -> pl.Expr:
    came_in = pl.col(LABEL_KNOWN_AT).fill_null(pl.col(EVENT_TIME)) <= now
    return (
        pl.when(~came_in.fill_null(False))
        .then(pl.lit(Truth.PENDING.value))
        .when(pl.col(LABEL).is_null())
        .then(pl.lit(Truth.NONE.value))
        .otherwise(pl.lit(Truth.KNOWN.value))
        .alias(TRUTH)
    )


def _unpredicted(frame: pl.DataFrame, known: pl.DataFrame, key: list[str], now: datetime) -> int:
    if frame.is_empty():
        return 0
    covered = known.filter(pl.col(EVENT_TIME).is_between(frame[AT].min(), frame[AT].max())).with_columns(_truth(now))
    return covered.filter(pl.col(TRUTH) == Truth.KNOWN.value).join(frame, on=key, how="anti").height


def _check_predictions(predictions: pl.DataFrame, key: tuple[str, ...]) -> None:
    check_columns(predictions, PREDICTIONS, [REQUEST_ID, AT, RECEIVED, VERSION, SCORE, DECISION, *key])
    check_no_nulls(predictions, PREDICTIONS, [REQUEST_ID, AT, RECEIVED, DECISION])
    check_scores(predictions, PREDICTIONS)


def _with_keys_of(labels: pl.DataFrame, predictions: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """The predictions with the labels' dtypes in their key. A value that no label could have becomes null: it names no event."""
    for column in key:
        ours, theirs = predictions.schema[column], labels.schema[column]
        if not _comparable(ours, theirs):
            wanted = f"{theirs}, as in the labels"
            raise ColumnTypeError(frame=PREDICTIONS, column=column, found=str(ours), wanted=wanted)
    taken = {LABEL, LABEL_KNOWN_AT, TRUTH, JUDGED} & set(predictions.columns)
    casts = [pl.col(column).cast(labels.schema[column], strict=False) for column in key]
    return predictions.drop(taken).with_columns(casts)


def _comparable(left: pl.DataType, right: pl.DataType) -> bool:
    if left == right:
        return True
    if isinstance(left, pl.Datetime) and isinstance(right, pl.Datetime):
        return left.time_zone == right.time_zone
    return (left.is_integer() and right.is_integer()) or all(side.base_type() in _TEXT for side in (left, right))
