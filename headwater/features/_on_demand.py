"""Features computed from a request, by the one function that also computed them for the training."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from headwater.features._view import FeatureView
from headwater.features.errors import (
    ColumnClashError,
    FeatureViewError,
    MissingColumnError,
    OnDemandError,
    OnDemandValueError,
)

BAD_INPUT: Final = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
"""What a function raises on values that it cannot use."""


@dataclass(frozen=True, kw_only=True)
class OnDemandFeatures:
    """Features that a function computes from a request and from what was looked up for it.

    The training set and the service call the same function with the same plain values, one row at a time (a few microseconds
    each), so they cannot disagree. Times come as `datetime` in UTC, nulls as None.

    Attributes:
        name: Names it in errors and reports.
        function: From the inputs, by position, to a tuple of the outputs. A named function of a module, and pure: the service
            imports it by its name and refuses one whose code is not that of the training. It raises ValueError on values that
            it cannot use.
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
            try:
                default = pl.Series([value], dtype=frame.schema[name], strict=True)
            except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
                said = f"the default {value!r} of {name!r} is no {frame.schema[name]}."
                raise FeatureViewError(
                    view=view.name, problem=said, remedy="Give a value of the feature's dtype."
                ) from error
            frame = frame.with_columns(pl.col(name).fill_null(default.item()))
    return frame


def add_on_demand(frame: pl.DataFrame, declared: Sequence[OnDemandFeatures]) -> pl.DataFrame:
    """The rows with their on-demand features behind the columns there are.

    Args:
        frame: Rows with every input; times with a zone, in whole microseconds.
        declared: What to compute, in order.

    Raises:
        MissingColumnError: An input is no column.
        ColumnClashError: An output is a column already.
        OnDemandValueError: The function refused a row's values, or gave what the declaration does not say.
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
    """What a function makes of one row. Raises OnDemandValueError."""
    try:
        found = function(*row)
    except BAD_INPUT as error:
        said = f"{type(error).__name__}: {error}"
        raise OnDemandValueError(name=name, values=dict(zip(inputs, row, strict=True)), problem=said) from error
    if not isinstance(found, tuple) or len(found) != len(outputs):
        raise OnDemandValueError(
            name=name,
            values=dict(zip(inputs, row, strict=True)),
            problem=f"it gave {found!r}, not a tuple of {', '.join(outputs)}",
        )
    return found


def _columns(one: OnDemandFeatures, rows: list[tuple[Any, ...]]) -> list[pl.Series]:
    columns = []
    for place, (name, dtype) in enumerate(one.outputs.items()):
        values = [row[place] for row in rows]
        try:
            columns.append(pl.Series(name, values, dtype=dtype, strict=True))
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
            said = f"not every {name!r} is {dtype} or None ({error})"
            raise OnDemandValueError(name=one.name, values={}, problem=said) from error
    return columns
