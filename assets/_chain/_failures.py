"""Service failures: what the service could not answer, by version, taken out of a log of its own exactly once. See docs/adr/0014."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._paths import ChainPaths
from assets._chain._predictions import MOST_RECORDS, damaged, log_is_whole
from assets._chain._retention import Aside, set_aside, taken_in_time, too_old
from headwater.checks import columns_as_declared
from headwater.feeds import Appended, Backlog, Feed, Positions
from headwater.lake import Kind
from headwater.names import FAILURE_LOG_FOLDER, NO_VERSION
from headwater.product import Asset, Audit, Check, Inputs, Product, Severity, Verdict

SCHEMA: Final = {
    "received": pl.Datetime("us", "UTC"), "version": pl.String(), "code": pl.String(), "count": pl.Int64(), "commit": pl.String(),
}  # fmt: skip
_FEW: Final = 10
"""Records that do not wait for others: a service that fails writes about one a second."""
_LAST_TIME: Final = 253_402_300_799_999_999


def failures_asset(product: Product) -> Asset:
    """The service failures of a product with a model."""
    path = ChainPaths(product=product.name).service_failures
    return Asset(
        path=path,
        kind=Kind.TABLE,
        compute=partial(_compact, path=path, keep=product.serving.keep),
        previous=(path,),
        checks=(
            columns_as_declared(SCHEMA),
            Check(
                name="failures_are_readable",
                judge=_are_readable,
                blocking=False,
                severity=Severity.WARN,
                description="Every record of the log of failures is one.",
            ),
            taken_in_time(),
            log_is_whole(),
        ),
        description="Requests that got no answer, by version (none where no version had a part in it) and by how they failed: what the "
        "prediction log cannot hold.",
        kinds=("polars",),
        declaration=declared_values(keep=product.serving.keep),
        feed=Feed(
            folder=f"{FAILURE_LOG_FOLDER}/{product.name}",
            backlog=_backlog,
            settle=_settle,
            least_records=_FEW,
            longest_wait=product.rollout.rules.check_every,
        ),
    )


def of_versions(failures: pl.LazyFrame) -> pl.LazyFrame:
    """The failures that a version had a part in: what the service could not do says nothing about any, and moves no clock of a rollout."""
    return failures.filter(pl.col("version") != NO_VERSION)


def _compact(inputs: Inputs, *, path: str, keep: timedelta | None) -> Appended:
    from serving.prediction_log import RecordFormatError, decode_failure, take

    taken = take(inputs.feed, inputs.positions, most=MOST_RECORDS)
    rows: list[dict[str, Any]] = []
    aside: list[Aside] = []
    for placed in taken.records:
        try:
            record = decode_failure(placed.data)
        except RecordFormatError as error:
            aside.append((placed.segment, placed.end, str(error), placed.data))
            continue
        if not (0 <= record.at <= _LAST_TIME and 0 < record.count < 2**63):
            aside.append((placed.segment, placed.end, "Its time or its count cannot be.", placed.data))
            continue
        at = datetime.fromtimestamp(record.at / 1e6, UTC)
        told = {"version": record.version, "code": record.code, "count": record.count, "commit": record.commit}
        rows.append({"received": at, **told})
    cutoff = inputs.started - keep if keep is not None else None
    before = inputs.previous(path)
    found = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    fresh = found if cutoff is None else found.filter(pl.col("received") >= cutoff)
    others = set_aside(aside, before, path, cutoff=cutoff, started=inputs.started, received=_received)
    facts = {
        "appended": fresh.height, "unreadable": len(aside), "expired": found.height - fresh.height,
        "rejected_dropped": others.dropped, "more": not taken.is_all,
        "damaged": damaged(inputs, taken.positions),
    }  # fmt: skip
    given: dict[str, Any] = {
        "positions": taken.positions, "rejected": others.rows, "rejected_replaces": others.replaces,
    }  # fmt: skip
    standing = None if before is None else before.table(path)
    if standing is not None and cutoff is not None and (dropped := too_old(standing, cutoff)):
        # Few rows, so they are written anew beside what came in.
        kept = pl.concat([standing.filter(pl.col("received") >= cutoff).collect(), fresh])
        return Appended(data=kept, replaces=True, facts={**facts, "dropped": dropped}, **given)
    return Appended(data=fresh, facts=facts, **given)


def _received(record: bytes) -> int | None:
    """When the requests of a record failed, None where the bytes are none."""
    from serving.prediction_log import RecordFormatError, decode_failure

    try:
        return decode_failure(record).at
    except RecordFormatError:
        return None


def _are_readable(audit: Audit) -> Verdict:
    unreadable = int(audit.facts.get("unreadable", 0))
    said = f"{unreadable} records are kept in the table of rejected ones." if unreadable else ""
    return Verdict(passed=not unreadable, facts={"unreadable": unreadable}, description=said)


def _backlog(folder: Path, positions: Positions, most: int) -> Backlog:
    from serving.prediction_log import backlog

    return backlog(folder, positions, most, received=_received)


def _settle(folder: Path, positions: Positions) -> None:
    from serving.prediction_log import settle

    settle(folder, positions)
