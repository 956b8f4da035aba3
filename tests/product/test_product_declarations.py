"""What a declaration says and what it refuses."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.features import FeatureView, OnDemandFeatures
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
