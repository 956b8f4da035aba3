"""What a process decoded before says the same as what is decoded now."""

from collections.abc import Iterator

import polars as pl
import pytest

from assets._chain import _recorded
from assets._chain._recorded import recorded
from headwater.models.preprocessing import Feature, FeatureKind, InputType, Preprocessing

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
    _recorded._HELD.schema, _recorded._HELD.rows = {}, pl.DataFrame()
    yield
    _recorded._HELD.schema, _recorded._HELD.rows = {}, pl.DataFrame()


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
        assert _recorded._HELD.rows.height <= most


def test_what_was_decoded_is_not_decoded_again() -> None:
    """The report and its causes read the same predictions, and 32,000 of 33,000 of them the day before."""
    recorded(READ, texts(*range(10)))
    assert _recorded._HELD.rows.height == 10
    held = _recorded._HELD.rows.with_columns(calls=pl.lit(-1.0))
    _recorded._HELD.rows = held
    assert recorded(READ, texts(3, 11))["calls"].to_list() == [-1.0, 11.0]
    assert _recorded._HELD.rows.height == 11
