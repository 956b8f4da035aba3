"""What a declaration says and what it refuses."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.decisions import Retraining, Rollout, RolloutKind, RolloutRules
from headwater.features import FeatureView, OnDemandFeatures
from headwater.monitoring import PerformanceRules, Windowing
from headwater.product import DeclarationError, Inputs, Labels, Model, Product, Serving, folder, table


@table("toy/numbers")
def numbers(inputs: Inputs) -> pl.DataFrame:
    """Numbers.

    A second paragraph,
    of two lines.
    """
    return pl.DataFrame({"x": [1]})


@folder("toy/report")
def report(inputs: Inputs, target: Path) -> None:
    """A report.

    A second paragraph,
    of two lines.
    """


def test_a_description_of_two_paragraphs_is_no_code_block() -> None:
    assert numbers.description == "Numbers.\n\nA second paragraph,\nof two lines."
    assert report.description == "A report.\n\nA second paragraph,\nof two lines."


@pytest.mark.parametrize("name", ["class", "import", "Flights", "2013", "a-b", ""])
def test_a_product_whose_name_is_no_python_folder_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match="not a Python folder name"):
        Product(name=name, question="Does it hold?", owners=("team:toy",))


def of_distance(miles: float | None, speed: float | None) -> tuple[float | None]:
    """Hours."""
    return (None if miles is None or not speed else miles / speed,)


def served(**serving: Any) -> Product:
    """Reads a field, a looked-up feature and a computed one; `unread` is given by no view that the model reads."""
    views = (
        FeatureView(name="route", path="toy/route", entity=("origin", "dest"), features=("speed",)),
        FeatureView(name="unread", path="toy/unread", entity=("tail",), features=("age",)),
    )
    hours = OnDemandFeatures(
        name="hours", function=of_distance, inputs=("miles", "speed"), outputs={"hours": pl.Float64}
    )
    return Product(
        name="toy",
        question="Does it hold?",
        owners=("team:toy",),
        features=views,
        on_demand=(hours,),
        labels=Labels(path="toy/labels", key=("flight", "at"), time="at", label="late"),
        model=Model(features=("carrier", "speed", "hours")),
        serving=Serving(**serving),
    )


def test_a_policy_may_draw_by_fields_and_the_log_may_hide_fields_and_features() -> None:
    served(assign_by=("carrier", "origin", "miles", "at"), redacted=("miles", "speed", "hours", "origin"))


@pytest.mark.parametrize(
    ("serving", "said"),
    [
        ({"assign_by": ("carier",)}, r"assign_by=.*'carier'.*Did you mean 'carrier'"),
        ({"assign_by": ("speed",)}, "'speed', which no request"),  # looked up only after the draw
        ({"assign_by": ("tail",)}, "'tail', which no request"),  # of a view that the model does not read
        ({"redacted": ("mile",)}, r"redacted=.*'mile'.*Did you mean 'miles'"),
    ],
)
def test_a_name_that_no_request_has_is_refused(serving: dict[str, Any], said: str) -> None:
    """A policy by a misspelt field gave everybody one version, and a misspelt field to hide stood in the log."""
    with pytest.raises(DeclarationError, match=said):
        served(**serving)


def test_no_field_of_a_request_may_be_called_as_the_prediction_time() -> None:
    """Over tensors nobody could ask: the time wrote over the field."""
    with pytest.raises(DeclarationError, match=r"a field 'time'.*Rename that column"):
        replace(served(), model=Model(features=("time", "speed")))
    replace(
        served(),
        model=Model(features=("time", "speed")),
        labels=Labels(path="toy/labels", key=("flight",), time="time", label="late"),
    )


UNWATCHED = RolloutRules(watch=timedelta(0))


@pytest.mark.parametrize(
    ("days", "declared", "said"),
    [
        (35, {}, r"the rollout needs 36 days.*watch=7 days.*a window of 1 day.*28 days.*RolloutRules\(watch=...\), or Rollout\(keep_replaced=True"),
        (14, {"rollout": Rollout(keep_replaced=True)}, "the rollout needs 15 days"),
        (77, {"rollout": Rollout(kind=RolloutKind.CANARY, shadow_first=True, steps=(0.25, 0.5, 1.0))}, "78 days.*max_wait=14 days, 0:00:00 for 3 stages"),
        (20, {"rollout": Rollout(kind=RolloutKind.AB_TEST, rules=UNWATCHED)}, r"21 days.*RolloutRules\(max_wait=...\)\."),
        (20, {"rollout": Rollout(rules=UNWATCHED), "retraining": Retraining()}, r"retraining needs 21 days.*the last 3 windows of 7 days.*Retraining\(windows=...\)"),
        (
            2,
            {
                "rollout": Rollout(rules=UNWATCHED),
                "retraining": Retraining(),
                "performance": PerformanceRules(windowing=Windowing(length=timedelta(days=1))),
            },
            "retraining needs 3 days",
        ),
        (20, {"retraining": Retraining()}, "the rollout needs 36 days.*; the retraining needs 21 days"),
    ],
)  # fmt: skip
def test_answers_that_are_kept_shorter_than_decisions_look_back_are_refused(
    days: int, declared: dict[str, Any], said: str
) -> None:
    """Rows went while their stage stood: a watch never ended, and a window of performance was never judged."""
    with pytest.raises(DeclarationError, match=said) as refused:
        replace(served(), serving=Serving(keep=timedelta(days=days)), **declared)
    assert "Serving(keep=...)" in str(refused.value)
    replace(
        served(), serving=Serving(keep=timedelta(days=days + 1 if "; the retraining" not in said else 36)), **declared
    )


def test_who_watches_nothing_may_keep_answers_as_briefly_as_they_like() -> None:
    replace(served(), serving=Serving(keep=timedelta(hours=1)), rollout=Rollout(rules=UNWATCHED))
    challengers = Rollout(kind=RolloutKind.CHAMPION_CHALLENGERS, rules=UNWATCHED)
    replace(served(), serving=Serving(keep=timedelta(hours=1)), rollout=challengers)
