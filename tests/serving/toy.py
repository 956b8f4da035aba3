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


def tenth(fee: float | None) -> tuple[float | None]:
    """A tenth of `fee`, which has more digits than a Float32."""
    return (None if fee is None else fee * 0.1,)


def is_above(tenth: float | None, rate: float | None) -> tuple[bool, int]:
    """Whether a number is above what a Float64 would hold of it, and a whole number for a column of another dtype."""
    return (tenth or 0.0) > 0.1, 3


TENTH = OnDemandFeatures(name="tenth", function=tenth, inputs=("fee",), outputs={"tenth": pl.Float32})
IS_ABOVE = OnDemandFeatures(
    name="is_above", function=is_above, inputs=("tenth", "h_rate"), outputs={"is_above": pl.Boolean, "three": pl.Float64}
)  # fmt: skip


def touchy(x: int | None, value: int | None) -> tuple[int, bool]:
    """The same as `twice`, with an assertion that some requests do not meet and no row of the training breaks."""
    assert x is None or x < 1_000, f"nobody thought of {x}"
    return twice(x, value)


TOUCHY = OnDemandFeatures(name="touchy", function=touchy, inputs=TWICE.inputs, outputs=TWICE.outputs)
