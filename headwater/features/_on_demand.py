"""Features computed from a request, by the one function that also computed them for the training."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from ctypes import c_float
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from headwater.features._view import FeatureView
from headwater.features.errors import (
    ColumnClashError,
    FeatureViewError,
    MissingColumnError,
    OnDemandError,
    OnDemandFaultError,
    OnDemandValueError,
)

BAD_INPUT: Final = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
"""What a function raises on values that it cannot use."""
BAD_VALUE: Final = (TypeError, OverflowError, pl.exceptions.PolarsError)
"""What Polars raises on a value that is none of a dtype."""
_AS_THEY_ARE: Final = {"Float64": float, "String": str, "Boolean": bool}
"""Dtypes of which a value of that type is one as it is."""
_WHOLE: Final = {
    **{f"Int{bits}": range(-(2 ** (bits - 1)), 2 ** (bits - 1)) for bits in (8, 16, 32, 64)},
    **{f"UInt{bits}": range(2**bits) for bits in (8, 16, 32, 64)},
}
"""The whole numbers that are one of a dtype as they are."""
_FLOATS: Final = ("Float32", "Float64")
_EXACT: Final = range(-(2**53), 2**53 + 1)
"""Whole numbers that a float of 64 bits holds."""
_FITTED: Final = frozenset((*_AS_THEY_ARE, *_WHOLE, "Float32"))


@dataclass(frozen=True, kw_only=True)
class OnDemandFeatures:
    """Features that a function computes from a request and from what was looked up for it.

    The training set and the service call the same function with the same plain values, one row at a time (a few microseconds
    each), and read what it gives as its declared dtype: a Float32 is rounded in both. Times come as `datetime` in UTC, nulls as
    None.

    Attributes:
        name: Names it in errors and reports.
        function: From the inputs, by position, to a tuple of the outputs. A named function of a module, and pure: the service
            imports it by its name and refuses one whose code is not that of the training. It raises ValueError on values that
            it cannot use (also TypeError, ArithmeticError, LookupError, AttributeError): then the request is its caller's to
            mend. Anything else is a fault of the function: that request is answered with 500, and counts as a failure of the
            version.
        inputs: Columns of the labels, outputs of views, or of features declared before.
        outputs: Feature to its dtype, in the order of the tuple.
    """

    name: str
    function: Callable[..., tuple[Any, ...]]
    inputs: tuple[str, ...]
    outputs: Mapping[str, pl.DataType | type[pl.DataType]]

    def __post_init__(self) -> None:
        if not inspect.isfunction(self.function) or not self.function.__qualname__.isidentifier():
            self._refuse(
                "its function has no name of its own in a module.", "Write it with `def` at the top of a module."
            )
        if not self.inputs or not self.outputs:
            self._refuse("it takes or gives nothing.", "Name at least one input and one output.")
        if twice := {name for name in self.inputs if self.inputs.count(name) > 1} | {*self.inputs} & {*self.outputs}:
            self._refuse(f"it names {', '.join(sorted(twice))} twice.", "Give each column a name of its own.")

    @property
    def path(self) -> str:
        """Where the function is: `module:name`."""
        return f"{self.function.__module__}:{self.function.__name__}"

    def _refuse(self, problem: str, remedy: str) -> None:
        raise OnDemandError(name=self.name, problem=problem, remedy=remedy)


def fill_defaults(frame: pl.DataFrame, views: Sequence[FeatureView]) -> pl.DataFrame:
    """The rows of a point-in-time join with the views' defaults where a feature is null.

    Raises:
        FeatureViewError: A default is no value of its feature's dtype.
    """
    for view in views:
        for name, value in view.output_defaults.items():
            frame = frame.with_columns(pl.col(name).fill_null(default_as(view, name, value, frame.schema[name])))
    return frame


def default_as(view: FeatureView, name: str, value: Any, dtype: pl.DataType) -> Any:
    """A view's default as a column of a dtype holds it. Raises FeatureViewError when it is no value of it."""
    try:
        return pl.Series([value], dtype=dtype, strict=True).item()
    except BAD_VALUE as error:
        said = f"the default {value!r} of {name!r} is no {dtype}."
        raise FeatureViewError(view=view.name, problem=said, remedy="Give a value of the feature's dtype.") from error


def add_on_demand(frame: pl.DataFrame, declared: Sequence[OnDemandFeatures]) -> pl.DataFrame:
    """The rows with their on-demand features behind the columns there are.

    Args:
        frame: Rows with every input; times with a zone, in whole microseconds.
        declared: What to compute, in order.

    Raises:
        MissingColumnError: An input is no column.
        ColumnClashError: An output is a column already.
        OnDemandValueError: The function refused a row's values, or gave what the declaration does not say.
        OnDemandFaultError: The function failed otherwise; the row's values are named too.
    """
    for one in declared:
        if missing := [name for name in one.inputs if name not in frame.columns]:
            raise MissingColumnError(where=f"The rows of {one.name!r}", missing=missing, found=frame.columns)
        if there := [name for name in one.outputs if name in frame.columns]:
            raise ColumnClashError(view=one.name, columns=there)
        rows = frame.select(one.inputs).iter_rows()
        found = [computed(one.name, one.function, tuple(one.outputs), row, one.inputs) for row in rows]
        frame = frame.hstack(_columns(one, found))
    return frame


def computed(
    name: str,
    function: Callable[..., tuple[Any, ...]],
    outputs: Sequence[str],
    row: Sequence[Any],
    inputs: Sequence[str],
) -> tuple[Any, ...]:
    """What a function makes of one row, as it gives it. Raises OnDemandValueError, OnDemandFaultError."""
    try:
        found = function(*row)
    except Exception as error:
        kind = OnDemandValueError if isinstance(error, BAD_INPUT) else OnDemandFaultError
        said = f"{type(error).__name__}: {error}"
        raise kind(name=name, values=dict(zip(inputs, row, strict=True)), problem=said) from error
    if not isinstance(found, tuple) or len(found) != len(outputs):
        raise OnDemandValueError(
            name=name,
            values=dict(zip(inputs, row, strict=True)),
            problem=f"it gave {found!r}, not a tuple of {', '.join(outputs)}",
        )
    return found


def fitted(name: str, values: Sequence[Any], outputs: Sequence[str], dtypes: Sequence[str]) -> list[Any]:
    """Outputs of one row as columns of their dtypes hold them: what a frame of `add_on_demand` gives back, without a frame.

    Args:
        name: Name of the on-demand features.
        values: What the function gave.
        outputs: Names of the values.
        dtypes: Their dtypes, as Polars writes them. Only numbers, texts and booleans are read so; others stay as they are.

    Raises:
        OnDemandValueError: A value is none of its dtype.
    """
    found = []
    for output, value, dtype in zip(outputs, values, dtypes, strict=True):
        kind = type(value)
        if value is None or kind is _AS_THEY_ARE.get(dtype) or dtype not in _FITTED:
            found.append(value)
        elif kind is float and dtype == "Float32":
            found.append(single(value))
        elif kind is int and value in _WHOLE.get(dtype, ()):
            found.append(value)
        elif kind is int and value in _EXACT and dtype in _FLOATS:
            found.append(float(value) if dtype == "Float64" else single(value))
        else:  # of another type than its dtype's, or out of its range: seldom, slow, and Polars knows
            try:
                found.append(pl.Series([value], dtype=getattr(pl, dtype), strict=True).item())
            except BAD_VALUE as error:
                raise _unfit(name, output, dtype, error) from error
    return found


def single(value: float) -> float:
    """The number of 32 bits that is nearest to one of 64, as Polars makes it."""
    return c_float(value).value


def _unfit(name: str, output: str, dtype: Any, error: Exception) -> OnDemandValueError:
    return OnDemandValueError(name=name, values={}, problem=f"not every {output!r} is {dtype} or None ({error})")


def _columns(one: OnDemandFeatures, rows: list[tuple[Any, ...]]) -> list[pl.Series]:
    columns = []
    for place, (name, dtype) in enumerate(one.outputs.items()):
        values = [row[place] for row in rows]
        try:
            columns.append(pl.Series(name, values, dtype=dtype, strict=True))
        except BAD_VALUE as error:
            raise _unfit(one.name, name, dtype, error) from error
    return columns
