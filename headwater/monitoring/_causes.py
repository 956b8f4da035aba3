"""What changed upstream between two points of a product's history: data, code, schema, by commit. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from headwater.monitoring._json import Recorded


class ChangeKind(StrEnum):
    """What of an asset changed."""

    SCHEMA = "schema"
    CODE = "code"
    DATA = "data"


@dataclass(frozen=True, kw_only=True)
class Writing:
    """One commit that wrote an asset.

    Attributes:
        commit: Its id.
        time: When, UTC.
        actor: Who asked for it.
        data_version: Of the asset after it.
        code_version: Of the code that made it.
        schema: Column to dtype; empty for a folder, None where nobody kept it.
        rows: Of a table.
        failed: Names of checks that warned.
    """

    commit: str
    time: datetime
    actor: str
    data_version: str
    code_version: str
    schema: Mapping[str, str] | None
    rows: int | None = None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UpstreamChange(Recorded):
    """How an asset changed between two points.

    Attributes:
        path: The asset.
        kinds: What of it changed, the rarest first.
        commits: Commits that wrote it, oldest first.
        actors: Who asked for them.
        rows: Rows before and after; None where it is no table or was not there.
        columns: Columns that came, went, or have another dtype, as `+name Int64`, `-name`, `name Int64 -> Float64`.
        failed: Checks that warned in one of them.
    """

    path: str
    kinds: tuple[ChangeKind, ...]
    commits: tuple[str, ...]
    actors: tuple[str, ...]
    rows: tuple[int | None, int | None]
    columns: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def upstream_changes(history: Mapping[str, Sequence[Writing]]) -> tuple[UpstreamChange, ...]:
    """What changed, assets with a changed schema first, then those with changed code, then those with other data.

    Args:
        history: Asset to the commits that wrote it, oldest first; the first one is how it stood before. An asset that was not there
            before has a first writing without a commit (empty id).
    """
    found = [change for path, writings in history.items() if (change := _change(path, writings)) is not None]
    return tuple(sorted(found, key=lambda change: (_weight(change), change.path)))


def _weight(change: UpstreamChange) -> int:
    return min(list(ChangeKind).index(kind) for kind in change.kinds)


def _change(path: str, writings: Sequence[Writing]) -> UpstreamChange | None:
    if len(writings) < 2:
        return None
    before, after = writings[0], writings[-1]
    pairs = {
        ChangeKind.SCHEMA: bool(before.commit and _columns(before.schema, after.schema)),
        ChangeKind.CODE: bool(before.commit) and before.code_version != after.code_version,
        ChangeKind.DATA: before.data_version != after.data_version,
    }
    kinds = tuple(kind for kind, is_changed in pairs.items() if is_changed)
    if not kinds:
        return None
    return UpstreamChange(
        path=path,
        kinds=kinds,
        commits=tuple(writing.commit for writing in writings[1:]),
        actors=tuple(dict.fromkeys(writing.actor for writing in writings[1:])),
        rows=(before.rows, after.rows),
        columns=_columns(before.schema, after.schema) if before.commit else (),
        failed=tuple(dict.fromkeys(name for writing in writings[1:] for name in writing.failed)),
    )


def _columns(before: Mapping[str, str] | None, after: Mapping[str, str] | None) -> tuple[str, ...]:
    """What differs between two schemas; nothing where one of them is not known."""
    if before is None or after is None:
        return ()
    came = [f"+{name} {dtype}" for name, dtype in after.items() if name not in before]
    went = [f"-{name}" for name in before if name not in after]
    other = [f"{name} {before[name]} -> {dtype}" for name, dtype in after.items() if before.get(name, dtype) != dtype]
    return (*came, *went, *other)
