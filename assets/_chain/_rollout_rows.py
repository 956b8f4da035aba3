"""What the lake knows of the requests since a stage of a rollout began, and of the time before it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._failures import of_versions
from assets._chain._outcomes import KNOWN_AT, newest_asked, newest_of
from assets._chain._paths import ChainPaths
from assets._chain._plays import counted
from assets._chain._rollout_standing import Served, Stood, served_under
from assets._chain._rules_of_requests import drawn_by
from headwater.decisions import BEFORE, LONG_BEFORE
from headwater.product import Inputs, Product

if TYPE_CHECKING:
    from headwater.monitoring import Windowing

SLACK: Final = timedelta(days=7)
"""By so much a service's clock may be behind the lake's: older records of the stage are not looked for."""
_OLDEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
"""The calendars of zones do not reach back to the year 1, about which somebody may ask."""
_ANSWERS: Final = (
    "request_id", "at", "received", "latency_us", "variant", "propensity", "decision", "shadows", "commit",
)  # fmt: skip
_COUNTED: Final = ("request_id", "received", "latency_us", "variant")


@dataclass(frozen=True, kw_only=True)
class StageRows:
    """Rows of the lake. Of failures those that a version had a part in.

    Attributes:
        seen: Answers since the stage began, oldest received first: under its release, or by the service's clock. With the batch of each.
        answers: Those that were drawn under its policy.
        failed: Requests that got no answer under its policy.
        failures: Requests that got no answer since, under whatever policy.
        before: Answers of the time before the rollout, none under its releases.
        long_before: Of a longer time before, what was decided; of the same time where both versions score in the watch.
        told_before: The outcomes of those.
        failures_before: Requests that got none then.
        outcomes: Of the answers since.
        first: The newest instant that requests knew of when the first one since came in; None before that.
        now: The newest instant that the requests since, and their labels, know of, and no later than the build.
    """

    seen: pl.DataFrame
    answers: pl.DataFrame
    failed: pl.DataFrame
    failures: pl.DataFrame
    before: pl.DataFrame
    long_before: pl.DataFrame
    told_before: pl.DataFrame
    failures_before: pl.DataFrame
    outcomes: pl.DataFrame
    first: datetime | None
    now: datetime


def stage_rows(inputs: Inputs, product: Product, stood: Stood) -> StageRows | None:
    """What is known of the requests of a stage; None before the first one of the product."""
    from headwater.monitoring import with_batches

    assert stood.standing is not None
    assert stood.begun is not None
    paths, since, begun = ChainPaths(product=product.name), stood.standing.since, stood.begun
    answered, failures = inputs.table(paths.predictions), of_versions(inputs.table(paths.service_failures))
    table = counted(product, answered)
    newest: Any = table.select(pl.col("at").max()).collect().item()
    if newest is None and not (failures.select(pl.len()).collect().item()):
        return None
    served = served_under(inputs, paths.release, stood, _followed(answered, failures, begun))
    is_seen, is_before = _is_seen(served, since), _is_before(served, begun)
    answers = table.select(*_ANSWERS, *_extra(product, table)).filter(is_seen).collect().sort("received", "request_id")
    answers = with_batches(answers)  # of a watch that is over some instances may be left out
    failed = failures.filter(is_seen).collect()
    told = inputs.table(paths.outcomes)
    long = (
        BEFORE if stood.standing.is_compared else LONG_BEFORE
    )  # `Serving.keep` has to hold no more than a product declares
    is_long_before = _is_before(served, begun, long)
    long_before = table.filter(is_long_before).select("request_id", "at", "variant", "decision").collect()
    outcomes = told.filter(pl.col("received") >= since - SLACK).collect()
    outcomes = outcomes.join(answers.select("request_id"), on="request_id", how="semi")
    moments = [moment for moment in (newest_asked(answers), outcomes["label_known_at"].max()) if moment is not None]
    return StageRows(
        seen=answers,
        answers=answers.filter(_is_of_stage(served, since) & pl.col("propensity").is_not_null()),
        failed=failed.filter(_is_of_stage(served, since)),
        failures=failed,
        long_before=long_before,
        told_before=told.filter(pl.col("received") >= begun - long).collect(),
        before=answered.filter(is_before).select(*_COUNTED).collect(),
        failures_before=failures.filter(is_before).collect(),
        outcomes=outcomes,
        first=first_asked(table.filter(~is_seen), answers),
        now=newest_of(*moments, until=inputs.started) if moments else since,
    )


def of_watch(
    rows: StageRows, *, watch: timedelta, windowing: "Windowing", received: datetime | None = None
) -> StageRows:
    """Of the rows of a watch that is over, those by which it is judged, however long after it somebody looks.

    Answers about the windows that the watch touched count, and what was asked in them about a time ahead. What failed names no time that it
    was about: it counts by the service's clock, for as long since the first request, and a window more.

    Args:
        rows: Of the watch.
        watch: How long it lasts.
        windowing: The windows whose labels count together.
        received: When the first request came in, where rows are gone.
    """
    assert rows.first is not None
    last = max(rows.first + watch, _OLDEST)
    (span,) = windowing.spans(last, last)
    moments: list[Any] = [rows.seen["received"].min(), rows.failures["received"].min(), received]
    until = min((moment for moment in moments if moment is not None), default=last) + watch + windowing.length
    return replace(
        rows,
        answers=rows.answers.filter(span.end > KNOWN_AT),
        failed=rows.failed.filter(pl.col("received") < until),
    )


def _extra(product: Product, table: pl.LazyFrame) -> list[str]:
    """Columns that name an event and by which versions are drawn; where one is none of the table's, the request that holds it."""
    there = table.collect_schema().names()
    wanted = dict.fromkeys((*key_of(product), *drawn_by(product)))
    extra = [name for name in wanted if name not in _ANSWERS and name in there]
    return extra + (["request"] if any(name not in there for name in drawn_by(product)) else [])


def _followed(table: pl.LazyFrame, failures: pl.LazyFrame, begun: datetime) -> list[str]:
    """The commits under which services answered, or failed to, since the rollout began or not long before."""
    recent = pl.col("received") >= begun - max(SLACK, LONG_BEFORE)
    found = [rows.filter(recent).select("commit").unique().collect()["commit"] for rows in (table, failures)]
    return pl.concat(found).unique().sort().to_list()


def _is_of_stage(served: Served, since: datetime) -> pl.Expr:
    """Of a record: it was served under the release of the stage. Its clock is another one than the lake's, and says nothing of that."""
    alike = pl.col("commit").is_in(sorted(served.alike)) & (pl.col("received") >= since)
    return pl.col("commit").is_in(sorted(served.stage)) | alike


def _is_seen(served: Served, since: datetime) -> pl.Expr:
    """Of a record: it came since the stage began."""
    is_recent = pl.col("received") >= since - SLACK
    return is_recent & ((pl.col("received") >= since) | pl.col("commit").is_in(sorted(served.stage)))


def _is_before(served: Served, begun: datetime, length: timedelta = BEFORE) -> pl.Expr:
    """Of a record: it came in the time before the rollout, and none of its versions had a part in it."""
    past = pl.col("received").is_between(begun - length, begun, closed="left")
    return past & ~pl.col("commit").is_in(sorted(served.rolling))


def first_asked(past: pl.LazyFrame, seen: pl.DataFrame) -> datetime | None:
    """Where the time of the requests stood when the first one of a stage, or of an experiment, came in.

    A request about last month that comes in first does not make a stage last a month: time goes on from where it stood. Unless all
    of it lies further back, as when a past is played again. One about next year knows when it came in, and no more (`newest_asked`):
    a stage that began next year would never be a day old.

    Args:
        past: Answers of the time before.
        seen: Those since, the first that came in first.
    """
    if not seen.height:
        return None
    before: Any = past.select(KNOWN_AT.max()).collect().item()
    known = seen.select(KNOWN_AT).to_series()
    first, newest = known[0], known.max()
    return before if before is not None and first < before <= newest else first


def key_of(product: Product) -> tuple[str, ...]:
    """The columns that name an event."""
    assert product.labels is not None
    return product.labels.key
