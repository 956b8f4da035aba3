"""Train, validation and test by time: whole months, counted back from the newest month of the data."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from headwater.models.errors import EmptyPartError, MissingColumnsError, ModelDeclarationError, WrongDtypeError


@dataclass(frozen=True, kw_only=True)
class SplitBounds:
    """Half-open intervals: train is `[start, validation)`, validation `[validation, test)`, test `[test, end)`.

    Attributes:
        start: First instant of train; None means the oldest row.
        validation: First instant of validation.
        test: First instant of test.
        end: First instant after test.
    """

    start: datetime | None
    validation: datetime
    test: datetime
    end: datetime

    def to_json(self) -> dict[str, str | None]:
        """ISO 8601 instants by name."""
        return {
            "start": self.start.isoformat() if self.start else None,
            "validation": self.validation.isoformat(),
            "test": self.test.isoformat(),
            "end": self.end.isoformat(),
        }


@dataclass(frozen=True, kw_only=True)
class Split:
    """The three parts of one frame, with the bounds that made them."""

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame
    bounds: SplitBounds

    def rows(self) -> dict[str, int]:
        """Row counts by part."""
        return {"train": self.train.height, "validation": self.validation.height, "test": self.test.height}


@dataclass(frozen=True, kw_only=True)
class TimeSplit:
    """Splits by whole calendar months; the window moves when a newer month arrives.

    A row on a boundary belongs to the later part. Nothing but the newest value of `time` decides the bounds, so the
    same rows in any order give the same parts.

    Attributes:
        time: Datetime or date column.
        validation_months: Months before the test months, >= 1.
        test_months: Newest months, >= 1.
        train_months: Months before validation; None takes all there is.
        timezone: Zone whose midnights begin the months. A zone-less column is taken as local time of that zone.
            Flights of a June evening in New York happen in July by UTC: name the zone that the business counts in.
    """

    time: str
    validation_months: int = 1
    test_months: int = 1
    train_months: int | None = None
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        for name in ("validation_months", "test_months", "train_months"):
            months = getattr(self, name)
            if months is not None and months < 1:
                raise ModelDeclarationError(
                    what="TimeSplit", problem=f"{name} is {months}.", remedy="Give whole months, at least 1."
                )
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ModelDeclarationError(
                what="TimeSplit",
                problem=f"zone {self.timezone!r} is unknown.",
                remedy="Use an IANA name such as 'UTC'.",
            ) from error

    def bounds(self, newest: datetime) -> SplitBounds:
        """The intervals for data whose newest row has local time `newest` (zone-less, in `timezone`)."""
        end = _month(newest, 1)
        test = _month(newest, 1 - self.test_months)
        validation = _month(newest, 1 - self.test_months - self.validation_months)
        start = _month(validation, -self.train_months) if self.train_months else None
        return SplitBounds(start=start, validation=validation, test=test, end=end)

    def apply(self, frame: pl.DataFrame) -> Split:
        """The three parts of `frame`.

        Args:
            frame: Rows with the `time` column, no null in it.

        Raises:
            MissingColumnsError: There is no `time` column.
            WrongDtypeError: It is neither datetime nor date.
            EmptyPartError: The frame or a part has no rows, or `time` has nulls.
        """
        local = self._local(frame)
        newest = local.max()
        if frame.is_empty() or not isinstance(newest, datetime):
            raise EmptyPartError(part="whole", detail="", remedy="Materialize the training set first.")
        if nulls := local.null_count():
            raise EmptyPartError(
                part="split",
                detail=f" for {nulls} rows whose '{self.time}' is null",
                remedy="Drop or date those rows upstream: a row without a time belongs to no part.",
            )
        bounds = self.bounds(newest)
        in_train = local < bounds.validation
        if bounds.start is not None:
            in_train &= local >= bounds.start
        parts = {
            "train": frame.filter(in_train),
            "validation": frame.filter((local >= bounds.validation) & (local < bounds.test)),
            "test": frame.filter((local >= bounds.test) & (local < bounds.end)),
        }
        for name, part in parts.items():
            if part.is_empty():
                raise EmptyPartError(
                    part=name,
                    detail=f" between the bounds {bounds.to_json()} (the newest row is of {newest.isoformat()})",
                    remedy="Land more months, or declare fewer validation and test months.",
                )
        return Split(train=parts["train"], validation=parts["validation"], test=parts["test"], bounds=bounds)

    def _local(self, frame: pl.DataFrame) -> pl.Series:
        if self.time not in frame.columns:
            raise MissingColumnsError(columns=[self.time], frame="split", found=frame.columns)
        column = frame[self.time]
        if column.dtype == pl.Date:
            return column.cast(pl.Datetime("us"))
        if not isinstance(column.dtype, pl.Datetime):
            raise WrongDtypeError(
                column=self.time, frame="split", found=str(column.dtype), expected="a datetime or date"
            )
        if column.dtype.time_zone is not None:
            column = column.dt.convert_time_zone(self.timezone).dt.replace_time_zone(None)
        return column


def _month(moment: datetime, shift: int) -> datetime:
    count = moment.year * 12 + moment.month - 1 + shift
    return datetime(count // 12, count % 12 + 1, 1)
