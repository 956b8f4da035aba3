"""Three-way merge of records, and the replay of blind appends. Neutral about where tables lie."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from headwater.lake._digest import TableDigest
from headwater.lake._interface import Kind
from headwater.lake._records import Record

LogReader = Callable[[int], str | None]
"""Text of a table's Delta log entry by version; None when the table has no such entry."""

_NEUTRAL: Final = frozenset({"commitInfo", "txn"})


class Outcome(StrEnum):
    """What a merge does with one path that the source changed."""

    KEEP = "keep"
    TAKE = "take"
    REPLAY = "replay"
    CONFLICT = "conflict"


@dataclass(frozen=True, kw_only=True)
class Sides:
    """One path in the three states of a merge; None where nothing stands."""

    path: str
    base: Record | None
    source: Record | None
    target: Record | None


def same(left: Record | None, right: Record | None) -> bool:
    """Whether two states of a path hold the same content."""
    return left is right or (left is not None and left.same_content(right))


def judge(sides: Sides, *, both_append: Callable[[], bool]) -> Outcome:
    """What to do with a path.

    Args:
        sides: Its three states.
        both_append: Whether source and target both only appended to the base's table; asked only when needed.
    """
    if same(sides.source, sides.base):
        return Outcome.KEEP
    if same(sides.target, sides.base):
        return Outcome.TAKE
    states = (sides.base, sides.source, sides.target)
    if all(record is not None and record.entry.kind is Kind.TABLE for record in states) and both_append():
        return Outcome.REPLAY  # Before equality: two appends of the same rows are twice as many rows.
    return Outcome.KEEP if same(sides.source, sides.target) else Outcome.CONFLICT


def appends_since(
    base: Record, after: Record, *, base_log: LogReader, after_log: LogReader
) -> list[dict[str, Any]] | None:
    """The raw `add` actions by which `after` grew out of `base`, None when it did anything but blind appends.

    Both logs must share the base's last entry: a table that was replaced or rolled back has another history.
    """
    start, end = base.entry.delta_version, after.entry.delta_version
    if start is None or end is None or end < start:
        return None
    shared = base_log(start)
    if shared is None or shared != after_log(start):
        return None
    adds: list[dict[str, Any]] = []
    for version in range(start + 1, end + 1):
        text = after_log(version)
        found = _blind_adds(text) if text is not None else None
        if found is None:
            return None
        adds.extend(found)
    return adds


def _blind_adds(text: str) -> list[dict[str, Any]] | None:
    adds = []
    for kind, action in _actions(text):
        if kind == "commitInfo" and _overwrites(action):
            return None
        if kind == "add" and action.get("dataChange", True):
            adds.append(action)
        elif kind not in _NEUTRAL:
            return None
    return adds


def _overwrites(info: Mapping[str, Any]) -> bool:
    """Whether a commit says that it replaced rows: a partition written where there was none only adds, and yet is no append."""
    how = info.get("operationParameters") or {}
    return how.get("mode", "Append") != "Append" or bool(how.get("predicate"))


def _actions(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in text.splitlines():
        if line.strip():
            yield from json.loads(line).items()


def add_actions(raw: Sequence[dict[str, Any]]) -> list[AddAction | RemoveAction]:
    """Raw log actions as delta-rs takes them: it encodes the path itself."""
    return [
        AddAction(
            path=data_file(action),
            size=action["size"],
            partition_values=action["partitionValues"],
            modification_time=action["modificationTime"],
            data_change=True,
            stats=action.get("stats") or "{}",
        )
        for action in raw
    ]


def data_file(action: dict[str, Any]) -> str:
    """The file of an `add` action, relative to the table; the log keeps it URL-encoded."""
    return unquote(action["path"])


def added_rows(
    delta: DeltaTable,
    actions: Sequence[dict[str, Any]],
    *,
    file_uri: Callable[[str], str],
    options: dict[str, str] | None,
) -> pl.LazyFrame:
    """The rows of some data files of a table, with its columns in its order.

    Args:
        delta: The table, opened.
        actions: Raw `add` actions.
        file_uri: Relative data file to a path or URI that Polars reads.
        options: Storage options for Polars, None for local files.
    """
    schema = pl.scan_delta(delta).collect_schema()
    frames = [pl.LazyFrame(schema=schema)]
    for action in actions:
        frame = pl.scan_parquet(file_uri(data_file(action)), storage_options=options, hive_partitioning=False)
        values = action["partitionValues"]
        frames.append(
            frame.with_columns(
                pl.lit(value, dtype=pl.String).cast(schema[name]).alias(name) for name, value in values.items()
            ).select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        )
    return pl.concat(frames)


def grown(
    target: Record, added: TableDigest, parts: dict[str, TableDigest]
) -> tuple[TableDigest, dict[str, TableDigest]]:
    """The digests of `target` after rows with these digests were appended."""
    assert target.digest is not None
    partitions = dict(target.partition_digests)
    for key, digest in parts.items():
        partitions[key] = partitions[key] + digest if key in partitions else digest
    return target.digest + added, dict(sorted(partitions.items()))
