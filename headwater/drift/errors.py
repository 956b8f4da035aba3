"""Errors of the drift statistics. Each names the column, the side and the next step."""

import difflib
from collections.abc import Sequence

from headwater.errors import HeadwaterError


class DriftError(HeadwaterError):
    """Any error of the drift statistics."""


class EmptySampleError(DriftError):
    """A drift statistic was asked of a sample with no rows."""

    def __init__(self, *, column: str, side: str) -> None:
        self.column, self.side = column, side
        super().__init__(
            f"Column '{column}' has no {side} rows, so its drift is undefined. "
            f"Materialize the {side} dataset first, or drop '{column}' from the product's monitored columns."
        )


class MissingColumnError(DriftError):
    """A monitored column is absent on one side."""

    def __init__(self, *, column: str, side: str, known: Sequence[str]) -> None:
        self.column, self.side = column, side
        close = difflib.get_close_matches(column, known, n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(map(repr, close))}?" if close else ""
        super().__init__(
            f"The {side} data have no column '{column}', so its drift is undefined.{hint} "
            f"Add it to the {side} dataset, or drop it from the product's monitored columns."
        )


class ColumnKindError(DriftError):
    """A column holds values of one kind on one side and of another kind on the other."""

    def __init__(self, *, column: str, reference: str, current: str) -> None:
        self.column, self.reference, self.current = column, reference, current
        super().__init__(
            f"Column '{column}' holds {reference} values in the reference and {current} values in the current data, "
            f"which cannot be compared. Cast one side, or list '{column}' under `categorical` for both."
        )


class UnsupportedColumnError(DriftError):
    """A column of a dtype that has neither an order nor categories."""

    def __init__(self, *, column: str, dtype: str) -> None:
        self.column, self.dtype = column, dtype
        super().__init__(
            f"Column '{column}' has dtype {dtype}, for which no drift statistic is defined. "
            "Derive a number or a category from it, or drop it from the product's monitored columns."
        )


class ProfileFormatError(DriftError):
    """A file that is not a reference profile this Headwater reads."""

    def __init__(self, *, location: str, reason: str) -> None:
        self.location, self.reason = location, reason
        super().__init__(
            f"{location} is not a reference profile: {reason}. "
            "Write it again from the reference data with `write_profile`."
        )


class ProfileMismatchError(DriftError):
    """Two profiles with different columns were merged."""

    def __init__(self, *, only_left: Sequence[str], only_right: Sequence[str]) -> None:
        self.only_left, self.only_right = tuple(only_left), tuple(only_right)
        super().__init__(
            "Two profiles cannot be merged because their columns differ: "
            f"only the first has {sorted(only_left)}, only the second has {sorted(only_right)}. "
            "Profile the same columns of every batch."
        )
