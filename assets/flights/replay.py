"""The flights of 2013 as they came: asked about two hours before departure, landed at the end of the day on which they were known."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from assets.flights._paths import AIRPORTS, MOVEMENTS, OBSERVATIONS, PERIOD, TIMEZONE
from assets.flights._schemas import FLIGHT_FIELDS, WEATHER_FIELDS
from assets.flights._times import add_instants
from assets.flights.datasets import PREDICT_BEFORE, possible_winds
from assets.flights.features import REPORT_LAG
from assets.flights.streams import ARRIVES, MOVEMENT_EVENTS, WEATHER_EVENTS, events_of, messages, reports_of
from headwater.lake import Snapshot
from headwater.parsing import parse_text
from headwater.replay import ReplayDay, ReplayEvent, ReplayRequest

CANCELLED_KNOWN: Final = timedelta(hours=3)
"""A flight that has not left so long after its scheduled departure, and never will, is known to be cancelled."""
DIVERTED_KNOWN: Final = timedelta(hours=6)
"""A flight that landed elsewhere is known to have done so that long after its scheduled arrival."""
_ROW, _KNOWN = "__row", "__known"
_FIELDS: Final = ("carrier", "origin", "dest", "tailnum", "distance", "flight")
_TIMES: Final = ("scheduled_departure", "scheduled_arrival", "time_hour")


class FlightsReplay:
    """Days of New York's flights and weather."""

    def __init__(self, snapshot: Snapshot, packaged: Mapping[str, pl.DataFrame]) -> None:
        """Prepares the whole year.

        Args:
            snapshot: A lake with the airports.
            packaged: The packaged files of `flights` and `weather`, each cell as text.
        """
        zones = snapshot.table(AIRPORTS).filter(pl.col("tzone").is_not_null()).collect()
        flown = add_instants(parse_text(packaged["flights"], FLIGHT_FIELDS, name="flights.csv"), zones)
        observed = parse_text(packaged["weather"], WEATHER_FIELDS, name="weather.csv").with_columns(possible_winds())
        self._movements, self._reports = events_of(flown), reports_of(observed)
        self._flights = _with_known(packaged["flights"], flown)
        self._weather = packaged["weather"].with_columns((_hour() + REPORT_LAG).alias(_KNOWN), _period().alias(PERIOD))
        self._zone = ZoneInfo(TIMEZONE)

    def days(self, first: date, last: date) -> Iterator[ReplayDay]:
        """Each day from midnight to midnight in New York."""
        day = first
        while day <= last:
            begin = datetime(day.year, day.month, day.day, tzinfo=self._zone).astimezone(UTC)
            after = day + timedelta(days=1)
            end = datetime(after.year, after.month, after.day, tzinfo=self._zone).astimezone(UTC)
            requests, files = self._requests(begin, end), dict(self._files(begin, end))
            yield ReplayDay(day=day, begin=begin, end=end, requests=requests, files=files)
            day = after

    def events(self, start: datetime, end: datetime) -> Mapping[str, Sequence[ReplayEvent]]:
        """Departures and arrivals when they happen, and observations when they are reported."""
        came = pl.col(ARRIVES).is_between(start, end, closed="left")
        return {
            MOVEMENTS: [ReplayEvent(*each) for each in messages(self._movements.filter(came), MOVEMENT_EVENTS)],
            OBSERVATIONS: [ReplayEvent(*each) for each in messages(self._reports.filter(came), WEATHER_EVENTS)],
        }

    def _requests(self, begin: datetime, end: datetime) -> tuple[ReplayRequest, ...]:
        asked = self._flights.filter(pl.col("predict_at").is_between(begin, end, closed="left")).sort(
            "predict_at", _ROW
        )
        return tuple(_request(row) for row in asked.select("predict_at", *_FIELDS, *_TIMES).iter_rows(named=True))

    def _files(self, begin: datetime, end: datetime) -> Iterator[tuple[tuple[str, str | None], pl.DataFrame]]:
        """Each month's file that gained rows on the day."""
        for source, rows in (("flights", self._flights), ("weather", self._weather)):
            known = rows.filter(pl.col(_KNOWN) < end)
            for period in known.filter(pl.col(_KNOWN) >= begin)[PERIOD].unique().sort():
                month = known.filter(pl.col(PERIOD) == period)
                yield (source, period), month.select(self._columns(source))

    def _columns(self, source: str) -> list[str]:
        rows = self._flights if source == "flights" else self._weather
        extra = {_ROW, _KNOWN, PERIOD, "predict_at", "scheduled_departure", "scheduled_arrival"}
        return [name for name in rows.columns if name not in extra and not name.startswith("__")]


def _request(row: Mapping[str, Any]) -> ReplayRequest:
    number = int(row["flight"])
    entity = {name: row[name] for name in ("carrier", "origin", "dest")}
    entity["tailnum"] = None if row["tailnum"] in ("", "NA") else row["tailnum"]
    entity["distance"], entity["flight"] = int(row["distance"]), number
    entity |= {name: row[name] if isinstance(row[name], str) else _iso(row[name]) for name in _TIMES}
    return ReplayRequest(id=f"{row['time_hour']}-{row['carrier']}-{number}", at=row["predict_at"], entity=entity)


def _with_known(raw: pl.DataFrame, typed: pl.DataFrame) -> pl.DataFrame:
    """The rows as they arrived, with the instant from which each was known.

    Args:
        raw: Each cell as text.
        typed: The same flights with their instants.
    """
    key = ["time_hour", "carrier", "flight"]
    instants = typed.select(
        *(pl.col(name) for name in key),
        "scheduled_departure",
        "scheduled_arrival",
        (pl.col("scheduled_departure") - PREDICT_BEFORE).alias("predict_at"),
        pl.when(pl.col("dep_time").is_null())
        .then(pl.col("scheduled_departure") + CANCELLED_KNOWN)
        .otherwise(pl.coalesce("arrival", pl.col("scheduled_arrival") + DIVERTED_KNOWN))
        .alias(_KNOWN),
    )
    named = raw.with_row_index(_ROW).with_columns(
        _hour().alias("__time_hour"), pl.col("flight").cast(pl.Int32).alias("__flight"), _period().alias(PERIOD)
    )
    return named.join(instants, left_on=["__time_hour", "carrier", "__flight"], right_on=key, how="left").sort(_ROW)


def _hour() -> pl.Expr:
    return pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")


def _period() -> pl.Expr:
    return pl.col("year") + "-" + pl.col("month").str.zfill(2)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
