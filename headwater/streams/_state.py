"""How far a stream was read and where its watermark stands. It is published in the very commit that holds the events."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from headwater.lake import Snapshot
from headwater.streams.errors import StreamStateError

STATE_FILE: Final = "state.json"
_FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True)
class PartitionState:
    """One partition. Times are microseconds since 1970; None before its first event that is one.

    Attributes:
        offset: Where to read from next.
        newest: Its newest event time.
        active: When its newest event arrived.
    """

    offset: int
    newest: int | None = None
    active: int | None = None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of events. Their sum is the number of events read.

    Attributes:
        taken: Rows of the table.
        late: Behind the watermark: in `<path>.late`, or in the table where late ones are merged.
        duplicates: Of an event that was there already; dropped.
        rejected: In `<path>.rejected`.
    """

    taken: int = 0
    late: int = 0
    duplicates: int = 0
    rejected: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        mine, theirs = asdict(self), asdict(other)
        return Counts(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def events(self) -> int:
        """All of them."""
        return self.taken + self.late + self.duplicates + self.rejected


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """A stream after some batch.

    Attributes:
        log: Identity of the log, empty before the first batch.
        event_time: Column of event times.
        id: Columns that name an event; empty where an older Headwater wrote the state.
        partitions: Each partition.
        began: When the first event of all arrived, in microseconds since 1970.
        watermark: No more events before it are awaited, in microseconds since 1970; None before there is one.
        totals: What became of all events so far.
    """

    log: str = ""
    event_time: str = ""
    id: tuple[str, ...] = ()
    partitions: Mapping[int, PartitionState] = field(default_factory=dict)
    began: int | None = None
    watermark: int | None = None
    totals: Counts = Counts()

    @property
    def offsets(self) -> Mapping[int, int]:
        """Partition to the offset to read from next."""
        return {number: partition.offset for number, partition in self.partitions.items()}


def write_state(state: StreamState, folder: Path, *, transaction: str) -> None:
    """Writes a state's one file.

    Args:
        state: The state.
        folder: An empty directory.
        transaction: Id of the transaction that publishes it. With it no two consumers ever write the same content: two
            that read the same events would else be taken to agree, and both append them.
    """
    text = json.dumps({"format": _FORMAT, "transaction": transaction, **asdict(state)}, indent=1, sort_keys=True)
    (folder / STATE_FILE).write_text(text, encoding="utf-8")


def read_state(snapshot: Snapshot, path: str) -> StreamState | None:
    """The state of the stream at a lake path, None when nothing of it was ever read.

    Raises:
        StreamStateError: It cannot be read.
    """
    from headwater.streams._declaration import OFFSETS_SUFFIX

    if not snapshot.has(path + OFFSETS_SUFFIX):
        return None
    try:
        found = json.loads((snapshot.folder(path + OFFSETS_SUFFIX) / STATE_FILE).read_text(encoding="utf-8"))
        return _state(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StreamStateError(
            path=path,
            problem=f"{path + OFFSETS_SUFFIX} cannot be read ({type(error).__name__}: {error})",
            remedy="Publish it again from an earlier commit, with the tables of that commit: `headwater lake revert`.",
        ) from error


def _state(found: dict[str, Any]) -> StreamState:
    if found.pop("format") != _FORMAT:
        raise ValueError("another Headwater wrote it")
    found.pop("transaction")
    partitions = {int(number): PartitionState(**each) for number, each in found.pop("partitions").items()}
    told = {"partitions": partitions, "totals": Counts(**found["totals"]), "id": tuple(found.get("id", ()))}
    return StreamState(**{**found, **told})
