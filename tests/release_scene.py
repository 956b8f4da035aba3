"""A lake with published versions of the flights model, their evaluations and cards: everything a release is built from, in milliseconds."""

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from assets._chain._evaluation import EVALUATION_FILE
from assets._chain._ordering import chosen_once
from assets._chain._release import STEP_FILE, release_asset
from assets._chain._release_orders import release_orders_asset
from assets.flights.product import PRODUCT as DECLARED
from headwater.decisions import Order, OrderKind, Rollout, RolloutStep
from headwater.lake import EmbeddedLake, Entry, Kind, Snapshot, Transaction
from headwater.materialize import Outcome, RecordingInputs, Run, materialize
from headwater.models import IDENTITY
from headwater.models.evaluation import BASELINE, Comparison, Difference, Evaluation, Metric, Slice
from headwater.names import METRICS_FACT, SIGNATURE_FACT, VERSION_FACT
from headwater.product import Product
from headwater.provenance import Output, Provenance
from headwater.release_orders import give_order

FLIGHTS = replace(DECLARED, rollout=Rollout())
"""All at once, unless a test declares a rollout."""
PRODUCT = FLIGHTS.name
NOW = datetime(2026, 5, 1, tzinfo=UTC)
GATE = "auc_is_surely_at_least_0_68"


def evaluation(auc: float, accuracy: float = 0.8) -> Evaluation:
    """Passes every gate of flights when the AUC is 0.7 or more."""
    right = Metric(name="accuracy", value=accuracy, low=accuracy - 0.01, high=accuracy + 0.01, n=1_000)
    value = Metric(name="auc", value=auc, low=auc - 0.01, high=auc + 0.01, n=1_000)
    gain = Difference(metric=Metric(name="auc", value=0.1, low=0.09, high=0.11, n=1_000), better_share=1.0)
    return Evaluation(
        rows=1_000, positives=200, threshold=0.5, resamples=10, level=0.95, seed=0, clustered=False, slice_floor=100,
        metrics=(value, Metric(name="calibration_error", value=0.01, low=0.0, high=0.02, n=1_000), right),
        slices=(Slice(column="origin", value="JFK", n=500, judged=True, metrics=(value,)),),
        baseline=Comparison(against=BASELINE, version="baseline", metrics=(), differences=(gain,)),
    )  # fmt: skip


class Scene:
    """Publishes versions as builds do, and builds the release."""

    def __init__(self, state: Path, product: Product = FLIGHTS) -> None:
        self.state, self.product = state, product
        self.lake = EmbeddedLake.open(state / "lake")
        self.declare()
        self.step(None)

    def step(self, step: RolloutStep | None) -> None:
        """What the decisions about a rollout say, for the next build of the release."""
        self._folder("rollout_step", {"step": step.to_json() if step is not None else None}, {}, STEP_FILE)

    def declare(self, rollout: Rollout | None = None) -> None:
        """The product with another rollout."""
        self.product = self.product if rollout is None else replace(self.product, rollout=rollout)
        self.orders, self.released = release_orders_asset(self.product), release_asset(self.product)

    def version(
        self,
        version: str,
        *,
        auc: float = 0.75,
        accuracy: float = 0.8,
        build: bool = True,
        bundle: Path | None = None,
    ) -> Outcome | None:
        """Publishes a version with its evaluation and card; with `build` also what the release then says.

        Its bundle is a file with its name, or the real one in a folder.
        """
        facts = {VERSION_FACT: version}
        model = self._model(bundle, version)
        document = {
            "model_version": version,
            "model_data_version": model,
            "evaluation": evaluation(auc, accuracy).to_json(),
        }
        metrics = {"auc": {"value": auc, "low": auc - 0.01, "high": auc + 0.01, "n": 1_000}}
        self._folder("evaluation", document, {**facts, METRICS_FACT: metrics}, EVALUATION_FILE)
        self._folder("model_card", {"version": version}, facts)
        self._publish("drift_report", lambda tx, path: tx.write_table(path, pl.DataFrame({"column": [version]})), {})
        return self.build() if build else None

    def build(self) -> Outcome:
        """Orders, then release."""
        materialize(self.lake, self.orders, run=Run(actor="automation"))
        return materialize(self.lake, self.released, run=Run(actor="automation"))

    def give(
        self,
        kind: OrderKind,
        version: str | None = None,
        *,
        check: bool = True,
        policy: Any = None,
        reason: str = "because",
        overtaken_by: Callable[[], None] | None = None,
    ) -> Order:
        """Writes an order; `check=False` as it reaches the lake when things changed after the check."""
        choose = chosen_once(self.product, kind=kind, version=version, policy=policy)

        def made(snapshot: Snapshot, id: str) -> Order:
            def make(found: str | None) -> Order:
                return Order(id=id, time=NOW, order=kind, version=found, policy=policy, reason=reason, actor="user:ada")

            inputs = RecordingInputs(lake=self.lake, snapshot=snapshot, asset=self.released)
            if overtaken_by is not None:
                overtaken_by()
            return choose(inputs, make) if check else make(version)

        return give_order(self.lake, self.orders, made, into="main", now=lambda: NOW)

    def statement(self, ref: str = "main") -> dict[str, Any]:
        """What the release says."""
        found: dict[str, Any] = json.loads(self.file("release.json", ref))
        return found

    def file(self, name: str, ref: str = "main") -> str:
        """A file of the release."""
        return (self.lake.at(ref).folder(f"{self.product.name}/release") / name).read_text()

    def write(self, name: str, content: Any, facts: dict[str, Any]) -> None:
        """Publishes a folder of the product as a build does."""
        self._folder(name, content, facts)

    def table(self, name: str, rows: pl.DataFrame) -> None:
        """Publishes a table of the product as a build does."""
        self._publish(name, lambda tx, path: tx.write_table(path, rows), {})

    def _model(self, bundle: Path | None, version: str) -> str:
        facts = {VERSION_FACT: version, SIGNATURE_FACT: ""}
        if bundle is None:
            return self._folder("model", {"weights": version}, facts)
        return self._publish("model", lambda tx, path: tx.write_folder(path, bundle, identity=IDENTITY), facts)

    def _folder(self, name: str, content: Any, facts: dict[str, Any], file: str = "content.json") -> str:
        source = self.state / "made" / secrets.token_hex(8)
        source.mkdir(parents=True)
        (source / file).write_text(json.dumps(content))
        return self._publish(name, lambda tx, path: tx.write_folder(path, source), facts)

    def _publish(self, name: str, write: Callable[[Transaction, str], Entry], facts: dict[str, Any]) -> str:
        path = f"{self.product.name}/{name}"
        with self.lake.transaction() as tx:
            entry = write(tx, path)
            output = Output(path=path, kind=Kind(entry.kind), data_version=entry.data_version, facts=facts)
            record = Provenance(
                transaction=tx.id, action="materialize", outputs=(output,), input_commit=tx.base.commit.id
            )
            tx.publish(message=f"Materialize {path}", provenance=record)
            return entry.data_version
