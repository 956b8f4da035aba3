"""A real month of flights, as the dataset has it."""

import polars as pl
import pytest

from tests.real_flights import datasets


@pytest.fixture(scope="session")
def real_month() -> pl.DataFrame:
    """January's flights."""
    return datasets(1)["flights/datasets/flights"].drop("period")
