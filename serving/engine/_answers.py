"""What the engine takes and gives."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

MISSING: Final = "missing"
"""Why a feature reads as its default in a row that was found: it is null there."""


class Asked(NamedTuple):
    """One request, checked.

    Attributes:
        id: Its unique name.
        fields: Values by field, as training had them: times are `datetime`s.
        at: The prediction time, in microseconds since 1970 (UTC).
        received: The service's clock when all of it was there, in microseconds since 1970.
        started: The same on the clock that measures, in nanoseconds.
        version: A version that has to answer, whatever the policy; empty for none.
        explain: Whether to say how much each feature counted.
        caller: Name of the caller's key.
        trace: W3C trace id.
    """

    id: str
    fields: Mapping[str, Any]
    at: int
    received: int
    started: int
    version: str = ""
    explain: bool = False
    caller: str = ""
    trace: str = ""


class Step(NamedTuple):
    """Something that was done for requests, for who traces them.

    Attributes:
        name: What.
        start: When it began, in nanoseconds on the clock that measures.
        end: When it was over.
        facts: What is known of it.
    """

    name: str
    start: int
    end: int
    facts: Mapping[str, Any] = {}


class Explanation(NamedTuple):
    """How much each feature moved the log odds.

    Attributes:
        base: Log odds before any feature.
        contributions: By feature, adding up with the base to the log odds of the score.
    """

    base: float
    contributions: dict[str, float]


class Answer(NamedTuple):
    """What is said to one request.

    Attributes:
        id: The request's name.
        version: Which version answered, `ensemble` for several.
        variant: What the policy drew.
        score: Probability of the positive class, 0 to 1.
        decision: Whether it reaches the threshold.
        threshold: That threshold.
        at: The prediction time, in microseconds since 1970 (UTC).
        reasons: By view, why its features read as their defaults: all of them (`unknown`, `stale`), or those that are null in the row
            that was found (`missing`).
        explanation: When it was asked for.
        record: The record for the log, encoded.
        logged: Whether it stands in the log when it is given.
    """

    id: str
    version: str
    variant: str
    score: float
    decision: bool
    threshold: float
    at: int
    reasons: Mapping[str, str]
    explanation: Explanation | None
    record: bytes
    logged: bool = True
