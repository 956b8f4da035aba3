"""The predictions: what the service answered, taken out of the prediction log exactly once. See docs/adr/0009."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._paths import ChainPaths
from assets._chain._prediction_rows import AT, COLUMNS, PLACE, first_answers, from_requests, sort_out
from assets._chain._retention import set_aside, taken_in_time, too_old, with_dropped
from headwater.feeds import Appended, Backlog, Feed, Positions
from headwater.lake import Kind, Snapshot
from headwater.names import PREDICTION_LOG_FOLDER
from headwater.product import Asset, Audit, Check, DeclarationError, Inputs, Product, Severity, Verdict

MOST_RECORDS: Final = 100_000
"""Taken in one build: what is left is the next one's."""


def predictions_asset(product: Product) -> Asset:
    """The predictions of a product with a model, fed from its prediction log.

    Raises:
        DeclarationError: A column of the label's key is called like one of theirs.
    """
    assert product.labels is not None
    labels, serving = product.labels, product.serving
    # The time that the labels know a row by is the prediction time: under its own name `at` it is there already.
    key = tuple(name for name in labels.key if not name == labels.time == AT)
    if taken := sorted(COLUMNS.keys() & set(key)):
        raise DeclarationError(
            what="Product",
            name=product.name,
            problem=f"the label's key has the column {taken[0]!r}, which the predictions have too.",
            remedy="Rename it.",
        )
    path = ChainPaths(product=product.name).predictions
    rules: dict[str, Any] = {"key": key, "keep": serving.keep, "unique_for": serving.unique_for}
    return Asset(
        path=path,
        kind=Kind.TABLE,
        compute=partial(_compact, path=path, labels=labels.path, **rules),
        inputs=(labels.path,),
        previous=(path,),
        checks=_CHECKS,
        description="What the service answered, one row a prediction; key columns have the types that they have in the labels.",
        kinds=("polars",),
        declaration=declared_values(**rules),
        feed=Feed(
            folder=f"{PREDICTION_LOG_FOLDER}/{product.name}",
            backlog=_backlog,
            settle=_settle,
            least_records=serving.least_records,
            longest_wait=min(serving.longest_wait, product.rollout.rules.check_every),
        ),
    )


def _compact(
    inputs: Inputs, *, path: str, labels: str, key: tuple[str, ...], keep: timedelta | None, unique_for: timedelta
) -> Appended:
    schema = inputs.table(labels).collect_schema()
    types = {name: schema[name] for name in key}
    before = inputs.previous(path)
    standing = before.table(path) if before is not None else None
    cutoff = inputs.started - keep if keep is not None else None
    # A table keeps the order of its columns, whatever order the key has by now.
    if standing is not None and dict(standing.collect_schema()) != {**COLUMNS, **types}:
        return _all(inputs, from_requests(standing, types), {}, positions=inputs.positions)
    if standing is not None and (dropped := too_old(standing, cutoff)):
        positions = with_dropped(inputs.positions, inputs.positions, standing, cutoff)
        return _all(inputs, standing.filter(pl.col("received") >= cutoff), {"dropped": dropped}, positions=positions)
    return _append(inputs, before, path=path, types=types, cutoff=cutoff, unique_for=unique_for)


def _append(
    inputs: Inputs,
    before: Snapshot | None,
    *,
    path: str,
    types: Mapping[str, pl.DataType],
    cutoff: datetime | None,
    unique_for: timedelta,
) -> Appended:
    from serving.prediction_log import take

    taken = take(inputs.feed, inputs.positions, most=MOST_RECORDS)
    found = sort_out(taken.records, path.split("/", 1)[0], types)
    standing = None if before is None else before.table(path)
    # What is not kept is no first answer: who repeats it is another prediction.
    rows = found.rows if cutoff is None else found.rows.filter(pl.col("received") >= cutoff)
    fresh, contrary = first_answers(rows, standing, unique_for)
    rejected = {
        **found.rejected,
        **dict.fromkeys(contrary[PLACE], "Another record with its request id says something else."),
    }
    records = [(*taken.records[place][:2], why, taken.records[place].data) for place, why in sorted(rejected.items())]
    aside = set_aside(records, before, path, cutoff=cutoff, started=inputs.started, received=_received)
    facts = {
        "appended": fresh.height,
        "repeated": rows.height - fresh.height - contrary.height,
        "contrary": contrary.height,
        "contrary_ids": contrary["request_id"].unique(maintain_order=True).head(5).to_list(),
        "unreadable": len(found.rejected),
        "unreadable_because": sorted(set(found.rejected.values()))[:5],
        "expired": found.rows.height - rows.height,
        "rejected_dropped": aside.dropped,
        "more": not taken.is_all,
        "damaged": damaged(inputs, taken.positions),
    }
    positions = with_dropped(taken.positions, inputs.positions, found.rows.lazy(), cutoff)
    return Appended(
        data=fresh.drop(PLACE), positions=positions, rejected=aside.rows, rejected_replaces=aside.replaces, facts=facts
    )  # fmt: skip


def _received(record: bytes) -> int | None:
    """When the request of a record came in, None where the bytes are none."""
    from serving.prediction_log import RecordFormatError, decode_record

    try:
        return decode_record(record).received
    except RecordFormatError:
        return None


def _all(inputs: Inputs, rows: pl.LazyFrame, facts: Mapping[str, Any], *, positions: Positions) -> Appended:
    """What stands, written anew; the log is the next build's."""
    found = {**facts, "more": True, "damaged": damaged(inputs, positions)}
    return Appended(data=rows, positions=positions, replaces=True, facts=found)


def damaged(inputs: Inputs, positions: Positions) -> list[str]:
    """Segments of a feed in which bytes are no records: kept aside, or to be.

    Args:
        inputs: Of a fed table.
        positions: Up to where its feed was taken.
    """
    from serving.prediction_log import damaged_segments, segments

    here = {segment.name for segment in segments(inputs.feed)}
    return sorted({*damaged_segments(inputs.feed), *here.intersection(positions.get("damaged", ()))})


def _backlog(folder: Path, positions: Positions, most: int) -> Backlog:
    from serving.prediction_log import backlog

    return backlog(folder, positions, most)


def _settle(folder: Path, positions: Positions) -> None:
    from serving.prediction_log import settle

    settle(folder, positions)


def _added_once(audit: Audit) -> Verdict:
    before = audit.base.entry(audit.path).rows or 0 if audit.base.has(audit.path) else 0
    change = int(audit.facts.get("appended", 0)) - int(audit.facts.get("dropped", 0))
    after = audit.staged.entry(audit.path).rows or 0
    return Verdict(passed=after == before + change, facts={"before": before, "change": change, "after": after})


def _none_of(fact: str, audit: Audit, *, examples: str, otherwise: str) -> Verdict:
    count = int(audit.facts.get(fact, 0))
    shown = {fact: count, "examples": audit.facts.get(examples, [])}
    return Verdict(passed=count == 0, facts=shown, description=otherwise.format(count) if count else "")


def _is_whole(audit: Audit) -> Verdict:
    damaged = audit.facts.get("damaged", [])
    said = "Segments kept aside as `.damaged` hold bytes that are no records. Look at the disk; delete them when it is clear why."
    return Verdict(passed=not damaged, facts={"segments": damaged}, description=said if damaged else "")


def log_is_whole() -> Check:
    """Warns of damaged segments as long as they are kept aside."""
    return _warning("log_is_whole", _is_whole, "No segment of the log is damaged.")


def _warning(name: str, judge: Any, description: str) -> Check:
    return Check(name=name, judge=judge, blocking=False, severity=Severity.WARN, description=description)


_ASIDE: Final = "{} records are kept in the table of rejected ones."
_CHECKS: Final = (
    Check(
        name="records_were_added_once",
        judge=_added_once,
        description="The table has as many rows more as new answers were taken, and less as were dropped.",
    ),
    _warning(
        "repeated_ids_agree",
        lambda audit: _none_of("contrary", audit, examples="contrary_ids", otherwise=_ASIDE),
        "Two answers to one request id say the same.",
    ),
    _warning(
        "records_are_readable",
        lambda audit: _none_of("unreadable", audit, examples="unreadable_because", otherwise=_ASIDE),
        "Every record of the log is one of this product.",
    ),
    taken_in_time(),
    log_is_whole(),
)
