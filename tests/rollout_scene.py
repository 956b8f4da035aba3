"""A toy product in service: versions, answers of a real service or written by hand, failures, labels, and the builds that follow."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from assets._chain._experiment import experiment_asset
from assets._chain._failures import failures_asset
from assets._chain._outcomes import outcomes_asset
from assets._chain._prediction_day import prediction_day_asset
from assets._chain._predictions import predictions_asset
from assets._chain._rollout import DECISION_FILE, rollout_assets
from headwater.decisions import Rollout, RolloutRules
from headwater.materialize import Outcome, Run, materialize
from headwater.monitoring import DecisionCosts, PerformanceRules, ServiceLevels
from headwater.product import Labels, Model, Product, Serving
from serving.prediction_log import (
    FailureRecord,
    LogWriter,
    PredictionRecord,
    encode_failure,
    encode_record,
)
from tests.release_scene import Scene

NAME: Final = "toy"
LABELS: Final = "toy/labels"
DAY: Final = timedelta(days=1)
AT: Final = datetime(2013, 3, 10, 7, tzinfo=UTC)
"""The hour that requests are about."""
RULES: Final = RolloutRules(min_requests=100, min_labels=100, margin=0.2, canary_margin=0.3)
TOY: Final = Product(
    name=NAME, question="Is it late?", owners=("team:toy",),
    labels=Labels(path=LABELS, key=("order",), time="at", label="late", known_at="known"),
    model=Model(features=("x",)),
    performance=PerformanceRules(costs=DecisionCosts(false_alarm=10, miss=30, unit="minutes")),
    # A test machine with two busy cores answers late now and then.
    service_levels=ServiceLevels(latency=timedelta(seconds=20)),
)  # fmt: skip


def microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class RolloutScene(Scene):
    """Builds everything between the logs and the release, in the order in which automation does.

    `ahead` is by how much the service's clock is ahead of the lake's.
    """

    def __init__(self, state: Path, rollout: Rollout, product: Product = TOY) -> None:
        self.ahead = timedelta(0)
        super().__init__(state, replace(product, rollout=rollout))
        self.label(())
        self.settle()

    def declare(self, rollout: Rollout | None = None) -> None:
        super().declare(rollout)
        self.fed = (predictions_asset(self.product), failures_asset(self.product))
        self.decided = (
            prediction_day_asset(self.product), outcomes_asset(self.product), experiment_asset(self.product),
            *rollout_assets(self.product),
        )  # fmt: skip

    def label(self, rows: Iterable[tuple[int, datetime, int | None, datetime]]) -> None:
        """The labels, all of them: order, prediction time, truth, when it was known."""
        times = pl.Datetime("us", "UTC")
        schema = {"order": pl.Int64, "at": times, "late": pl.Int8, "known": times}
        with self.lake.transaction() as tx:
            tx.write_table(LABELS, pl.DataFrame(list(rows), schema=schema, orient="row"))
            tx.publish(message="Labels", provenance=None)

    def keep(self, length: timedelta) -> None:
        """Answers and failures stay so long from now on, whatever is watched: a stage may last longer than anybody declared."""
        kept = replace(
            self.product, serving=Serving(keep=length), rollout=Rollout(rules=RolloutRules(watch=timedelta(0)))
        )
        self.fed = (predictions_asset(kept), failures_asset(kept))

    def settle(self) -> list[Outcome]:
        """Takes the logs in, decides, and steps; the release is built too once there is a version."""
        run = Run(actor="automation")
        found = [materialize(self.lake, asset, run=run, state=self.state) for asset in (*self.fed, *self.decided)]
        if self.lake.at("main").has(f"{NAME}/model"):
            found.append(self.build())
        return found

    def decision(self) -> dict[str, Any]:
        """The newest recorded decision."""
        found: dict[str, Any] = json.loads(self.decided_file(DECISION_FILE).read_text())
        return found

    def decided_file(self, name: str, *, asset: str = "rollout") -> Path:
        """A file of the newest recorded decision."""
        return self.lake.at("main").folder(f"{NAME}/{asset}") / name

    def experiment(self) -> dict[str, Any]:
        """The newest recorded decision about an experiment."""
        found: dict[str, Any] = json.loads(self.decided_file(DECISION_FILE, asset="experiment").read_text())
        return found

    def answers(
        self, orders: Sequence[int], versions: Mapping[int, str] | str, *, at: datetime = AT, **changes: Any
    ) -> list[PredictionRecord]:
        """Puts answers in the log, as a service that follows the newest release gives them."""
        log = LogWriter(self.state / "serving" / "log" / NAME, segment_bytes=2**16)
        head = self.lake.resolve("main").id
        made = []
        for order in orders:
            version = versions if isinstance(versions, str) else versions[order]
            made.append(self._record(order, version, at, head, changes))
        log.append([encode_record(one) for one in made])
        log.close()
        return made

    def batch(self, id: str, orders: Sequence[int], versions: Mapping[int, str] | str, **changes: Any) -> None:
        """Puts the answers to one request with several instances in the log, as a service has them: under one id, at one instant."""
        places = {order: place for place, order in enumerate(orders)}
        received = microseconds(datetime.now(UTC) + self.ahead)
        usual: dict[str, Any] = {"request_id": lambda order: f"{id}#{places[order]}", "received": received}
        self.answers(orders, versions, **{**usual, **changes})

    def failures(self, version: str, count: int, *, code: str = "failed", commit: str = "") -> None:
        """Puts failures in their log, as a service that follows the newest release has them."""
        log = LogWriter(self.state / "serving" / "failures" / NAME, segment_bytes=2**14)
        now, head = microseconds(datetime.now(UTC) + self.ahead), commit or self.lake.resolve("main").id
        record = FailureRecord(failed_product=NAME, version=version, code=code, at=now, count=count, commit=head)
        log.append([encode_failure(record)])
        log.close()

    def _record(
        self, order: int, version: str, at: datetime, head: str, changes: Mapping[str, Any]
    ) -> PredictionRecord:
        usual: dict[str, Any] = {
            "request_id": f"r{order}", "product": NAME, "at": microseconds(at), "received": microseconds(datetime.now(UTC) + self.ahead),
            "latency": 900, "version": version, "variant": version, "score": 0.9, "decision": True, "propensity": 1.0,
            "request": {"order": order}, "features": {}, "commit": head,
        }  # fmt: skip
        given = {name: value(order) if callable(value) else value for name, value in changes.items()}
        return PredictionRecord(**{**usual, **given})
