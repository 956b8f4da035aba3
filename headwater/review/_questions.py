"""Which predictions wait for a person: those of the band whose truth nobody knows and whom nobody answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import polars as pl

from headwater.monitoring import Truth, join_outcomes
from headwater.product import Labels
from headwater.review._answers import Answer, Named
from headwater.review._declaration import Review

STATE: Final = "state"
EVENT: Final = "event"
CLOSES: Final = "closes"
_NAMED: Final = ("request_id", "received")
_NEEDED: Final = ("request_id", "at", "received", "version", "score", "decision")


class QuestionState(StrEnum):
    """Where a prediction of the band stands."""

    OPEN = "open"
    ANSWERED = "answered"
    KNOWN = "known"
    """The truth came in, or it is known that none will."""
    SUPERSEDED = "superseded"
    """Its event has a newer prediction."""
    EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prediction that a person may be asked about.

    Attributes:
        request_id: The prediction.
        state: Where it stands.
        event: The label's key, by name.
        at, received, version, score, decision: Of the prediction.
        closes: Until when it can be answered.
    """

    request_id: str
    state: QuestionState
    event: Mapping[str, Any]
    at: datetime
    received: datetime
    version: str
    score: float
    decision: bool
    closes: datetime

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        times = {name: getattr(self, name).astimezone(UTC).isoformat() for name in ("at", "received", "closes")}
        event = {name: plain(value) for name, value in self.event.items()}
        rest = {name: getattr(self, name) for name in ("request_id", "version", "score", "decision")}
        return {**rest, **times, "state": self.state.value, "event": event}


def questions(
    predictions: pl.LazyFrame,
    labels: pl.LazyFrame,
    answered: Mapping[Named, Answer],
    *,
    declared: Labels,
    review: Review,
    now: datetime,
    since: datetime | None = None,
    unique_for: timedelta | None = None,
) -> tuple[Question, ...]:
    """Every prediction that is or was asked about, the surest guess last: by distance from the middle of the band.

    Of several predictions of one event the newest is asked about; once one of them is answered, none is any more. A prediction
    that names no event is not asked about: an answer would label nothing.

    Args:
        predictions: What the service answered; with `request_id`, `at`, `received`, `version`, `score`, `decision` and the key.
        labels: The declared labels.
        answered: The answers that count, by request.
        declared: Which columns the labels are.
        review: The band.
        now: The clock: after `received` and the time that a question stays open nobody is asked any more.
        since: Only requests that came in from then on.
        unique_for: As in `join_outcomes`: an id that is used again later names another prediction.

    Raises:
        MonitoringError: Predictions or labels have other columns than declared.
    """
    types = labels.collect_schema()
    keyed = with_key(predictions, declared.key).select(*dict.fromkeys((*_NEEDED, *declared.key)))
    keyed = keyed.with_columns(pl.col(name).cast(types[name], strict=False) for name in declared.key)
    band = (pl.col("score") >= review.low) & (pl.col("score") < review.high)
    if since is not None:
        band &= pl.col("received") >= since
    asked = keyed.filter(band).drop_nulls(list(declared.key)).collect()
    asked = asked.filter(pl.Series([review.draws(id) for id in asked["request_id"]], dtype=pl.Boolean))
    if asked.is_empty():
        return ()
    events = asked.lazy().select(declared.key).unique()
    same = keyed.join(events, on=list(declared.key), how="semi").collect()
    truth = labels.join(events, on=list(declared.key), how="semi").collect()
    as_of = min(_now(keyed, labels, declared), now)
    joined = join_outcomes(same, truth, declared=declared, now=as_of, unique_for=unique_for).frame
    rows = joined.join(asked.select(_NAMED), on=_NAMED, how="semi")
    given = pl.DataFrame(list(answered), schema={name: same.schema[name] for name in _NAMED}, orient="row")
    done = same.join(given, on=_NAMED, how="semi").select(declared.key).unique().with_columns(__done=True)
    rows = rows.join(done, on=list(declared.key), how="left")
    rows = rows.with_columns((pl.col("received") + review.open_for).alias(CLOSES))
    rows = rows.with_columns(_state(now)).sort((pl.col("score") - (review.low + review.high) / 2).abs(), *_NAMED)
    return tuple(_question(row, declared.key) for row in rows.iter_rows(named=True))


def with_key(predictions: pl.LazyFrame, key: tuple[str, ...]) -> pl.LazyFrame:
    """The predictions with all columns of the key: one that is the prediction time stands there under that name."""
    there = predictions.collect_schema().names()
    return predictions.with_columns(pl.col("at").alias(name) for name in key if name not in there)


def plain(value: Any) -> Any:
    """A value of a key as JSON has it."""
    return value.isoformat() if hasattr(value, "isoformat") else value


def _now(predictions: pl.LazyFrame, labels: pl.LazyFrame, declared: Labels) -> datetime:
    """As of when the truth counts, as in the outcomes: the newest instant that requests and labels that are there know of."""
    there = labels.filter(pl.col(declared.label).is_not_null())
    known: Any = there.select(pl.col(declared.known_at or declared.time).max()).collect().item()
    asked: Any = predictions.select(pl.min_horizontal("at", "received").max()).collect().item()
    moments = [
        moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in (known, asked) if moment is not None
    ]
    return max(moments, default=datetime(1970, 1, 1, tzinfo=UTC))


def _state(now: datetime) -> pl.Expr:
    return (
        pl.when(pl.col("truth") != Truth.PENDING.value)
        .then(pl.lit(QuestionState.KNOWN.value))
        .when(pl.col("__done").fill_null(False))
        .then(pl.lit(QuestionState.ANSWERED.value))
        .when(~pl.col("judged"))
        .then(pl.lit(QuestionState.SUPERSEDED.value))
        .when(pl.col(CLOSES) <= now)
        .then(pl.lit(QuestionState.EXPIRED.value))
        .otherwise(pl.lit(QuestionState.OPEN.value))
        .alias(STATE)
    )


def _question(row: Mapping[str, Any], key: tuple[str, ...]) -> Question:
    told = {name: row[name] for name in (*_NEEDED, CLOSES)}
    return Question(**told, state=QuestionState(row[STATE]), event={name: row[name] for name in key})
