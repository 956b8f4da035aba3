"""From answers, failures and instants to whether a service keeps its promises."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from headwater.models import Metric, MetricName
from headwater.monitoring._frames import LATENCY, LOG, PREDICTIONS, RECEIVED, check_columns, check_no_nulls
from headwater.monitoring._performance import WindowPerformance
from headwater.monitoring._requests import BATCH, one_each
from headwater.monitoring._service_levels import Budget, Burning, Freshness, ServiceLevels, ServiceWindow
from headwater.monitoring._windows import Span, Windowing, split
from headwater.monitoring.errors import BadValuesError, ColumnTypeError, MonitoringRuleError

FAILURES: Final = "failures"
COUNT: Final = "count"
_BAD: Final = "__slow"
_ANSWERED: Final = "__answered"


def service_windows(
    predictions: pl.DataFrame,
    failures: pl.DataFrame | None = None,
    *,
    levels: ServiceLevels,
    windowing: Windowing,
    span: Span | None = None,
) -> tuple[ServiceWindow, ...]:
    """Latency and errors of each window of the service's clock, oldest first, empty windows too.

    Requests count once for each version that answered, or was to answer, part of them; a batch is one, and its latency counts nowhere.
    A caller waits for the log too: latency here is `latency_us` and `log_us` together.

    Args:
        predictions: Answers: `request_id`, `received`, `latency_us` and `variant`; and `log_us`, which answers of older services lack.
        failures: Requests that got no answer: `received` (an instant near them) and `count`. A log of answers does not hold
            them; counters of the service do. None means that there were none.
        levels: The promises.
        windowing: How time is cut.
        span: Windows that overlap it are given; None covers the rows.

    Raises:
        MissingColumnsError, ColumnTypeError, BadValuesError: A column is absent, of another dtype, null or negative.
        TooManyWindowsError: Windows are far too short for the time covered.
    """
    events = _events(predictions, failures, levels)
    return tuple(_window(window, rows, levels) for window, rows in split(events, RECEIVED, windowing, span=span))


def burning(
    predictions: pl.DataFrame, failures: pl.DataFrame | None = None, *, levels: ServiceLevels, now: datetime
) -> tuple[Burning, ...]:
    """Budgets that burn too fast at `now`, by the levels' rules.

    Args:
        predictions: As in `service_windows`, of the longest time of a rule at least.
        failures: As in `service_windows`.
        levels: The promises.
        now: The instant, with a time zone; what was received after it is not looked at.

    Raises:
        MissingColumnsError, ColumnTypeError, BadValuesError: As in `service_windows`.
        MonitoringRuleError: `now` has no time zone.
    """
    _check_now(now)
    events = _events(predictions, failures, levels).filter(pl.col(RECEIVED) <= now)
    found = []
    for rule in levels.rules:
        long, short = (
            _budgets(events.filter(pl.col(RECEIVED) > now - time), levels) for time in (rule.long, rule.short)
        )
        for name in long:
            over, still = long[name].burn, short[name].burn
            if over is None or still is None or long[name].requests < levels.min_requests:
                continue
            if min(over, still) >= rule.burn:
                found.append(Burning(rule=rule.name, budget=name, long=over, short=still))
    return tuple(found)


def freshness(
    newest: Mapping[str, datetime | None],
    *,
    levels: ServiceLevels,
    now: datetime,
    limits: Mapping[str, timedelta | None] | None = None,
) -> tuple[Freshness, ...]:
    """How old the newest of each thing is, by name; nothing is stale for which neither the levels nor a limit of its own say an age.

    Args:
        newest: Name to its newest instant, such as the known-at time of a feature view's newest row; None when empty.
        levels: The promises.
        now: The instant, with a time zone.
        limits: Name to its own greatest age, which counts where the levels declare none.

    Raises:
        MonitoringRuleError: An instant has no time zone.
    """
    _check_now(now)
    found = []
    for name, instant in sorted(newest.items()):
        if instant is not None:
            _check_now(instant)
        age = None if instant is None else max(now - instant, timedelta(0))
        limit = levels.freshness if levels.freshness is not None else (limits or {}).get(name)
        stale = limit is not None and (age is None or age > limit)
        found.append(Freshness(name=name, newest=instant, age=age, stale=stale))
    return tuple(found)


def accuracy_dropped(window: WindowPerformance, *, reference: float, levels: ServiceLevels) -> str | None:
    """Why the accuracy of a window is too low, in one sentence; None when it is not, or was not judged.

    Only when its whole interval lies below the limit: one bad window by chance breaks no promise.

    Args:
        window: A window of `performance_windows`.
        reference: The accuracy on the rows that the model was judged on before its release.
        levels: The promises.
    """
    return accuracy_below(window.overall.metric(MetricName.ACCURACY), reference=reference, levels=levels)


def accuracy_below(accuracy: Metric, *, reference: float, levels: ServiceLevels) -> str | None:
    """The same of the accuracy of a window alone."""
    limit = reference * (1 - levels.accuracy_drop)
    if accuracy.value is None or accuracy.high is None or accuracy.high >= limit:
        return None
    return (
        f"The accuracy is {accuracy.value:.4f}, at most {accuracy.high:.4f}: certainly more than {levels.accuracy_drop:.0%} "
        f"below {reference:.4f}."
    )


def _window(window: Span, rows: pl.DataFrame, levels: ServiceLevels) -> ServiceWindow:
    budgets = _budgets(rows, levels)
    slow, errors = budgets["latency"], budgets["errors"]
    latency = _quantile(rows[LATENCY].drop_nulls(), levels.latency_share)
    judged = errors.requests >= levels.min_requests
    broken = []
    if slow.requests >= levels.min_requests and latency is not None and latency > levels.latency:
        milliseconds = (latency / timedelta(milliseconds=1), levels.latency / timedelta(milliseconds=1))
        broken.append(
            f"{levels.latency_share:.4g} of the answers took up to {milliseconds[0]:.4g} ms, {milliseconds[1]:.4g} are promised"
        )
    if judged and errors.bad > errors.allowed * errors.requests:
        broken.append(f"{errors.bad} of {errors.requests} requests failed, {levels.errors:.2%} may")
    return ServiceWindow(
        start=window.start, end=window.end, answered=errors.requests - errors.bad, failed=errors.bad, latency=latency, slow=slow,
        errors=errors, broken=tuple(broken), judged=judged,
    )  # fmt: skip


def _quantile(latencies: pl.Series, share: float) -> timedelta | None:
    """The shortest time within which this share of the answers was given; None without answers."""
    if latencies.is_empty():
        return None
    rank = math.ceil(share * len(latencies) - 1e-9) - 1  # 0.95 of 1,000 are 950, whatever binary fractions make of it
    return timedelta(microseconds=int(latencies.sort()[max(rank, 0)]))


def _budgets(rows: pl.DataFrame, levels: ServiceLevels) -> dict[str, Budget]:
    answered, failed = int(rows[_ANSWERED].sum()), int(rows[COUNT].sum())
    return {
        "latency": Budget(requests=rows[LATENCY].count(), bad=int(rows[_BAD].sum()), allowed=1 - levels.latency_share),
        "errors": Budget(requests=answered + failed, bad=failed, allowed=levels.errors),
    }


def _events(predictions: pl.DataFrame, failures: pl.DataFrame | None, levels: ServiceLevels) -> pl.DataFrame:
    """Requests in one frame: `received`, latency (null for failures and batches), whether slow, how many were answered, and failed."""
    times = [LATENCY, LOG] if LOG in predictions.columns else [LATENCY]
    check_columns(predictions, PREDICTIONS, [RECEIVED, *times])
    check_no_nulls(predictions, PREDICTIONS, [RECEIVED, *times])
    for column in times:
        if negative := predictions.select((pl.col(column) < 0).sum()).item():
            raise BadValuesError(frame=PREDICTIONS, column=column, rows=negative, problem="is negative")
    instant = pl.col(RECEIVED).dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    limit = levels.latency // timedelta(microseconds=1)
    timed = pl.when(pl.col(BATCH).is_null()).then(pl.sum_horizontal(times))
    answers = one_each(predictions).select(
        instant,
        timed.alias(LATENCY),
        (timed > limit).fill_null(False).alias(_BAD),
        pl.lit(1, pl.Int64).alias(_ANSWERED),
        pl.lit(0, pl.Int64).alias(COUNT),
    )
    if failures is None:
        return answers
    check_columns(failures, FAILURES, [RECEIVED, COUNT])
    check_no_nulls(failures, FAILURES, [RECEIVED, COUNT])
    if not failures.schema[COUNT].is_integer():
        raise ColumnTypeError(frame=FAILURES, column=COUNT, found=str(failures.schema[COUNT]), wanted="a whole number")
    if negative := failures.select((pl.col(COUNT) < 0).sum()).item():
        raise BadValuesError(frame=FAILURES, column=COUNT, rows=negative, problem="is negative")
    failed = failures.select(
        instant,
        pl.lit(None, pl.Int64).alias(LATENCY),
        pl.lit(False).alias(_BAD),
        pl.lit(0, pl.Int64).alias(_ANSWERED),
        pl.col(COUNT).cast(pl.Int64),
    )
    return pl.concat([answers, failed])


def _check_now(now: datetime) -> None:
    if now.tzinfo is None:
        raise MonitoringRuleError(rule="an instant", value=now, wanted="given with a time zone")
