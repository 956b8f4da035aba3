"""On-demand features of the toy product, where a service can import them."""

import polars as pl

from headwater.features import OnDemandFeatures


def twice(x: int | None, value: int | None) -> tuple[int, bool]:
    """Twice `x`, and whether anything was looked up."""
    if x is None or x < 0:
        raise ValueError(f"x is {x}")
    return 2 * x, value is not None


TWICE = OnDemandFeatures(
    name="twice", function=twice, inputs=("x", "h_value"), outputs={"twice": pl.Int64, "is_known": pl.Boolean}
)
