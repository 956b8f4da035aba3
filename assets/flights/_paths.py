"""Lake paths of the product, and the keys that name its rows."""

from typing import Final

from headwater.product import Partitions

MONTHS: Final = Partitions.months("2013-01", "2013-12")
LANDED_FIRST: Final = MONTHS.keys[:6]
PERIOD: Final = MONTHS.column
TIMEZONE: Final = "America/New_York"
"""All three airports lie here: a month of flights is a month of New York."""

LANDED_FLIGHTS: Final = "flights/landing/flights"
LANDED_WEATHER: Final = "flights/landing/weather"
LANDED_PLANES: Final = "flights/landing/planes"
LANDED_AIRPORTS: Final = "flights/landing/airports"
LANDED_AIRLINES: Final = "flights/landing/airlines"
MOVEMENTS: Final = "flights/landing/movements"
"""A stream, not a landed file: departures and arrivals as they come in."""
OBSERVATIONS: Final = "flights/landing/observations"
"""A stream: the weather at the origins as it is reported."""

FLIGHTS: Final = "flights/datasets/flights"
WEATHER: Final = "flights/datasets/weather"
PLANES: Final = "flights/datasets/planes"
AIRPORTS: Final = "flights/datasets/airports"
AIRLINES: Final = "flights/datasets/airlines"
LABELS: Final = "flights/datasets/labels"

ORIGIN_HISTORY: Final = "flights/features/origin_history"
TAIL_HISTORY: Final = "flights/features/tail_history"
ROUTE_HISTORY: Final = "flights/features/route_history"
CARRIER_HISTORY: Final = "flights/features/carrier_history"
PLANE_REGISTER: Final = "flights/features/plane_register"
WEATHER_OBSERVED: Final = "flights/features/weather_observed"

KEY: Final = ("time_hour", "carrier", "flight")
"""What names a flight: hour of scheduled departure (UTC), carrier and flight number."""
ORIGINS: Final = ("EWR", "JFK", "LGA")
