"""Whether to train again, decided and recorded; and the order that a training follows."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._in_flight import is_training, learned_until
from assets._chain._kept_table import kept_table
from assets._chain._paths import ChainPaths
from assets._chain._performance import REPORT_FILE
from assets._chain._reference import live_metric
from assets._chain._release import RELEASE_FILE
from assets._chain._retraining_windows import window_of
from headwater.lake import Kind, Snapshot
from headwater.names import AS_OF_FACT, DECISION_FACT, REFUSED_FACT
from headwater.product import Asset, Inputs, Labels, Product, Result
from headwater.refusals import SCHEMA as REFUSALS
from headwater.retraining_orders import SCHEMA, RetrainingOrder, read_retraining_orders, stopped_by

if TYPE_CHECKING:
    from headwater.decisions import Evidence, Retraining, Rollout

DECISION_FILE: Final = "decision.json"
ORDER_FILE: Final = "order.json"
METRIC: Final = "auc"
_OVERTAKEN: Final = "overtaken"
_NO_NEWER: Final = "no_newer"
_STOPPED: Final = "stopped"


def retraining_assets(product: Product) -> tuple[Asset, ...]:
    """Of a product that declares when it is trained again: the decision, the order, what people order of both, and what the order did not follow."""
    if product.retraining is None or product.labels is None:
        return ()
    paths = ChainPaths(product=product.name)
    decision = Asset(
        path=paths.retraining,
        kind=Kind.FOLDER,
        compute=partial(_decide, product=product),
        inputs=(paths.performance_report, product.labels.path),
        previous=(
            paths.training_order,
            paths.release,
            paths.evaluation,
            paths.training_set,
            paths.model,
            paths.retraining_orders,
        ),
        description="Whether to train again now: every decision with its evidence and its reason, refusals too.",
        kinds=("json",),
        declaration=declared_values(rules=product.retraining),
    )
    refusals = kept_table(
        paths.training_refusals,
        REFUSALS,
        "Decisions to train again that no training followed, and why.",
    )
    order = Asset(
        path=paths.training_order,
        kind=Kind.FOLDER,
        compute=partial(_order, product=product),
        inputs=(paths.retraining, product.labels.path),
        previous=(paths.training_order, paths.release, paths.retraining_orders),
        description="Until when labels count in a training: moved on by a decision to train again, and by nothing else.",
        refusals=refusals,
        kinds=("json",),
    )
    orders = kept_table(
        paths.retraining_orders,
        SCHEMA,
        "Who stopped the trainings of the product, or let them begin again, and why.",
    )
    return decision, order, orders, refusals


def as_of(order: Path) -> datetime:
    """Until when labels count, from the folder of a training order."""
    return datetime.fromisoformat(_newest(order)["as_of"])


def newest_event(order: Path) -> datetime | None:
    """The prediction time of the newest event that counts, from the folder of a training order; None in one of an older Headwater."""
    found = _newest(order).get("newest_event")
    return None if found is None else datetime.fromisoformat(found)


def up_to(rows: pl.LazyFrame, column: str, moment: datetime) -> pl.Expr:
    """Whether a column of times, UTC where it has no zone, lies at a moment or before."""
    dtype = rows.collect_schema()[column]
    zone = getattr(dtype, "time_zone", None)
    return pl.col(column) <= pl.lit(moment if zone else moment.replace(tzinfo=None)).cast(dtype)


def heard(snapshot: Snapshot, path: str) -> tuple[str, ...]:
    """Ids of the orders to stop or resume that the decision on record knows of."""
    return tuple(json.loads((snapshot.folder(path) / DECISION_FILE).read_text()).get("heard", ()))


def _newest(order: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((order / ORDER_FILE).read_text())["orders"][-1]
    return found


def _decide(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    from headwater.decisions import decide_retraining

    rules, labels, paths = product.retraining, product.labels, ChainPaths(product=product.name)
    assert rules is not None
    assert labels is not None
    evidence = _evidence(inputs, product, rules, labels)
    decision = decide_retraining(rules, evidence)
    said = {
        "action": decision.action.value,
        "rule": decision.rule.value,
        "reason": decision.reason,
        "reasons": list(decision.reasons),
        "held_by": list(decision.held_by),
        "unseen": list(decision.unseen),
        "now": evidence.now.isoformat(),
    }
    document = {
        "kind": "retraining",
        **said,
        "rules": rules.to_json(),
        "evidence": evidence.to_json(),
        "heard": [order.id for order in _stops(inputs, paths)],
    }
    (folder / DECISION_FILE).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))
    return Result(facts={DECISION_FACT: {**said, "evidence": _in_short(evidence)}})


def _in_short(evidence: "Evidence") -> dict[str, Any]:
    """What of the evidence the commit tells; the whole of it stands in the file."""
    told = evidence.to_json()
    newest = told["windows"][-1] if told["windows"] else None
    names = ("version", "reference", "learned_until", "trained", "new_rows", "is_in_flight", "is_stopped")
    return {"windows": len(told["windows"]), "newest_window": newest, **{name: told[name] for name in names}}


def _evidence(inputs: Inputs, product: Product, rules: "Retraining", labels: Labels) -> "Evidence":
    from headwater.decisions import Evidence, looked_at

    paths = ChainPaths(product=product.name)
    report = json.loads((inputs.folder(paths.performance_report) / REPORT_FILE).read_text())
    column = labels.known_at or labels.time
    rows = inputs.table(labels.path).filter(pl.col(labels.label).is_not_null())
    now = max(datetime.fromisoformat(report["now"]), _known_until(rows, column, inputs.started))
    rows = rows.filter(up_to(rows, column, now))
    statement, orders = _statement(inputs, paths), _orders(inputs, paths)
    live = statement.get("version", "")
    trained = datetime.fromisoformat(orders[-1]["as_of"]) if orders else None
    since = 0 if trained is None else int(rows.filter(~up_to(rows, column, trained)).select(pl.len()).collect().item())
    windows = [window_of(raw, live, METRIC) for raw in report["windows"]]
    return Evidence(
        now=now,
        windows=looked_at(rules, windows, now=now, version=live),
        version=live,
        learned_until=learned_until(inputs, paths),
        reference=live_metric(inputs, paths, METRIC),
        trained=trained,
        trainings=tuple(_given(orders)),
        new_rows=since,
        is_in_flight=_is_rolling(statement, product.rollout)
        or is_training(inputs, paths, trained, now=now, longest=rules.give_up),
        is_stopped=bool(_stopped(inputs, paths)),
    )


def _is_rolling(statement: Mapping[str, Any], rollout: "Rollout") -> bool:
    """Whether a rollout goes on that a new version would have to wait for: challengers stand until a person ends it, and it joins them."""
    from headwater.decisions import Release, joins

    return bool(statement.get("rollout")) and not joins(rollout, Release.from_json(statement))


def _stopped(inputs: Inputs, paths: ChainPaths) -> str:
    """Who stopped trainings, and why, by an order or by a hold of the release; empty when nobody did."""
    order = stopped_by(_stops(inputs, paths))
    if order is not None:
        return f"{order.actor} stopped retraining: {order.reason}"
    held = _statement(inputs, paths).get("held")
    return f"the release is held: {held}" if held else ""


def _stops(inputs: Inputs, paths: ChainPaths) -> tuple[RetrainingOrder, ...]:
    """What people ordered about trainings so far."""
    there = inputs.previous(paths.retraining_orders)
    return () if there is None else read_retraining_orders(there.table(paths.retraining_orders))


def _statement(inputs: Inputs, paths: ChainPaths) -> Mapping[str, Any]:
    """The release that stands, empty before the first."""
    released = inputs.previous(paths.release)
    if released is None:
        return {}
    found: Mapping[str, Any] = json.loads((released.folder(paths.release) / RELEASE_FILE).read_text())
    return found


def _order(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    """The orders so far, with one more when the decision is to train again, and still holds."""
    paths, labels = ChainPaths(product=product.name), product.labels
    assert labels is not None
    decision = json.loads((inputs.folder(paths.retraining) / DECISION_FILE).read_text())
    orders, unfollowed = _orders(inputs, paths), ("", "")
    rows = inputs.table(labels.path)
    known = _known_until(rows, labels.known_at or labels.time, inputs.started)
    if not orders:
        orders = [_ordered(rows, labels, known, "The first training takes what is there.")]
    elif decision["action"] == "retrain" and not _is_followed(decision, orders):
        unfollowed = _hindrance(decision, orders) or (_STOPPED, _stopped(inputs, paths))
        if not unfollowed[1]:
            orders = [*orders, _ordered(rows, labels, datetime.fromisoformat(decision["now"]), decision["reason"])]
    (folder / ORDER_FILE).write_text(json.dumps({"orders": orders}, indent=1, sort_keys=True))
    facts: dict[str, Any] = {
        AS_OF_FACT: orders[-1]["as_of"],
        "orders": len(orders),
        "labels_known_until": known.isoformat(),
    }
    rule, why = unfollowed
    if why:
        facts[REFUSED_FACT] = _refused(inputs.entry(paths.retraining).data_version, decision, orders, rule, why)
    return Result(facts={**facts, "unfollowed": why})


def _refused(
    id: str, decision: Mapping[str, Any], orders: Sequence[Mapping[str, Any]], rule: str, why: str
) -> dict[str, Any]:
    """What the table of refusals keeps of a decision that is not followed: once for each rule that stands against it."""
    told = {name: decision.get(name) for name in ("now", "rule", "reason")}  # an older Headwater named no rule
    known = {"trainings": decision["evidence"]["trainings"], "orders": [order["as_of"] for order in orders]}
    return {"id": f"{id} {rule}", "rule": rule, "reason": why, "evidence": {"decision": told, **known}}


def _is_followed(decision: Mapping[str, Any], orders: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the newest order is this decision's."""
    return [*_moments(decision["evidence"]["trainings"]), datetime.fromisoformat(decision["now"])] == _given(orders)


def _hindrance(decision: Mapping[str, Any], orders: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Which rule, and why, keeps a decision from giving an order after those that stand; None when nothing does.

    A decision that was made while the order before it was given has looked at neither its cool-down nor its budget, nor whether it is in flight.
    """
    now, given = datetime.fromisoformat(decision["now"]), _given(orders)
    if _moments(decision["evidence"]["trainings"]) != given:
        said = f"the decision of {now.isoformat()} did not know of the order of {given[-1].isoformat()}"
        return _OVERTAKEN, said
    if now <= given[-1]:
        return _NO_NEWER, f"the decision of {now.isoformat()} is no newer than the order of {given[-1].isoformat()}"
    return None


def _given(orders: Sequence[Mapping[str, Any]]) -> list[datetime]:
    return _moments([order["as_of"] for order in orders])


def _moments(texts: Sequence[str]) -> list[datetime]:
    return [datetime.fromisoformat(text) for text in texts]


def _ordered(rows: pl.LazyFrame, labels: Labels, moment: datetime, reason: str) -> dict[str, Any]:
    """An order that takes the labels known by a moment, of events up to the newest one of them.

    Without the events' end, the first labels of the next month would join it when they come in, and be a test month of their own.
    """
    by_then = rows.filter(up_to(rows, labels.known_at or labels.time, moment))
    newest: Any = by_then.filter(pl.col(labels.label).is_not_null()).select(pl.col(labels.time).max()).collect().item()
    return {"as_of": moment.isoformat(), "newest_event": _utc(newest).isoformat(), "reason": reason}


def _known_until(rows: pl.LazyFrame, column: str, started: datetime) -> datetime:
    """When the newest of the labels became known that are known as the build begins: one of the year 9999 is a mistake, and moves nothing."""
    found: Any = rows.filter(up_to(rows, column, started)).select(pl.col(column).max()).collect().item()
    return _utc(found)


def _orders(inputs: Inputs, paths: ChainPaths) -> list[dict[str, Any]]:
    before = inputs.previous(paths.training_order)
    if before is None:
        return []
    found: list[dict[str, Any]] = json.loads((before.folder(paths.training_order) / ORDER_FILE).read_text())["orders"]
    return found


def _utc(moment: datetime | None) -> datetime:
    if moment is None:
        return datetime(1970, 1, 1, tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
