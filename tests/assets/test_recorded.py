"""What a process decoded before says the same as what is decoded now."""

from collections.abc import Iterator

import polars as pl
import pytest

from assets._chain import _recorded
from assets._chain._causes import causes_asset
from assets._chain._performance import performance_asset
from assets._chain._recorded import _held, recorded
from headwater.code_version import compute_version
from headwater.models.preprocessing import Feature, FeatureKind, InputType, Preprocessing
from tests.assets.test_loop import PRODUCT

READ = Preprocessing(
    features=(
        Feature(name="calls", kind=FeatureKind.NUMERIC, dtype=InputType.FLOAT64),
        Feature(name="hour", kind=FeatureKind.NUMERIC, dtype=InputType.INT64),
        Feature(name="plan", kind=FeatureKind.CATEGORICAL, dtype=InputType.STRING, vocabulary=("gold",)),
    )
)
OTHER = Preprocessing(features=READ.features[::-1])


def texts(*numbers: int) -> pl.Series:
    said = [f'{{"calls": {number}, "hour": {number % 24}, "plan": "p{number}"}}' for number in numbers]
    return pl.Series("features", said, dtype=pl.String)


@pytest.fixture(autouse=True)
def _nothing_held() -> Iterator[None]:
    _held.cache_clear()
    yield
    _held.cache_clear()


@pytest.mark.parametrize("most", [2, 50_000])
def test_every_call_says_what_the_preprocessing_says(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recorded, "_MOST", most)
    nothing = pl.Series("features", [None, "{}", '{"plan": null}'], dtype=pl.String)
    wrong = pl.Series("features", ['{"calls": "many", "hour": 1.5, "plan": 3}'])
    asked = [
        texts(1, 2, 3), texts(3, 2, 2, 9, 1), texts(), pl.concat([texts(4, 1), nothing, texts(4)]), nothing,
        pl.concat([texts(1), wrong]), texts(1, 5),
    ]  # fmt: skip
    for features in asked:
        for preprocessing in (READ, READ, OTHER):
            assert recorded(preprocessing, features).equals(preprocessing.recorded(features))
        assert _held().rows.height <= most


def test_what_was_decoded_is_not_decoded_again() -> None:
    """The report and its causes read the same predictions, and 32,000 of 33,000 of them the day before."""
    recorded(READ, texts(*range(10)))
    assert _held().rows.height == 10
    held = _held().rows.with_columns(calls=pl.lit(-1.0))
    _held().rows = held
    assert recorded(READ, texts(3, 11))["calls"].to_list() == [-1.0, 11.0]
    assert _held().rows.height == 11


def test_what_a_process_holds_is_no_part_of_a_code_version() -> None:
    """It was: a report built twice in one process had another definition, and a model that was retrained on new data alone was a minor version."""
    before = [compute_version(make(PRODUCT)) for make in (performance_asset, causes_asset)]
    recorded(READ, texts(1, 2, 3))
    assert [compute_version(make(PRODUCT)) for make in (performance_asset, causes_asset)] == before
