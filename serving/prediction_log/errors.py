"""Errors of the prediction log. Each names the segment and the next step."""

from headwater.errors import HeadwaterError


class LogError(HeadwaterError):
    """The prediction log cannot be written or read."""

    def __init__(self, *, path: str, action: str, reason: str) -> None:
        self.path, self.action, self.reason = path, action, reason
        super().__init__(
            f"The prediction log at {path} could not be {action}: {reason}. Look at the disk and at the rights of the folder; "
            "what was answered before stands in it."
        )


class LogFullError(LogError):
    """There is no room for another record."""

    def __init__(self, *, path: str) -> None:
        LogError.__init__(self, path=path, action="written", reason="the disk is full")


class DamagedLogError(HeadwaterError):
    """A segment holds records behind bytes that are none: something changed it after it was written."""

    def __init__(self, *, path: str, offset: int, after: int) -> None:
        self.path, self.offset, self.after = path, offset, after
        super().__init__(
            f"The prediction log's segment {path} is damaged at byte {offset}: whole records follow at byte {after}. Answers "
            "between them are lost. Keep a copy of the segment, and go on behind the damage with `skip_damage=True`."
        )


class RecordFormatError(HeadwaterError):
    """A whole record is none that this version of Headwater reads."""

    def __init__(self, *, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"A record of the prediction log cannot be read: {reason}. Another version of Headwater wrote it; read it with that one."
        )
