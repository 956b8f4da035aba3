"""From answers, failures and outcomes of one stage of a rollout to the counts that its decision looks at."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from headwater.decisions import RunningMean, Standing, Traffic, Versus
from headwater.monitoring._costs import DecisionCosts
from headwater.monitoring._frames import (
    AT,
    DECISION,
    JUDGED,
    LABEL,
    LATENCY,
    OUTCOMES,
    PREDICTIONS,
    RECEIVED,
    REQUEST_ID,
    TRUTH,
    UNIT,
    VARIANT,
    check_columns,
)
from headwater.monitoring._requests import count_batches, count_requests, count_slow, one_each, with_batches
from headwater.monitoring._settled import WINDOW, SettledWindow, settled_rows, whole_days, whole_windows
from headwater.monitoring._windows import Windowing
from headwater.names import DEADLINE

SHADOWS: Final = "shadows"
COUNT: Final = "count"
CODE: Final = "code"
_OURS: Final = "__candidate"
_THEIRS: Final = "__other"
_LEAST: Final = 30
"""Outcomes below which the mean of a window shows nothing."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Requests that got no answer.

    Attributes:
        count: How many.
        timed_out: Of them those that got none in time.
    """

    count: int = 0
    timed_out: int = 0


@dataclass(frozen=True, kw_only=True)
class StageCounts:
    """What became of a stage's requests.

    Attributes:
        candidate: Those to the candidate; in the shadow, those that it scored.
        other: Those to the other version.
        versus: How their losses compare.
        versus_wrong: How their shares of wrong decisions compare.
        windows: Which labels count.
    """

    candidate: Traffic
    other: Traffic
    versus: Versus
    versus_wrong: Versus
    windows: tuple[SettledWindow, ...]

    @property
    def unsettled(self) -> int:
        """Events whose label is awaited, or whose window is not settled."""
        return sum(one.events - one.labelled * one.is_settled for one in self.windows)


def stage_counts(
    answers: pl.DataFrame,
    failures: pl.DataFrame,
    outcomes: pl.DataFrame,
    *,
    standing: Standing,
    thresholds: Mapping[str, float],
    slow: timedelta,
    costs: DecisionCosts | None,
    windowing: Windowing,
    min_coverage: float,
    now: datetime,
    first: datetime | None = None,
    per: tuple[str, ...] = (),
) -> StageCounts:
    """Counts of one stage. Losses count once for each unit that a version was drawn for, by its first settled window (`by_unit`).

    Requests count once for each version that answered part of them (`count_requests`), a batch as one; slow are those of one instance
    alone.

    Args:
        answers: Predictions that were drawn under the stage's policy: `request_id`, `at`, `received`, `latency_us`, `variant`,
            `decision`, `shadows`, the JSON of other versions' scores, and `drawn_unit`, what each was drawn for.
        failures: Requests that got no answer since it began: `version`, `code`, `count`.
        outcomes: The frame of `join_outcomes`; a prediction that is not there yet awaits its label.
        standing: The stage.
        thresholds: Version to the score from which on it decides for the positive class.
        slow: Latency above which the answer to a single instance is slow.
        costs: The business metric; None takes 1 for a wrong decision.
        windowing: Windows of labels.
        min_coverage: Share of a window's events whose label must be known.
        now: As of when.
        first: The instant, by prediction time, at which the stage began: the window that holds it is a piece of one. None takes all as whole.
        per: Fields that name a unit, for the words of the decision; empty where each labelled event is one.

    Raises:
        MissingColumnsError, ColumnTypeError: A frame lacks a column.
    """
    check_columns(answers, PREDICTIONS, [REQUEST_ID, AT, RECEIVED, LATENCY, VARIANT, DECISION, SHADOWS, UNIT])
    check_columns(outcomes, OUTCOMES, [REQUEST_ID, AT, LABEL, TRUTH, JUDGED])
    ours, theirs = standing.candidate, standing.other
    drawn = with_batches(answers).filter(pl.col(VARIANT).is_in([ours, theirs]))
    rows = drawn.with_columns(decided_by(ours, thresholds).alias(_OURS), decided_by(theirs, thresholds).alias(_THEIRS))
    is_shadow = standing.share <= 0
    is_paired = is_shadow or standing.is_compared
    known, windows = settled_rows(rows, outcomes, windowing, min_coverage, now, by_version=not is_paired)
    failed = failed_by(failures)
    sides = [known.drop_nulls(one) for one in (_OURS, _THEIRS)]
    if not is_paired:
        sides = [one.filter(pl.col(VARIANT) == name) for one, name in zip(sides, (ours, theirs), strict=True)]
    both = known.drop_nulls([_OURS, _THEIRS]) if is_paired else None
    decided = (_OURS, _THEIRS)
    days = None
    if is_paired:
        days = whole_days(rows, outcomes, windowing, min_coverage, now, first=first, settled=(known, windows))
        days = days.drop_nulls([_OURS, _THEIRS])
    loss, wrong = (compared(both, *sides, decided=decided, costs=price, per=per, days=days) for price in (costs, None))
    mistakes = [running(losses_of(side, one, None)) for side, one in zip(sides, decided, strict=True)]
    other = _traffic(rows, theirs, failed, slow, loss.other, mistakes[1])
    if is_shadow:
        asked = rows.filter(pl.col(VARIANT) == theirs)
        unscored = count_requests(asked.filter(pl.col(_OURS).is_null()))
        candidate = Traffic(
            version=ours,
            answered=count_requests(asked) - unscored,
            failed=unscored if ours in thresholds else 0,
            wrong=mistakes[0],
            loss=loss.candidate,
        )
    else:
        candidate = _traffic(rows, ours, failed, slow, loss.candidate, mistakes[0])
    return StageCounts(candidate=candidate, other=other, versus=loss, versus_wrong=wrong, windows=windows)


def wrong_by_window(
    answers: pl.DataFrame,
    outcomes: pl.DataFrame,
    *,
    version: str,
    windowing: Windowing,
    min_coverage: float,
    now: datetime,
    first: datetime | None,
) -> tuple[float, ...]:
    """The share of wrong decisions of a version in each whole settled window, a day or more, of what it answered, oldest first.

    A piece of a day is no day: evenings may be far worse than mornings.

    Args:
        answers: `request_id`, `at`, `variant` and `decision`.
        outcomes: The frame of `join_outcomes`.
        version: The version.
        windowing: Windows of labels.
        min_coverage: Share of a window's events whose label must be known.
        now: As of when.
        first: The instant, by prediction time, at which it began to answer. None of a version that answers no more, of whose time a part
            is looked at: its first and last window are pieces.
    """
    check_columns(answers, PREDICTIONS, [REQUEST_ID, AT, VARIANT, DECISION])
    own = answers.filter(pl.col(VARIANT) == version)
    known, windows = settled_rows(own, outcomes, windowing.by_day, min_coverage, now)
    if first is None:
        known = known.filter(pl.col(WINDOW).is_between(2, len(windows) - 1))
    parts = whole_windows(known, windows, first=first).partition_by(WINDOW, maintain_order=True)
    return tuple(float(losses_of(part, DECISION, None).mean()) for part in parts if part.height >= _LEAST)


def traffic_before(answers: pl.DataFrame, failures: pl.DataFrame, *, slow: timedelta) -> Traffic:
    """The requests of a time, whichever version answered, counted as those of a stage are (`stage_counts`).

    Args:
        answers: `request_id`, `received`, `latency_us` and `variant`.
        failures: Requests that got no answer: `code`, `count`.
        slow: Latency above which the answer to a single instance is slow.

    Raises:
        MissingColumnsError, ColumnTypeError: A frame lacks a column.
    """
    return answered_by(with_batches(answers), failed=_failed(failures), slow=slow)


def price_of(loss: float, costs: DecisionCosts | None) -> float:
    """The mean cost of a decision that a mean loss stands for; without costs the loss itself."""
    if costs is None:
        return loss
    low, high = _range(costs)
    return low + loss * (high - low)


def decided_by(version: str, thresholds: Mapping[str, float]) -> pl.Expr:
    """What a version decided, or would have by its score; null where it has none."""
    shadow = pl.col(SHADOWS).str.json_path_match(f"$['{version}']").cast(pl.Float64, strict=False)
    watched = shadow >= thresholds[version] if version in thresholds else pl.lit(None, pl.Boolean)
    return pl.when(pl.col(VARIANT) == version).then(pl.col(DECISION)).otherwise(watched)


def differences_by_window(
    rows: pl.DataFrame, *, decided: tuple[str, str], costs: DecisionCosts | None
) -> tuple[float, ...]:
    """The mean loss of the candidate less that of the other one in each window, oldest first, each unit once in a window.

    A window with few units counts together with those after it, until they are 30.

    Args:
        rows: Of `settled_rows`, that both decided about.
        decided: The columns of the candidate's decisions and of the other's.
        costs: The business metric; None takes 1 for a wrong decision.
    """
    mine, others = decided
    values = losses_of(rows, mine, costs) - losses_of(rows, others, costs)
    found = rows.select(UNIT, WINDOW).with_columns(pl.Series("value", values, pl.Float64)).drop_nulls(UNIT)
    units = found.group_by(WINDOW, UNIT).agg(pl.col("value").mean())
    sums = units.group_by(WINDOW).agg(pl.col("value").sum(), pl.len()).sort(WINDOW)
    means, total, count = [], 0.0, 0
    for value, more in sums.select("value", "len").iter_rows():
        total, count = total + value, count + more
        if count >= _LEAST:
            means.append(total / count)
            total, count = 0.0, 0
    return tuple(means)


def compared(
    both: pl.DataFrame | None,
    ours: pl.DataFrame,
    theirs: pl.DataFrame,
    *,
    decided: tuple[str, str],
    costs: DecisionCosts | None,
    per: tuple[str, ...],
    days: pl.DataFrame | None,
) -> Versus:
    """How two versions compare, each unit counted once.

    Args:
        both: Rows of `settled_rows` that both decided about; None where each has requests of its own.
        ours: Those of the candidate.
        theirs: Those of the other one.
        decided: The columns of their decisions.
        costs: The business metric; None takes 1 for a wrong decision.
        per: Fields that name a unit; empty where each labelled event is one.
        days: Rows of `whole_days` that both decided about; None as above.
    """
    mine, others = decided
    shared = ours.clear() if both is None else both
    differences = losses_of(shared, mine, costs) - losses_of(shared, others, costs)
    return Versus(
        is_paired=both is not None,
        per=per,
        differences=running(by_unit(shared, (differences + 1) / 2)),
        candidate=running(by_unit(ours, losses_of(ours, mine, costs))),
        other=running(by_unit(theirs, losses_of(theirs, others, costs))),
        windows=differences_by_window(days, decided=decided, costs=costs) if days is not None else (),
    )


def by_unit(rows: pl.DataFrame, values: np.ndarray) -> np.ndarray:
    """One outcome a unit, from 0 to 1: the mean of its values in the first settled window that has any.

    What is drawn is a unit with all its requests, which are alike: they are one outcome of a sequential test, not as many. A later
    window of the same unit adds nothing and changes nothing, so that each outcome counts once, at every look. Rows whose unit nobody
    may know are left out.

    Args:
        rows: Of `settled_rows`, of one version.
        values: `[rows]`.
    """
    found = rows.select(UNIT, WINDOW).with_columns(pl.Series("value", values, pl.Float64)).drop_nulls(UNIT)
    first = found.filter(pl.col(WINDOW) == pl.col(WINDOW).min().over(UNIT))
    return first.group_by(UNIT, maintain_order=True).agg(pl.col("value").mean())["value"].to_numpy()


def losses_of(rows: pl.DataFrame, decision: str, costs: DecisionCosts | None) -> np.ndarray:
    """Losses of the decisions in a column, from 0 to 1."""
    labels, decisions = rows[LABEL].to_numpy(), rows[decision].to_numpy().astype(bool)
    if costs is None or (span := _range(costs))[0] == span[1]:
        return ((labels == 1) != decisions).astype(np.float64)
    low, high = span
    return (costs.of(labels, decisions) - low) / (high - low)


def _range(costs: DecisionCosts) -> tuple[float, float]:
    every = (costs.false_alarm, costs.miss, costs.right_hint, costs.right_silence)
    return min(every), max(every)


def running(values: np.ndarray) -> RunningMean:
    """What is needed of some outcomes."""
    return RunningMean(count=len(values), total=float(values.sum()), squares=float((values * values).sum()))


def _traffic(
    rows: pl.DataFrame,
    version: str,
    failed: Mapping[str, Failed],
    slow: timedelta,
    loss: RunningMean,
    wrong: RunningMean,
) -> Traffic:
    own = answered_by(rows.filter(pl.col(VARIANT) == version), failed=failed.get(version, Failed()), slow=slow)
    return replace(own, version=version, loss=loss, wrong=wrong)


def failed_by(failures: pl.DataFrame) -> dict[str, Failed]:
    """By version the requests that got no answer: `version`, `code`, `count`."""
    return {str(name): _failed(rows) for (name,), rows in failures.partition_by("version", as_dict=True).items()}


def _failed(failures: pl.DataFrame) -> Failed:
    late = failures.filter(pl.col(CODE) == DEADLINE)
    return Failed(count=int(failures[COUNT].sum()), timed_out=int(late[COUNT].sum()))


def answered_by(rows: pl.DataFrame, *, failed: Failed, slow: timedelta) -> Traffic:
    """Requests by their answers, which are some of `with_batches`, and by how many got none."""
    each = one_each(rows)
    return Traffic(
        answered=each.height,
        batches=count_batches(each),
        failed=failed.count,
        timed_out=failed.timed_out,
        slow=count_slow(each, slow),
    )
