"""Errors of streams. Each names the log, the partition and the next step."""

from collections.abc import Sequence

from headwater.errors import HeadwaterError


class StreamError(HeadwaterError):
    """Any error of streams."""


class NoZoneError(StreamError, ValueError):
    """A time without a zone, which could be any of a day's."""

    def __init__(self, *, moment: str) -> None:
        self.moment = moment
        super().__init__(f"The time {moment} has no zone. Give one, such as UTC.")


class EventLogError(StreamError):
    """An event log cannot be read or written."""

    def __init__(self, *, location: str, action: str, reason: str, remedy: str = "") -> None:
        self.location, self.action, self.reason = location, action, reason
        more = remedy or "Look at the disk or the broker; what was appended before stands, and a retry doubles nothing."
        super().__init__(f"The event log at {location} could not be {action}: {reason}. {more}")


class EventLogFullError(EventLogError):
    """There is no room for another event."""

    def __init__(self, *, location: str) -> None:
        remedy = "Make room and append again; nothing of this call was promised."
        EventLogError.__init__(self, location=location, action="written", reason="the disk is full", remedy=remedy)


class NoPartitionError(StreamError):
    """A partition that the log does not have."""

    def __init__(self, *, location: str, partition: object, known: Sequence[int]) -> None:
        self.location, self.partition = location, partition
        has = f"partitions {known[0]} to {known[-1]}" if known else "no partitions"
        super().__init__(f"The event log at {location} has {has}, and {partition!r} is none of them.")


class DamagedEventLogError(StreamError):
    """Events that were promised cannot be read: something changed the log after it was written."""

    def __init__(self, *, path: str, byte: int, problem: str) -> None:
        self.path, self.byte, self.problem = path, byte, problem
        super().__init__(
            f"The event log's segment {path} is damaged at byte {byte}: {problem}. Restore the segment from a copy of "
            "the log. Nothing was written since it was found, and what the lake has taken stands."
        )


class LostEventsError(StreamError):
    """The log no longer has the events that are to be read next."""

    def __init__(self, *, location: str, partition: int, offset: int, start: int) -> None:
        self.location, self.partition, self.offset, self.start = location, partition, offset, start
        super().__init__(
            f"Partition {partition} of the event log at {location} begins at offset {start}, and the events from {offset} on were "
            "not read yet: they were removed too early. Restore them, or accept the loss with `skip_to`; keep events for "
            "longer than a consumer may be away."
        )


class BehindEndError(StreamError):
    """Offsets that lie behind the end of the log: events were read that the log does not have."""

    def __init__(self, *, location: str, partition: int, offset: int, end: int) -> None:
        self.location, self.partition, self.offset, self.end = location, partition, offset, end
        super().__init__(
            f"Partition {partition} of the event log at {location} ends at offset {end}, and {offset} is to be read next. It is "
            "another log, or one restored from an older copy. Read the log that was read before, or give this one a table "
            "of its own."
        )


class AnotherLogError(StreamError):
    """Offsets belong to another log than the one that is read."""

    def __init__(self, *, path: str, consumed: str, found: str) -> None:
        self.path, self.consumed, self.found = path, consumed, found
        super().__init__(
            f"The events of {path!r} come from the log {consumed!r}, and this one is {found!r}: offsets of one mean nothing in "
            "the other. Read the log that was read before, or give this one a table of its own."
        )


class ClocksDifferError(StreamError):
    """The log took an event after the consumer's now: one of two clocks is wrong, and good events would be rejected by it."""

    def __init__(self, *, location: str, partition: int, offset: int, arrived: str, now: str) -> None:
        self.location, self.partition, self.offset, self.arrived, self.now = location, partition, offset, arrived, now
        super().__init__(
            f"The event log at {location} took event {offset} of partition {partition} at {arrived}, and the clock here says "
            f"{now}. Set the clock right that is wrong; nothing was taken, and nothing is lost. If producers stamp events and one of "
            "them is ahead, the next event behind it lets the stream go on, or `skip_to` past it."
        )


class StreamStateError(StreamError):
    """What a stream's tables and its offsets say does not fit."""

    def __init__(self, *, path: str, problem: str, remedy: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"The stream {path!r} cannot go on: {problem}. {remedy}")
