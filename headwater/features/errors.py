"""Errors of features. Each names the view, the column and the next step."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

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


class OnlineStoreError(FeatureError):
    """An online store cannot be used."""

    def __init__(self, *, location: str, action: str, reason: str, remedy: str) -> None:
        self.location, self.action, self.reason, self.remedy = location, action, reason, remedy
        super().__init__(f"The online store at {location} could not be {action}: {reason}. {remedy}")

    def again(self) -> "OnlineStoreError":
        """The same error to raise anew, without the trace of its first time."""
        return OnlineStoreError(location=self.location, action=self.action, reason=self.reason, remedy=self.remedy)


class NotPublishedError(FeatureError):
    """Features that nobody has published to the online store."""

    def __init__(self, *, product: str, view: str | None, known: Sequence[str]) -> None:
        self.product, self.view = product, view
        what = f"the features of {product!r}" if view is None else f"feature view {view!r} of {product!r}"
        there = f" It has {', '.join(map(repr, known))}." if known else ""
        super().__init__(f"The online store lacks {what}.{there} Materialize {product}/online_features first.")


class VersionChangedError(FeatureError):
    """Online features that were published or extended while somebody worked out what to add to them."""

    def __init__(self, *, product: str, expected: str, found: str) -> None:
        self.product, self.expected, self.found = product, expected, found
        super().__init__(
            f"The online features of {product!r} are those of {found}, and rows were to be added to those of {expected}. "
            "Nothing was added. Work the rows out again from what is there now."
        )


class OnlineTypeError(FeatureError):
    """A dtype that an online store cannot hold."""

    def __init__(self, *, view: str, column: str, found: str, allowed: str) -> None:
        self.view, self.column, self.found = view, column, found
        super().__init__(
            f"Column {column!r} of feature view {view!r} is {found}; an online store holds {allowed}. Cast it in the "
            "feature table, or leave it out of the view."
        )


class EntityValueError(FeatureError):
    """An entity that cannot be of the view that was asked."""

    def __init__(self, *, view: str, entity: Sequence[object], names: Sequence[str], wanted: Sequence[str]) -> None:
        self.view, self.entity = view, tuple(entity)
        declared = ", ".join(f"{name} ({kind})" for name, kind in zip(names, wanted, strict=True))
        super().__init__(f"Feature view {view!r} is asked for entity {tuple(entity)!r}; it has {declared or 'none'}.")


class TimeValueError(FeatureError):
    """A time that cannot be looked up."""

    def __init__(self, *, view: str, at: object) -> None:
        self.view, self.at = view, at
        super().__init__(
            f"Feature view {view!r} is asked for the time {at!r}; it takes whole microseconds since 1970, until the year 2255."
        )


class TimeBeforeWindowError(FeatureError):
    """A time before the earliest one that the online store answers as the lake would."""

    def __init__(self, *, view: str, at: int, since: int) -> None:
        self.view, self.at, self.since = view, at, since
        super().__init__(
            f"Feature view {view!r} is asked for {_shown(at)}, but the online store answers from {_shown(since)} on. Ask "
            "for a later time, or publish a longer window."
        )


def _shown(microseconds: int) -> str:
    return (datetime(1970, 1, 1) + timedelta(microseconds=microseconds)).isoformat()


class OnlineContentError(FeatureError):
    """Online features in the lake that cannot be read."""

    def __init__(self, *, file: str, problem: str) -> None:
        self.file, self.problem = file, problem
        super().__init__(f"{file} {problem}. Materialize the product's online_features again.")


class OnDemandError(FeatureError):
    """On-demand features are declared wrongly."""

    def __init__(self, *, name: str, problem: str, remedy: str) -> None:
        self.name, self.problem = name, problem
        super().__init__(f"On-demand features {name!r}: {problem} {remedy}")


class OnDemandValueError(FeatureError):
    """The function of on-demand features cannot use the values of a row, or gives other things than it declares."""

    def __init__(self, *, name: str, values: Mapping[str, object], problem: str) -> None:
        self.name, self.values, self.problem = name, dict(values), problem
        of = f" of {', '.join(f'{key}={value!r}' for key, value in values.items())}" if values else ""
        super().__init__(f"On-demand features {name!r} cannot be computed{of}: {problem}.")


class OnDemandFaultError(FeatureError):
    """The function of on-demand features ended with what says nothing of a row's values: an assertion, a RuntimeError.

    Its `__cause__` is what the function raised.
    """

    def __init__(self, *, name: str, values: Mapping[str, object], problem: str) -> None:
        self.name, self.values, self.problem = name, dict(values), problem
        given = ", ".join(f"{key}={value!r}" for key, value in values.items())
        super().__init__(
            f"The function of the on-demand features {name!r} failed at {given}: {problem}. Mend it, or let it raise a ValueError "
            "where it cannot use the values."
        )
