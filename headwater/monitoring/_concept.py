"""Concept drift: when the errors of a model became more frequent, found in the stream of them, one after the other.

The detectors are River's (Montiel et al. 2021, JMLR 22, 1-8). River is loaded where it is used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from headwater.models.errors import MissingPackageError
from headwater.monitoring._json import Recorded
from headwater.monitoring.errors import BadValuesError, MonitoringRuleError


@dataclass(frozen=True, kw_only=True)
class Ddm:
    """Drift detection method: the error rate rose above its lowest by several standard deviations (Gama et al. 2004, SBIA).

    Attributes:
        warm_up: Errors and successes before anything is judged. Too few, and the lowest rate seen is far below the true one.
        deviations: How many standard deviations make an alarm, > 0.
    """

    name: ClassVar[str] = "DDM"
    two_sided: ClassVar[bool] = False
    warm_up: int = 300
    deviations: float = 4.0

    def __post_init__(self) -> None:
        _check("Ddm", "warm_up", self.warm_up, self.warm_up >= 30, "30 or more")
        _check("Ddm", "deviations", self.deviations, self.deviations > 0, "above 0")


@dataclass(frozen=True, kw_only=True)
class PageHinkley:
    """Cumulated deviations above the running mean (Page 1954, Biometrika 41, 100-115).

    Attributes:
        warm_up: Errors and successes before anything is judged.
        tolerated: Rise of the error rate that is none, >= 0.
        threshold: Cumulated rise that makes an alarm, > 0: higher is later and with fewer false alarms.
    """

    name: ClassVar[str] = "Page-Hinkley"
    two_sided: ClassVar[bool] = False
    warm_up: int = 30
    tolerated: float = 0.02
    threshold: float = 50.0

    def __post_init__(self) -> None:
        _check("PageHinkley", "warm_up", self.warm_up, self.warm_up >= 1, "1 or more")
        _check("PageHinkley", "tolerated", self.tolerated, self.tolerated >= 0, "0 or more")
        _check("PageHinkley", "threshold", self.threshold, self.threshold > 0, "above 0")


@dataclass(frozen=True, kw_only=True)
class Adwin:
    """Adaptive window: two parts of the newest errors have different means (Bifet and Gavalda 2007, SDM, 443-448).

    Attributes:
        delta: Bound on the chance of a false alarm at one look, between 0 and 1.
        every: Errors and successes between two looks.
    """

    name: ClassVar[str] = "ADWIN"
    two_sided: ClassVar[bool] = True
    delta: float = 0.002
    every: int = 32

    def __post_init__(self) -> None:
        _check("Adwin", "delta", self.delta, 0 < self.delta < 1, "between 0 and 1")
        _check("Adwin", "every", self.every, self.every >= 1, "1 or more")


Detector: TypeAlias = Ddm | PageHinkley | Adwin


@dataclass(frozen=True, kw_only=True)
class Alarm(Recorded):
    """One alarm.

    Attributes:
        at: Position in the stream, from 0, at which it was raised: everything up to it was looked at.
        before: Error rate since the last alarm (or the start), up to where the newest stretch begins.
        after: Error rate of the newest stretch.
    """

    at: int
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class Alarms(Recorded):
    """What a detector found in a stream.

    Attributes:
        detector: Its name.
        rows: Length of the stream.
        alarms: Rises of the error rate, oldest first. The detector begins anew after each.
        falls: Alarms of a detector that also finds falls, at which the error rate was no higher than before; left out.
    """

    detector: str
    rows: int
    alarms: tuple[Alarm, ...]
    falls: int


def concept_alarms(errors: np.ndarray, *, detector: Detector, stretch: int = 200) -> Alarms:
    """Where the error rate of a stream rose.

    Args:
        errors: 1 (or True) where a decision was wrong, 0 where right, `[rows]`, in the order in which the truth became known.
        detector: Which detector.
        stretch: Newest rows whose rate is shown beside what was before, >= 1; at most half of the rows since the last alarm.

    Raises:
        BadValuesError: The stream holds something other than 0 and 1.
        MonitoringRuleError: `stretch` is below 1.
        MissingPackageError: River is not installed.
    """
    if stretch < 1:
        raise MonitoringRuleError(rule="concept_alarms(...): stretch", value=stretch, wanted="1 or more")
    stream = np.asarray(errors, dtype=np.float64)
    if bad := int((~np.isin(stream, (0.0, 1.0))).sum()):
        raise BadValuesError(frame="errors", column="error", rows=bad, problem="is neither 0 nor 1")
    alarms, falls, since = [], 0, 0
    for position in _positions(stream, detector):
        newest = position + 1 - min(stretch, (position + 1 - since) // 2)
        before, after = stream[since:newest].mean(), stream[newest : position + 1].mean()
        if after > before or not detector.two_sided:
            alarms.append(Alarm(at=position, before=float(before), after=float(after)))
        else:
            falls += 1
        since = position + 1
    return Alarms(detector=detector.name, rows=len(stream), alarms=tuple(alarms), falls=falls)


def _positions(stream: np.ndarray, detector: Detector) -> list[int]:
    made = _made(detector)
    found = []
    for position, error in enumerate(stream.tolist()):
        made.update(error)
        if made.drift_detected:
            found.append(position)
    return found


def _made(detector: Detector) -> Any:
    """River's detector. It begins anew by itself at the first row after an alarm."""
    try:
        from river import drift
        from river.drift import binary
    except ModuleNotFoundError as error:
        raise MissingPackageError(package="river", extra="train", purpose="the search for concept drift") from error
    makers: dict[type, Callable[[Any], Any]] = {
        Ddm: lambda one: binary.DDM(warm_start=one.warm_up, drift_threshold=one.deviations),
        PageHinkley: lambda one: drift.PageHinkley(
            min_instances=one.warm_up, delta=one.tolerated, threshold=one.threshold, mode="up"
        ),
        Adwin: lambda one: drift.ADWIN(delta=one.delta, clock=one.every),
    }
    return makers[type(detector)](detector)


def _check(detector: str, rule: str, value: float, holds: bool, wanted: str) -> None:
    if not holds:
        raise MonitoringRuleError(rule=f"{detector}(...): {rule}", value=value, wanted=wanted)
