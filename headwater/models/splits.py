"""Train, validation and test by time: months, counted back from the newest one of the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from headwater.models.errors import (
    EmptyPartError,
    MissingColumnsError,
    ModelDeclarationError,
    NullTimeError,
    WrongDtypeError,
)

FEWEST_DAYS: Final = 10
"""Days with rows below which a test part reaches one month further back: rows of a day are alike, and few days tell one model from another no more."""


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
    """The three parts of one frame, with the bounds that made them.

    Attributes:
        train: Rows to learn from.
        validation: Rows that choose rounds and threshold.
        test: Rows that judge.
        bounds: Where one part ends and the next begins.
        purged: Rows left out of train and of validation, because their label was known only after the part ended.
    """

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame
    bounds: SplitBounds
    purged: Mapping[str, int] = field(default_factory=dict)

    def rows(self) -> dict[str, int]:
        """Row counts by part."""
        return {"train": self.train.height, "validation": self.validation.height, "test": self.test.height}


@dataclass(frozen=True, kw_only=True)
class TimeSplit:
    """Splits by calendar months; the window moves when a newer month arrives.

    A row on a boundary belongs to the later part. While the newest month has just begun, its rows of few days tell little: where the test
    part has rows on fewer than `FEWEST_DAYS` days, and the newest month on fewer than the one before, the test part reaches one
    month further back, if that month has rows and leaves some to train on and to validate. Nothing but the days that have rows
    decides the bounds, so the same rows in any order give the same parts.

    A model made at the end of a part could not have learned from an outcome that came in later. With `known_at`, such rows
    of train and of validation are left out and counted ("purged", López de Prado 2018, chapter 7); the test part, which
    is judged afterwards, keeps all.

    Attributes:
        time: Datetime or date column.
        known_at: Datetime or date column with the time from which the label could be read, or None to purge nothing.
        validation_months: Months before the test months, >= 1.
        test_months: Newest months, >= 1.
        train_months: Months before validation; None takes all there is.
        timezone: Zone whose midnights begin the months. A zone-less column is taken as local time of that zone.
            Flights of a June evening in New York happen in July by UTC: name the zone that the business counts in.
    """

    time: str
    known_at: str | None = None
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

    def bounds(self, newest: datetime, *, back: int = 0) -> SplitBounds:
        """The intervals for data whose newest row has local time `newest` (zone-less, in `timezone`).

        Args:
            newest: The local time.
            back: Months that the test part reaches further back than declared.
        """
        end = _month(newest, 1)
        test = _month(newest, 1 - self.test_months - back)
        validation = _month(newest, 1 - self.test_months - back - self.validation_months)
        start = _month(validation, -self.train_months) if self.train_months else None
        return SplitBounds(start=start, validation=validation, test=test, end=end)

    def apply(self, frame: pl.DataFrame) -> Split:
        """The three parts of `frame`.

        Args:
            frame: Rows with the `time` column, and `known_at` when named, no null in either.

        Raises:
            MissingColumnsError: There is no such column.
            WrongDtypeError: It is neither datetime nor date.
            EmptyPartError: The frame or a part has no rows.
            NullTimeError: A time is null.
        """
        local = self._local(frame, self.time)
        if self.known_at is not None:
            self._check_known(frame, self.known_at)
        newest = local.max()
        if frame.is_empty() or not isinstance(newest, datetime):
            raise EmptyPartError(part="whole", detail="", remedy="Materialize the training set first.")
        _no_nulls(local, self.time)
        bounds = self._bounds(local, newest)
        in_train = local < bounds.validation
        if bounds.start is not None:
            in_train &= local >= bounds.start
        in_validation = (local >= bounds.validation) & (local < bounds.test)
        train, train_purged = self._known_by(bounds.validation, frame.filter(in_train))
        validation, validation_purged = self._known_by(bounds.test, frame.filter(in_validation))
        parts = {
            "train": train,
            "validation": validation,
            "test": frame.filter((local >= bounds.test) & (local < bounds.end)),
        }
        for name, part in parts.items():
            if part.is_empty():
                raise EmptyPartError(
                    part=name,
                    detail=f" between the bounds {bounds.to_json()} (the newest row is of {newest.isoformat()})",
                    remedy="Land more months, or declare fewer validation and test months.",
                )
        purged = {"train": train_purged, "validation": validation_purged}
        return Split(**parts, bounds=bounds, purged=purged)

    def _bounds(self, local: pl.Series, newest: datetime) -> SplitBounds:
        """The intervals for rows of these local times, the test part with enough days where there is a month for it."""
        declared = self.bounds(newest)
        newest_month, before = (_days(local, _month(newest, -back), _month(newest, 1 - back)) for back in (0, 1))
        if _days(local, declared.test, declared.end) >= FEWEST_DAYS or newest_month >= before:
            return declared
        reaching = self.bounds(newest, back=1)
        months = (
            (reaching.start, reaching.validation),
            (reaching.validation, reaching.test),
            (reaching.test, declared.test),
        )
        return reaching if all(_days(local, *month) for month in months) else declared

    def _known_by(self, end: datetime, part: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """The rows whose label could be read at `end`, and how many could not."""
        if self.known_at is None:
            return part, 0
        known = self._local(part, self.known_at)
        kept = part.filter(known <= end)
        return kept, part.height - kept.height

    def _check_known(self, frame: pl.DataFrame, known_at: str) -> None:
        _no_nulls(self._local(frame, known_at), known_at)
        zones = {name: getattr(frame.schema[name], "time_zone", None) is not None for name in (self.time, known_at)}
        if zones[self.time] is not zones[known_at] and isinstance(frame.schema[known_at], pl.Datetime):
            raise WrongDtypeError(
                column=known_at,
                frame="split",
                found=str(frame.schema[known_at]),
                expected=f"a datetime {'with' if zones[self.time] else 'without'} a time zone, as '{self.time}' is",
            )

    def _local(self, frame: pl.DataFrame, name: str) -> pl.Series:
        """A column of times as zone-less local times of `timezone`."""
        if name not in frame.columns:
            raise MissingColumnsError(columns=[name], frame="split", found=frame.columns)
        column = frame[name]
        if column.dtype == pl.Date:
            return column.cast(pl.Datetime("us"))
        if not isinstance(column.dtype, pl.Datetime):
            raise WrongDtypeError(column=name, frame="split", found=str(column.dtype), expected="a datetime or date")
        if column.dtype.time_zone is not None:
            column = column.dt.convert_time_zone(self.timezone).dt.replace_time_zone(None)
        return column


def _days(local: pl.Series, start: datetime | None, end: datetime) -> int:
    """Days with rows."""
    inside = local < end
    return local.filter(inside if start is None else inside & (local >= start)).dt.date().n_unique()


def _no_nulls(times: pl.Series, name: str) -> None:
    if nulls := times.null_count():
        raise NullTimeError(column=name, rows=nulls)


def _month(moment: datetime, shift: int) -> datetime:
    count = moment.year * 12 + moment.month - 1 + shift
    return datetime(count // 12, count % 12 + 1, 1)
