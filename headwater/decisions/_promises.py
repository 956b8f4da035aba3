"""Whether a version certainly breaks a promise about its requests: more often than promised, than before, and than who answers beside it.

Few requests are enough, and one may look as often as one likes. What is slow or fails for everybody at the same time (a disk, a
machine that does something else) is no version's: where others answer beside it, it has to be certainly worse than they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from headwater.decisions._advance_evidence import Traffic
from headwater.decisions._sequential import FLOOR, TESTED_PART, RunningMean, exceeds, highest, is_more_often


class PromiseKind(StrEnum):
    """What is promised; the rules that decide by it have the same names."""

    ERRORS = "errors"
    LATENCY = "latency"


_FAILED, _SLOW, _TIMED_OUT = "failed", "took longer than promised", "got no answer in time"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Requests of those that answer beside a version.

    Attributes:
        versions: Who they are, in words.
        outcomes: 1 for a request of which the promise was broken.
        share: Share of the requests to all of them that the version is drawn for.
    """

    versions: str
    outcomes: RunningMean
    share: float


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One promise about the requests to a version.

    Attributes:
        kind: What is promised.
        became: What became of a request of which it was broken, in words.
        version: The version.
        found: 1 for a request of which it was broken.
        allowed: Share of requests of which it may be.
        before: The requests of the time before, whichever version answered.
        beside: Those of others at the same time; None where nobody else answers.
    """

    kind: PromiseKind
    became: str
    version: str
    found: RunningMean
    allowed: float
    before: RunningMean
    beside: Beside | None = None

    @property
    def went(self) -> str:
        """Requests of which it was broken, in words."""
        return f"requests to {self.version} {self.became}"

    def limit(self, *, alpha: float) -> float:
        """The share that was promised, or that the time before can have had, if that is more: at every look but for a chance of `alpha`."""
        return max(self.allowed, highest(self.before, alpha=alpha) if self.before.count >= FLOOR else 0.0)

    def broken(self, *, level: float) -> str:
        """Why it is certainly broken, empty where it is not; wrongly so with a chance of `level` at most, at all looks together.

        That of the time before is itself an estimate, so that it shares the level with the test against it. The test against who
        answers beside the version has the whole level: both have to be wrong where the version is no worse than either.
        """
        part, bad = level * TESTED_PART, round(self.found.total)
        limit = self.limit(alpha=part)
        if not exceeds(bad, self.found.count, limit=limit, alpha=part):
            return ""
        reason = f"{bad} of {self.found.count} {self.went}, certainly more than {limit:.2%}"
        if self.beside is None or _is_hardly_asked(self.beside, self.found, level):
            return reason
        others = self.beside.outcomes
        if not is_more_often(self.found, others, alpha=level):
            return ""
        return f"{reason}, and more often than {round(others.total)} of {others.count} to {self.beside.versions} at the same time"


def promises_of(
    asked: Traffic,
    before: Traffic,
    *,
    errors_allowed: float,
    slow_allowed: float,
    is_scored_beside: bool = False,
    others: Sequence[Traffic] = (),
    share: float = 0.0,
) -> Iterator[Promise]:
    """What is promised of the requests to a version.

    Args:
        asked: Its requests.
        before: Those of the time before, whichever version answered.
        errors_allowed: Share of requests that may fail.
        slow_allowed: Share of answers to a single instance that may take longer than promised.
        is_scored_beside: Whether others score what it answers: then it is their promises that are asked about, of what a second score can
            do to an answer. A fault of its own is none of that.
        others: Requests at the same time to those that answer beside it.
        share: Share of the requests to it and to them that it is drawn for.
    """
    names = " and ".join(one.version for one in others)
    errors = (_TIMED_OUT, _timeouts) if is_scored_beside else (_FAILED, _failures)
    for kind, allowed, (became, outcomes) in (
        (PromiseKind.ERRORS, errors_allowed, errors),
        (PromiseKind.LATENCY, slow_allowed, (_SLOW, _slowness)),
    ):
        theirs = sum((outcomes(one) for one in others), RunningMean())
        yield Promise(
            kind=kind,
            became=became,
            version=asked.version,
            found=outcomes(asked),
            allowed=allowed,
            before=outcomes(before),
            beside=Beside(versions=names, outcomes=theirs, share=share) if others else None,
        )


def _failures(traffic: Traffic) -> RunningMean:
    return traffic.failures


def _timeouts(traffic: Traffic) -> RunningMean:
    return traffic.timeouts


def _slowness(traffic: Traffic) -> RunningMean:
    return traffic.slowness


def _is_hardly_asked(beside: Beside, found: RunningMean, level: float) -> bool:
    """Whether the version gets so much more than its share of the requests that the others could show nothing, whatever became of theirs."""
    others = beside.outcomes.count
    is_drawn = not 0 < beside.share < 1 or not exceeds(
        found.count, found.count + others, limit=beside.share, alpha=level
    )
    return not is_drawn and not is_more_often(found, RunningMean(count=others), alpha=level)
