"""What a product promises its callers: latency, errors, freshness, accuracy; and how fast it uses up what it may get wrong.

Burn rates are those of The Site Reliability Workbook (Beyer et al. 2018, chapter 5): at 1 a budget is used up exactly over the
time for which it is given, at 14.4 a thirty-day budget loses 2% in an hour.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from headwater.lengths import LONGEST
from headwater.monitoring._json import Recorded
from headwater.monitoring.errors import MonitoringRuleError


def _check(what: str, rule: str, value: object, holds: bool, wanted: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        holds = False
    if not holds:
        raise MonitoringRuleError(rule=f"{what}(...): {rule}", value=value, wanted=wanted)


@dataclass(frozen=True, kw_only=True)
class BurnRule:
    """When a budget burns too fast: over a long time, and still over a short one, so that an alarm ends with its cause.

    Attributes:
        name: What it is called, such as `page`.
        long: The long time, a hundred years at most.
        short: The short one.
        burn: Burn rate at or above which both alarm, > 0.
    """

    name: str
    long: timedelta
    short: timedelta
    burn: float

    def __post_init__(self) -> None:
        _check(
            "BurnRule",
            "short",
            self.short,
            timedelta(0) < self.short <= self.long,
            "above zero, and no longer than `long`",
        )
        _check("BurnRule", "long", self.long, self.long <= LONGEST, f"{LONGEST} at most")
        _check("BurnRule", "burn", self.burn, self.burn > 0, "above 0")


DEFAULT_BURN_RULES = (
    BurnRule(name="page", long=timedelta(hours=1), short=timedelta(minutes=5), burn=14.4),
    BurnRule(name="page_slow", long=timedelta(hours=6), short=timedelta(minutes=30), burn=6.0),
    BurnRule(name="ticket", long=timedelta(days=3), short=timedelta(hours=6), burn=1.0),
)
"""The Workbook's recommendation for a budget of thirty days."""


@dataclass(frozen=True, kw_only=True)
class ServiceLevels:
    """The promises of a product.

    Attributes:
        latency: Time within which a share `latency_share` of the answers to single instances is given, from when the request has come in
            whole. Of a batch nothing is promised: its time grows with its size.
        latency_share: That share, such as 0.95 for the 95th percentile. The rest is the budget of slow answers.
        errors: Share of requests that may fail: the error budget. A batch is one request.
        accuracy_drop: Drop of the accuracy, relative to the reference, that is too much.
        freshness: Age at which the newest of what is watched is stale; None takes each feature view's own `ttl`.
        min_requests: Requests below which errors are not judged, and answers to single instances below which latency is not.
        rules: When a budget burns too fast.
    """

    latency: timedelta = timedelta(milliseconds=100)
    latency_share: float = 0.95
    errors: float = 0.01
    accuracy_drop: float = 0.05
    freshness: timedelta | None = None
    min_requests: int = 100
    rules: tuple[BurnRule, ...] = field(default=DEFAULT_BURN_RULES)

    def __post_init__(self) -> None:
        name = "ServiceLevels"
        _check(name, "latency", self.latency, self.latency > timedelta(0), "above zero")
        _check(name, "latency", self.latency, self.latency <= LONGEST, f"{LONGEST} at most")
        _check(name, "latency_share", self.latency_share, 0 < self.latency_share < 1, "between 0 and 1")
        _check(name, "errors", self.errors, 0 < self.errors < 1, "between 0 and 1")
        _check(name, "accuracy_drop", self.accuracy_drop, 0 < self.accuracy_drop < 1, "between 0 and 1")
        _check(
            name,
            "freshness",
            self.freshness,
            self.freshness is None or self.freshness > timedelta(0),
            "above zero, or None",
        )
        _check(name, "min_requests", self.min_requests, self.min_requests >= 1, "1 or more")


@dataclass(frozen=True, kw_only=True)
class Budget(Recorded):
    """What may go wrong, and what did.

    Attributes:
        requests: All of them.
        bad: Those that were slow, or failed.
        allowed: Share that may be.
    """

    derived: ClassVar[tuple[str, ...]] = ("burn", "left")

    requests: int
    bad: int
    allowed: float

    @property
    def burn(self) -> float | None:
        """Share that was bad over the share that may be; above 1 the promise is broken. None without requests."""
        return self.bad / self.requests / self.allowed if self.requests else None

    @property
    def left(self) -> float | None:
        """Share of the budget that is left, negative when overdrawn; None without requests."""
        return None if self.burn is None else 1.0 - self.burn


@dataclass(frozen=True, kw_only=True)
class Burning(Recorded):
    """A budget that burns too fast.

    Attributes:
        rule: Name of the rule.
        budget: `latency` or `errors`.
        long: Burn rate over the long time.
        short: Burn rate over the short one.
    """

    rule: str
    budget: str
    long: float
    short: float


@dataclass(frozen=True, kw_only=True)
class ServiceWindow(Recorded):
    """How a service kept its promises in one window of its own clock.

    Attributes:
        start: First instant (UTC).
        end: The first one after it.
        answered: Requests that were answered, each once for every version that answered part of it.
        failed: Requests that failed, likewise.
        latency: The promised quantile of the latency of answers to single instances; None without any.
        slow: Budget of slow answers, of those to single instances.
        errors: Error budget.
        broken: Promises that were not kept, one sentence each; empty also where there were too few requests.
        judged: Whether there were enough requests to judge errors.
    """

    start: datetime
    end: datetime
    answered: int
    failed: int
    latency: timedelta | None
    slow: Budget
    errors: Budget
    broken: tuple[str, ...]
    judged: bool


@dataclass(frozen=True, kw_only=True)
class Freshness(Recorded):
    """How old the newest of something is.

    Attributes:
        name: Of what, such as a feature view.
        newest: Its newest instant; None when there is none at all.
        age: Its age; None when there is none. Never negative: what is ahead of the clock is new.
        stale: Whether it is too old, or absent.
    """

    name: str
    newest: datetime | None
    age: timedelta | None
    stale: bool
