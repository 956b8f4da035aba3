"""What an event log is: partitions of opaque events, each with an offset, kept in the order in which they were appended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from headwater.product import DeclarationError


class LogEvent(NamedTuple):
    """One event as the log has it.

    Attributes:
        partition: Its partition.
        offset: Its place in the partition; places grow, and there may be gaps.
        appended: When the log took it, in microseconds since 1970 (UTC).
        data: Its bytes.
    """

    partition: int
    offset: int
    appended: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one batch holds at most.

    Attributes:
        events: Number of events, 1 or more.
        bytes: Bytes of events; reading ends with the event that reaches them, so that one larger event still comes through.
    """

    events: int = 100_000
    bytes: int = 64 * 2**20

    def __post_init__(self) -> None:
        if self.events < 1 or self.bytes < 1:
            found = f"{self.events} events and {self.bytes} bytes"
            raise DeclarationError(
                what="Limits", name=found, problem="nothing would be read.", remedy="Give 1 or more."
            )


@dataclass(frozen=True, kw_only=True)
class LogBatch:
    """Some events, and where to go on.

    Attributes:
        events: In the order of each partition.
        next: Partition to the offset to read from next, of all partitions.
        ends: Partition to the offset behind its newest event, as the read began.
    """

    events: tuple[LogEvent, ...] = ()
    next: Mapping[int, int] = field(default_factory=dict)
    ends: Mapping[int, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """How many events the log had beyond these, as far as offsets tell."""
        return sum(max(end - self.next.get(partition, 0), 0) for partition, end in self.ends.items())


class EventLog(Protocol):
    """A durable log of events. Implementations: `FileLog`, `KafkaLog`; contract: `headwater.testing.stream_suite`.

    One object is for one thread at a time; any number of them, of any process, work on one log.
    """

    @property
    def identity(self) -> str:
        """Names this very log, without secrets: offsets of another one mean nothing in it."""
        ...

    def partitions(self) -> tuple[int, ...]:
        """The partitions, sorted."""
        ...

    def ends(self) -> Mapping[int, int]:
        """Partition to the offset that its next event will have at the least."""
        ...

    def append(
        self, events: Sequence[bytes], *, partition: int, at: datetime | Sequence[datetime] | None = None
    ) -> tuple[int, ...]:
        """Appends events in order. They are durable when this returns, and only then.

        Args:
            events: Opaque bytes.
            partition: Where to.
            at: When they came in, all of them or each (with a zone), for a replay; None is now. Kept to the millisecond.

        Returns:
            Their offsets.

        Raises:
            NoPartitionError: There is no such partition.
            NoZoneError: `at` has no zone.
            ValueError: There is not one time for each event.
            EventLogError: They could not all be made durable. Some of them may stand in the log.
        """
        ...

    def read(self, offsets: Mapping[int, int], *, limits: Limits) -> LogBatch:
        """The next events of all partitions that are durable now; none when there are none. Never waits for new ones.

        Limits are shared out among partitions, so that none keeps the others waiting; a share ends with the event that reaches it.

        Args:
            offsets: Partition to the offset to read from; of one that is not named, its first event.
            limits: What the batch holds at most.

        Raises:
            NoPartitionError: An offset is of a partition that is not there.
            LostEventsError: Events from an offset on were removed already.
            BehindEndError: An offset lies behind the log's end.
            DamagedEventLogError: The log was changed from outside.
            EventLogError: The log cannot be read.
        """
        ...

    def close(self) -> None:
        """Lets go of connections."""
        ...
