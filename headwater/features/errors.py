"""Errors of features. Each names the view, the column and the next step."""

from collections.abc import Sequence

from headwater.errors import HeadwaterError


class FeatureError(HeadwaterError):
    """Any error of features."""


class FeatureViewError(FeatureError):
    """A feature view is declared wrongly."""

    def __init__(self, *, view: str, problem: str, remedy: str) -> None:
        self.view, self.problem = view, problem
        super().__init__(f"Feature view {view!r}: {problem} {remedy}")


class MissingColumnError(FeatureError):
    """A table lacks columns that a join needs."""

    def __init__(self, *, where: str, missing: Sequence[str], found: Sequence[str]) -> None:
        self.where, self.missing = where, tuple(missing)
        super().__init__(
            f"{where} lack {', '.join(map(repr, missing))}; they have {', '.join(map(repr, found)) or 'no columns'}. "
            "Name the columns as the declaration does, or correct the declaration."
        )


class ColumnClashError(FeatureError):
    """Two columns of a training set would have one name."""

    def __init__(self, *, view: str, columns: Sequence[str]) -> None:
        self.view, self.columns = view, tuple(columns)
        super().__init__(
            f"Feature view {view!r} would add {', '.join(map(repr, columns))}, which is there already. "
            "Give the view a prefix or leave the column out of its features."
        )


class TimeTypeError(FeatureError):
    """A time column is no timestamp, or not of the dtype of the prediction time."""

    def __init__(self, *, where: str, column: str, found: str, wanted: str) -> None:
        self.where, self.column, self.found, self.wanted = where, column, found, wanted
        super().__init__(
            f"Time column {column!r} of {where} has dtype {found}, not {wanted}. Times are compared as they are: "
            "cast it, and convert its zone with `dt.convert_time_zone`, before the join."
        )


class EntityTypeError(FeatureError):
    """An entity column has one dtype in the labels and another in a feature table."""

    def __init__(self, *, view: str, column: str, labels: str, rows: str) -> None:
        self.view, self.column = view, column
        super().__init__(
            f"Entity {column!r} of feature view {view!r} is {rows} in its table and {labels} in the labels, so nothing "
            "would match. Cast one of them."
        )


class UndefinedAucError(FeatureError):
    """Leakage was asked of labels with fewer than two classes."""

    def __init__(self, *, label: str, positives: int, negatives: int) -> None:
        self.label, self.positives, self.negatives = label, positives, negatives
        super().__init__(
            f"Label {label!r} has {positives} positive and {negatives} negative rows, so no AUC is defined. "
            "Check rows of both classes."
        )
