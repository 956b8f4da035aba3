"""The table of a product's answers: who said what of which prediction, and why. Only people write it, a row a commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import polars as pl

from headwater.review.errors import AnswerError

ANSWERED: Final = "review"
"""The action in the provenance of an answer's commit."""
_TIME: Final = pl.Datetime("us", "UTC")
SCHEMA: Final[Mapping[str, Any]] = {
    "id": pl.String(), "time": _TIME, "kind": pl.String(), "request_id": pl.String(), "label": pl.Int8(),
    "reason": pl.String(), "actor": pl.String(), "event": pl.String(), "at": _TIME, "received": _TIME,
    "version": pl.String(), "score": pl.Float64(), "decision": pl.Boolean(),
}  # fmt: skip
Named = tuple[str, datetime]
"""A prediction: its request id and when it came in. After `Serving.unique_for` a caller may use an id again."""
LONGEST_REASON: Final = 2_000


class AnswerKind(StrEnum):
    """What a row says."""

    ANSWER = "answer"
    WITHDRAW = "withdraw"
    """The answer before it does not count; the question is open again."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a person said of one prediction.

    Attributes:
        id: Its name.
        time: When it was given, UTC.
        kind: An answer, or one taken back.
        request_id: The prediction.
        label: 0 or 1; None of somebody who cannot tell, and of a withdrawal.
        reason: Why, not empty.
        actor: Who, such as `user:ada`, not empty.
        event: The labelled event, JSON of the label's key.
        at, received, version, score, decision: Of the prediction, as they were asked.
    """

    id: str
    time: datetime
    kind: AnswerKind = AnswerKind.ANSWER
    request_id: str
    label: int | None
    reason: str
    actor: str
    event: str
    at: datetime
    received: datetime
    version: str
    score: float
    decision: bool

    def __post_init__(self) -> None:
        if not self.reason.strip():
            self._refuse("it has no reason", "Say why: whoever looks at the label will ask.")
        if len(self.reason) > LONGEST_REASON:
            self._refuse(f"its reason has {len(self.reason)} characters", f"{LONGEST_REASON} are taken.")
        if not self.actor.strip():
            self._refuse("it has no actor", "A label without an author is nobody's word.")
        if self.label not in (0, 1, None) or isinstance(self.label, bool):
            self._refuse(f"its label is {self.label!r}", "Labels are 0 and 1.")
        if self.kind is AnswerKind.WITHDRAW and self.label is not None:
            self._refuse("it withdraws and gives a label", "Withdraw first, then answer again.")

    def _refuse(self, problem: str, remedy: str) -> None:
        raise AnswerError(request_id=self.request_id, problem=problem, remedy=remedy)

    @property
    def named(self) -> Named:
        """What names the prediction."""
        return self.request_id, self.received

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        times = {name: found[name].astimezone(UTC).isoformat() for name in ("time", "at", "received")}
        return {**found, **times, "kind": self.kind.value}


def read_answers(rows: pl.LazyFrame) -> tuple[Answer, ...]:
    """The answers of a table, oldest first."""
    found = rows.select(list(SCHEMA)).sort("time", "id").collect()
    return tuple(Answer(**{**row, "kind": AnswerKind(row["kind"])}) for row in found.to_dicts())


def write_answers(*answers: Answer) -> pl.DataFrame:
    """The rows of answers."""
    rows = [{item.name: getattr(answer, item.name) for item in fields(answer)} for answer in answers]
    return pl.DataFrame([{**row, "kind": str(row["kind"])} for row in rows], schema=dict(SCHEMA))


def standing(answers: Sequence[Answer]) -> dict[Named, Answer]:
    """What counts of each request: its last row, unless that takes the answer back."""
    last = {answer.named: answer for answer in answers}
    return {named: answer for named, answer in last.items() if answer.kind is AnswerKind.ANSWER}
