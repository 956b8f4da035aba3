"""Two services on one state folder: one log, and each answer in the lake once, also when one of them is killed."""

import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import polars as pl

from assets._chain._predictions import predictions_asset
from headwater.materialize import Outcome, Run, materialize
from headwater.product import Labels, Model, Product
from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.campaign import Callers
from tests.serving.http.conftest import Service

Start = Callable[..., Service]
TOY = Product(
    name=PRODUCT,
    question="Is it late?",
    owners=("team:toy",),
    labels=Labels(path="toy/labels", key=("order",), time="at", label="late"),
    model=Model(features=("x",)),
)
LABELS = pl.DataFrame(schema={"order": pl.Int64, "at": pl.Datetime("us", "UTC"), "late": pl.Int8})


def label(released: Released) -> None:
    with released.lake.transaction() as tx:
        tx.write_table("toy/labels", LABELS)
        tx.publish(message="Labels", provenance=None)


def compact(released: Released) -> Outcome:
    return materialize(released.lake, predictions_asset(TOY), run=Run(actor="test"), state=released.folder)


def predictions(released: Released) -> pl.DataFrame:
    return released.lake.at("main").table("toy/predictions").collect()


def test_two_services_on_one_log_lose_no_answer_and_double_none_when_one_is_killed(
    released: Released, start: Start
) -> None:
    label(released)
    left, right = start(), start()
    with (
        Callers(left, "left", count=2) as first,
        Callers(right, "right", count=2) as second,
        Callers(left, "both", count=2) as here,
        Callers(right, "both", count=2) as there,
    ):
        everyone = (first, second, here, there)
        left.until(lambda: all(len(one.answered) > 50 for one in everyone))
        compact(released)  # while both are writing
        before = len(second.answered)
        left.process.send_signal(signal.SIGKILL)
        left.process.communicate()
        compact(released)  # beside what the killed one left
        right.until(lambda: len(second.answered) > before + 50)
    assert [one.refused for one in everyone] == [[]] * 4
    assert (second.broken, there.broken) == ([], [])
    assert right.stop()[0] == 0
    again = start()  # as a supervisor does it
    assert again.predict(id="after").status == 200
    assert again.stop()[0] == 0
    outcome = compact(released)

    answered: dict[str, Any] = {"after": None}
    for one in everyone:
        answered.update(one.answered)
    assert set(here.answered) & set(there.answered), "no id was asked of both"
    rows = predictions(released)
    counts = Counter(rows["request_id"])
    assert [id for id, times in counts.items() if times > 1] == []
    assert [id for id in answered if id not in counts] == []
    # What the killed one had written and not yet said: at most one request of three instances for each connection.
    assert len(counts) <= len(answered) + 3 * (first.count + here.count)
    told = {id: (one["score"], one["version"]) for id, one in answered.items() if one is not None}
    kept = {id: (score, version) for id, score, version in rows.select("request_id", "score", "version").iter_rows()}
    assert {id: kept[id] for id in told} == told
    assert not released.lake.at("main").has("toy/predictions.rejected"), "both answered alike to one id"
    assert (outcome.facts["damaged"], outcome.facts["more"]) == ([], False)
    assert not list((released.folder / "serving" / "log" / PRODUCT).glob("*.log"))
    assert released.lake.verify().clean


def test_what_the_log_must_not_hold_is_not_among_the_rejected_records_either(released: Released, start: Start) -> None:
    """They are whole records: an answer of another service to an id that was answered before."""
    label(released)
    released.release("all-at-once", "1.0.0", redacted=["who", "kind"])
    left, right = start(), start()
    replies = [service.predict({"x": x}, id="twice") for x, service in ((3, left), (40, right))]
    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].json["score"] != replies[1].json["score"]
    for service in (left, right):
        service.stop()
    assert compact(released).facts["contrary"] == 1
    assert predictions(released)["request_id"].to_list() == ["twice"]
    (row,) = released.lake.at("main").table("toy/predictions.rejected").collect().iter_rows(named=True)
    assert b"order" in row["record"]
    assert b"ann" not in row["record"]
    assert b"kind" not in row["record"]
    assert row["received"] is not None
