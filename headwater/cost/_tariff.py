"""The declared prices of what is used."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from headwater.errors import HeadwaterError


class TariffError(HeadwaterError):
    """A tariff that cannot be used."""

    def __init__(self, *, file: str, problem: str) -> None:
        self.file, self.problem = file, problem
        super().__init__(
            f"The tariff {file} {problem}. Write `currency` and one [[prices]] or more with since, cpu_hour, gb_written, gb_month and "
            "answering_hour, as tariff.toml does; HEADWATER_TARIFF names the file."
        )


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Prices that hold from an instant on.

    Attributes:
        since: From when on, UTC.
        cpu_hour: Of an hour of processor time.
        gb_written: Of 10^9 bytes written to the lake.
        gb_month: Of 10^9 bytes that stand in the lake for a month of 730.5 hours.
        answering_hour: Of an hour from receipt to record of answers, all together.
    """

    since: datetime
    cpu_hour: float = 0.0
    gb_written: float = 0.0
    gb_month: float = 0.0
    answering_hour: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Tariff:
    """Prices over time.

    Attributes:
        currency: Such as `EUR`.
        prices: By `since`; the first also holds before.
    """

    currency: str
    prices: tuple[Prices, ...]

    def at(self, time: datetime) -> Prices:
        """The prices of an instant."""
        return next((one for one in reversed(self.prices) if one.since <= time), self.prices[0])

    def periods(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime, Prices]]:
        """A stretch of time, cut where prices change; empty when it ends before it begins."""
        cuts = [start, *(one.since for one in self.prices if start < one.since < end), end]
        return [(left, right, self.at(left)) for left, right in pairwise(cuts) if left < right]


def read_tariff(file: Path) -> Tariff:
    """The tariff in a TOML file.

    Raises:
        TariffError: It is absent, no TOML, lacks a currency or prices, or a price is no number of zero or more.
    """
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise TariffError(file=str(file), problem=f"cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TariffError(file=str(file), problem=f"is no TOML ({error})") from error
    if strange := sorted(raw.keys() - {"currency", "prices"}):
        raise TariffError(file=str(file), problem=f"has {', '.join(map(repr, strange))}, which means nothing")
    currency, prices = raw.get("currency"), raw.get("prices")
    if not isinstance(currency, str) or not currency.strip():
        raise TariffError(file=str(file), problem="names no currency")
    if not isinstance(prices, list) or not prices:
        raise TariffError(file=str(file), problem="has no [[prices]]")
    found = sorted((_prices(file, item) for item in prices), key=lambda one: one.since)
    _check_starts(file, found)
    return Tariff(currency=currency.strip(), prices=tuple(found))


def _prices(file: Path, raw: Mapping[str, Any]) -> Prices:
    known = {item.name for item in fields(Prices)}
    if not isinstance(raw, dict) or (strange := sorted(raw.keys() - known)):
        said = ", ".join(map(repr, strange)) if isinstance(raw, dict) else "prices"
        raise TariffError(file=str(file), problem=f"has {said} that are none")
    values = {name: value for name, value in raw.items() if name != "since"}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise TariffError(file=str(file), problem=f"has {name} = {value!r}, which is no number of zero or more")
    return Prices(since=_instant(file, raw.get("since")), **{name: float(value) for name, value in values.items()})


def _instant(file: Path, raw: Any) -> datetime:
    if isinstance(raw, datetime):
        return raw if raw.tzinfo else raw.replace(tzinfo=UTC)
    if isinstance(raw, date):
        return datetime(raw.year, raw.month, raw.day, tzinfo=UTC)
    raise TariffError(file=str(file), problem=f"has prices with since = {raw!r}, which is no date such as 2026-01-01")


def _check_starts(file: Path, found: Sequence[Prices]) -> None:
    starts = [one.since for one in found]
    if len(set(starts)) < len(starts):
        raise TariffError(file=str(file), problem="has two [[prices]] with the same `since`")
