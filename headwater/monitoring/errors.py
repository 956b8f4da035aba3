"""Errors of monitoring. Each names the culprit and the next step."""

import difflib
from collections.abc import Sequence

from headwater.errors import HeadwaterError


class MonitoringError(HeadwaterError):
    """Any error of monitoring."""


class MonitoringRuleError(MonitoringError):
    """A declared rule of monitoring that cannot be."""

    def __init__(self, *, rule: str, value: object, wanted: str) -> None:
        self.rule, self.value = rule, value
        super().__init__(f"{rule} is {value!r}; it must be {wanted}.")


class MissingColumnsError(MonitoringError):
    """A frame lacks columns that a report needs."""

    def __init__(self, *, frame: str, columns: Sequence[str], known: Sequence[str]) -> None:
        self.frame, self.columns = frame, tuple(columns)
        close = [name for column in columns for name in difflib.get_close_matches(column, known, n=2, cutoff=0.5)]
        hint = f" Did you mean {', '.join(map(repr, dict.fromkeys(close)))}?" if close else ""
        super().__init__(
            f"The {frame} have no column{'s' if len(columns) > 1 else ''} {', '.join(map(repr, columns))}.{hint} "
            f"Add them to the {frame}, or take them out of the declaration."
        )


class ColumnTypeError(MonitoringError):
    """A column of a frame has a dtype that a report cannot read."""

    def __init__(self, *, frame: str, column: str, found: str, wanted: str) -> None:
        self.frame, self.column, self.found = frame, column, found
        super().__init__(f"Column '{column}' of the {frame} has dtype {found}; it must be {wanted}. Cast it upstream.")


class BadValuesError(MonitoringError):
    """Rows that hold what no prediction or label can be."""

    def __init__(self, *, frame: str, column: str, rows: int, problem: str) -> None:
        self.frame, self.column, self.rows = frame, column, rows
        super().__init__(
            f"Column '{column}' of the {frame} {problem} in {rows} row{'s' if rows != 1 else ''}. "
            "Find what wrote them; nothing was judged."
        )


class AmbiguousLabelsError(MonitoringError):
    """One event has several labels, so that nobody knows which is the truth."""

    def __init__(self, *, key: Sequence[str], events: int, example: str) -> None:
        self.key, self.events, self.example = tuple(key), events, example
        super().__init__(
            f"{events} event{'s have' if events != 1 else ' has'} several labels under the key {', '.join(key)}, such as "
            f"{example}. Keep one row an event in the labels table, or declare a longer key."
        )


class TooManyWindowsError(MonitoringError):
    """The time covered is out of all proportion to the length of a window."""

    def __init__(self, *, first: str, last: str, length: str, limit: int) -> None:
        super().__init__(
            f"From {first} to {last} there are more than {limit} windows of {length}. Look for predictions with a wrong "
            "time, give the span of the report, or declare longer windows."
        )
