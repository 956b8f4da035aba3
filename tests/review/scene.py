"""A lake with predictions and labels of the flights product, as the compactor and the builds leave them, in milliseconds."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from assets._chain._outcomes import outcomes_asset
from assets._chain._prediction_day import prediction_day_asset
from assets._chain._prediction_rows import COLUMNS
from assets._chain._review_answers import review_answers_asset
from assets.flights.product import PRODUCT as FLIGHTS
from headwater.lake import EmbeddedLake
from headwater.materialize import Outcome, Run, materialize
from headwater.review import ReviewDesk

PRODUCT = FLIGHTS.name
RECEIVED = datetime(2026, 5, 1, 12, tzinfo=UTC)
AT = datetime(2013, 7, 1, 12, tzinfo=UTC)
assert FLIGHTS.labels is not None
LABELS = FLIGHTS.labels


def prediction(id: str, score: float, *, flight: int = 1, **more: Any) -> dict[str, Any]:
    """One row of the predictions; another flight is another event."""
    row = {
        "request_id": id, "at": AT, "received": RECEIVED, "latency_us": 900, "log_us": 0, "version": "1.0.0",
        "variant": "1.0.0", "propensity": None, "score": score, "decision": score >= 0.31, "shadows": "{}", "request": "{}",
        "features": json.dumps({"distance": 1089, "carrier": "DL"}), "reasons": "{}", "online": None, "commit": "", "caller": "",
        "trace": "", "flight": flight,
    }  # fmt: skip
    return {**row, **more}


class Scene:
    """Writes predictions and labels as they come in, and asks the queue."""

    def __init__(self, state: Path, *, now: datetime = RECEIVED + timedelta(hours=1)) -> None:
        self.lake, self.now = EmbeddedLake.open(state / "lake"), now
        self.key = {"time_hour": pl.Datetime("us", "UTC"), "carrier": pl.String(), "flight": pl.Int32()}
        self.answers = review_answers_asset(FLIGHTS)
        self.labels([])
        self.desk = ReviewDesk(self.lake, FLIGHTS, self.answers, branch="main", now=lambda: self.now)

    def predictions(self, *rows: dict[str, Any]) -> None:
        """The table of predictions, anew."""
        schema = {**COLUMNS, **self.key}
        found = [{**_event(row["flight"]), **row} for row in rows]
        found = [{name: row[name] for name in schema} for row in found]
        self._write(f"{PRODUCT}/predictions", pl.DataFrame(found, schema=schema, orient="row"))

    def labels(self, rows: Sequence[tuple[int, int | None]]) -> None:
        """Flights whose truth came in three hours after their prediction; None for one that never has any."""
        known = {LABELS.time: AT, LABELS.known_at: AT + timedelta(hours=3)}
        found = [{**_event(flight), **known, LABELS.label: label, "origin": "JFK"} for flight, label in rows]
        time = pl.Datetime("us", "UTC")
        schema = {**self.key, LABELS.time: time, LABELS.known_at: time, LABELS.label: pl.Int8(), "origin": pl.String()}
        self._write(LABELS.path, pl.DataFrame(found, schema=schema, orient="row"))

    def outcomes(self) -> Outcome:
        """Builds the answers, where nobody answered yet, the day of the predictions, and the outcomes."""
        run = Run(actor="automation")
        materialize(self.lake, self.answers, run=run)
        materialize(self.lake, prediction_day_asset(FLIGHTS), run=run)
        return materialize(self.lake, outcomes_asset(FLIGHTS), run=run)

    def rows(self) -> dict[str, dict[str, Any]]:
        """The outcomes by request."""
        found = self.lake.at("main").table(f"{PRODUCT}/outcomes").collect()
        return {row["request_id"]: row for row in found.to_dicts()}

    def _write(self, path: str, rows: pl.DataFrame) -> None:
        with self.lake.transaction() as tx:
            tx.write_table(path, rows)
            tx.publish(message=path, provenance=None)


def drawn(count: int) -> list[str]:
    """Request ids that are among those asked about."""
    assert FLIGHTS.review is not None
    names = (f"r{number}" for number in range(1_000))
    return [name for name in names if FLIGHTS.review.draws(name)][:count]


def not_drawn() -> str:
    """One that is not."""
    assert FLIGHTS.review is not None
    return next(f"r{number}" for number in range(1_000) if not FLIGHTS.review.draws(f"r{number}"))


def _event(flight: int) -> dict[str, Any]:
    return {"time_hour": AT, "carrier": "DL", "flight": flight}
