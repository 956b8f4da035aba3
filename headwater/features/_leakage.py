"""Signs that a training set knows what the model will not know: pure functions, each a list of findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import polars as pl

from headwater.features._view import FeatureTable
from headwater.features.errors import MissingColumnError, UndefinedAucError

DEFAULT_AUC_LIMIT: Final = 0.85
"""One honest feature rarely ranks better alone than this; a copy of the outcome does."""
_PRIOR_ROWS: Final = 10
_FOLD_SEED: Final = 7
_ROW: Final = "__headwater_row"
_PARTS: Final = "__headwater_parts"
_TIME: Final = "__headwater_time"
_KNOWN: Final = "__headwater_known"
_EVENT: Final = "__headwater_event"


class LeakageKind(StrEnum):
    """What was found."""

    FUTURE_COLUMN = "future_column"
    FUTURE_VALUE = "future_value"
    SUSPICIOUS_AUC = "suspicious_auc"
    DUPLICATE_ENTITY = "duplicate_entity"
    LABEL_AMONG_FEATURES = "label_among_features"
    LATE_LABEL = "late_label"


@dataclass(frozen=True, kw_only=True)
class LeakageFinding:
    """One sign of leakage.

    Attributes:
        kind: What was found.
        column: The feature, view or key columns it concerns.
        rows: Number of rows that show it.
        value: The AUC for `suspicious_auc`, else None.
        message: What it is, as a sentence.
    """

    kind: LeakageKind
    column: str
    rows: int
    message: str
    value: float | None = None


def future_columns(frame: pl.DataFrame, *, time: str, known_at: Mapping[str, str]) -> list[LeakageFinding]:
    """Features that were known only after the prediction time.

    Args:
        frame: Training rows that still hold the known-at times.
        time: Column with the prediction time.
        known_at: Feature to the column with the time from which its value could be read.

    Raises:
        MissingColumnError: The frame lacks one of the columns.
    """
    _need(frame, [time, *known_at, *known_at.values()])
    findings = []
    for feature, known in known_at.items():
        late = frame.filter(pl.col(feature).is_not_null() & (pl.col(known) > pl.col(time))).height
        if late:
            said = f"{feature!r} was known after the prediction time in {late} of {frame.height} rows."
            findings.append(_finding(LeakageKind.FUTURE_COLUMN, feature, late, said))
    return findings


def future_values(
    frame: pl.DataFrame, tables: Sequence[FeatureTable], *, time: str, sample: int | None = 1_000
) -> list[LeakageFinding]:
    """Views whose features in the training set stand in no row that was known by the prediction time.

    It recounts the join from the other side: whatever made the training set, each row's features must be those of a row of
    the same entity that was visible by then.

    Args:
        frame: The training set.
        tables: The feature views and their tables, as joined.
        time: Column with the prediction time.
        sample: Rows looked at, evenly spread over the frame; None looks at all.

    Raises:
        MissingColumnError: The frame lacks one of the columns.
    """
    step = 1 if sample is None else max(1, frame.height // sample)
    looked = frame.gather_every(step).with_row_index(_ROW)
    findings = []
    for view, rows in ((table.view, table.rows) for table in tables):
        _need(frame, [time, *view.keys, *view.outputs.values()])
        defaults = view.output_defaults
        said = looked.filter(pl.any_horizontal(_says(name, defaults.get(name)) for name in view.outputs.values()))
        asked = said.lazy().select(_ROW, pl.col(time).alias(_TIME), *view.keys, *view.outputs.values())
        facts = rows.lazy().select(
            *(pl.col(column).alias(key) for key, column in zip(view.keys, view.entity, strict=True)),
            *(_with_default(feature, view.defaults.get(feature)).alias(out) for feature, out in view.outputs.items()),
            pl.col(view.event_time).alias(_EVENT),
            pl.col(view.known_at).alias(_KNOWN),
        )
        same = [*view.keys, *view.outputs.values()]
        known = asked.join(facts, on=same, how="inner", nulls_equal=True).filter(
            pl.col(_KNOWN) <= pl.col(_TIME), pl.col(_EVENT) <= pl.col(_TIME)
        )
        unknown = said.height - int(known.select(pl.col(_ROW).n_unique()).collect().item())
        if unknown:
            what = f"View {view.name!r} gave {unknown} of {looked.height} rows features that nothing known by then has."
            findings.append(_finding(LeakageKind.FUTURE_VALUE, view.name, unknown, what))
    return findings


def _says(name: str, default: Any) -> pl.Expr:
    """Whether a feature says something: null and a default say nothing."""
    return pl.col(name).is_not_null() & (True if default is None else pl.col(name) != default)


def _with_default(feature: str, default: Any) -> pl.Expr:
    return pl.col(feature) if default is None else pl.col(feature).fill_null(default)


def suspicious_features(
    frame: pl.DataFrame, *, label: str, features: Sequence[str], limit: float = DEFAULT_AUC_LIMIT
) -> list[LeakageFinding]:
    """Features that alone rank the label better than `limit`: by value or by being null in either direction, or by category.

    Text and whole numbers are judged as categories too: each row by the share of positives that the other half of the rows
    has in its category. So a code that tells the outcome is found whatever its order.

    Args:
        frame: Training rows; those with a null label are left out.
        label: 0/1 or boolean column.
        features: Columns to judge. Nested ones are judged by being null only.
        limit: AUC above which a feature is suspicious, 0.5 to 1.

    Raises:
        MissingColumnError: The frame lacks one of the columns.
        UndefinedAucError: The label has fewer than two classes.
    """
    _need(frame, [label, *features])
    rows = frame.filter(pl.col(label).is_not_null())
    truth = rows.get_column(label).cast(pl.Boolean)
    positives = int(truth.sum())
    if positives in (0, rows.height):
        raise UndefinedAucError(label=label, positives=positives, negatives=rows.height - positives)
    findings = []
    for feature in features:
        values = rows.get_column(feature)
        if values.dtype.is_float():
            values = values.fill_nan(None)
        value = _either_way(single_feature_auc(values, truth))
        ways = {"its value": value, "being null": _either_way(single_feature_auc(values.is_null(), truth))}
        if value is None or value <= limit:
            ways["its category"] = _category_auc(values, truth)
        for how, area in ways.items():
            if area is not None and area > limit:
                rows_judged = len(values) if how == "being null" else len(values) - values.null_count()
                said = f"{feature!r} alone ranks {label!r} with an AUC of {area:.3f} by {how}; the limit is {limit}."
                findings.append(_finding(LeakageKind.SUSPICIOUS_AUC, feature, rows_judged, said, area))
    return findings


def _either_way(area: float | None) -> float | None:
    return None if area is None else max(area, 1 - area)


def _category_auc(values: pl.Series, truth: pl.Series) -> float | None:
    """How well a column's categories rank the label, each row judged by the other half of the rows.

    The halves are drawn with a fixed seed. Shares are drawn towards the share of all rows, so that a column with a value
    of its own for each row ranks nothing.

    Args:
        values: Text or whole numbers; null rows are left out.
        truth: Booleans without nulls, of the same length.

    Returns:
        0 to 1, or None where one class has no value or the dtype is no category.
    """
    if not (values.dtype.is_integer() or isinstance(values.dtype, pl.String | pl.Categorical | pl.Enum)):
        return None
    import numpy as np

    there = values.is_not_null()
    half = np.random.Generator(np.random.PCG64(_FOLD_SEED)).integers(0, 2, int(there.sum()))
    rows = pl.DataFrame({"value": values.filter(there), "truth": truth.filter(there).cast(pl.Float64), "half": half})
    own = ["value", "half"]
    count = pl.len().over("value") - pl.len().over(own)
    positives = pl.col("truth").sum().over("value") - pl.col("truth").sum().over(own)
    share = (positives + _PRIOR_ROWS * pl.col("truth").mean()) / (count + _PRIOR_ROWS)
    return single_feature_auc(rows.select(share.alias("share")).to_series(), rows["truth"].cast(pl.Boolean))


def single_feature_auc(values: pl.Series, truth: pl.Series) -> float | None:
    """The chance that a positive row's value is above a negative row's, ties counting half (Mann and Whitney 1947).

    Args:
        values: Numbers, times or booleans; null rows are left out.
        truth: Booleans without nulls, of the same length.

    Returns:
        0 to 1, or None where one class has no value or the dtype has no order that means anything.
    """
    if not (values.dtype.is_numeric() or values.dtype.is_temporal() or values.dtype == pl.Boolean):
        return None
    there = values.is_not_null()
    values, truth = values.filter(there), truth.filter(there)
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return None
    order = values.cast(pl.UInt8) if values.dtype == pl.Boolean else values
    ranks = float(order.rank("average").filter(truth).sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def duplicate_entities(frame: pl.DataFrame, *, key: Sequence[str], split: str) -> list[LeakageFinding]:
    """Keys that stand in more than one part of the split, so that the model is tested on what it has seen.

    Args:
        frame: Training set with a column that names each row's part.
        key: Columns that name an entity or event.
        split: Column with the part.

    Raises:
        MissingColumnError: The frame lacks one of the columns.
    """
    _need(frame, [*key, split])
    shared = frame.group_by(*key).agg(pl.col(split).n_unique().alias(_PARTS), pl.len().alias(_ROW))
    shared = shared.filter(pl.col(_PARTS) > 1)
    if shared.is_empty():
        return []
    rows, name = int(shared[_ROW].sum()), ", ".join(key)
    said = f"{shared.height} keys ({name}) stand in more than one part of the split, in {rows} rows."
    return [_finding(LeakageKind.DUPLICATE_ENTITY, name, rows, said)]


def late_labels(
    frame: pl.DataFrame, *, time: str, known_at: str, split: str, parts: Sequence[str]
) -> list[LeakageFinding]:
    """Parts of the split with labels that were known only after the next part had begun.

    Args:
        frame: Training set with a column that names each row's part.
        time: Column with the prediction time.
        known_at: Column with the time from which the label could be read.
        split: Column with the part.
        parts: Its values, in order of time. The last one may end as late as it likes.

    Raises:
        MissingColumnError: The frame lacks one of the columns.
    """
    _need(frame, [time, known_at, split])
    findings = []
    times = frame.select(split, known=_in_utc(frame, known_at), time=_in_utc(frame, time))
    for number, part in enumerate(parts[:-1]):
        begins = times.filter(pl.col(split).is_in(parts[number + 1 :]))["time"].min()
        late = times.filter(pl.col(split) == part, pl.col("known") > begins).height if begins is not None else 0
        if late:
            said = f"{late} labels of the {part} part were known only after the next part begins."
            findings.append(_finding(LeakageKind.LATE_LABEL, known_at, late, said))
    return findings


def _in_utc(frame: pl.DataFrame, column: str) -> pl.Expr:
    """Times that compare: instants in UTC; those without a zone, and dates, as they are."""
    dtype = frame.schema[column]
    zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    found = pl.col(column).dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zoned else pl.col(column)
    return found.cast(pl.Datetime("us"))


def label_among_features(frame: pl.DataFrame, *, label: str, features: Sequence[str]) -> list[LeakageFinding]:
    """Features that are the label, by name or by having its value (or the opposite) in every row that has both.

    Args:
        frame: Training rows.
        label: 0/1 or boolean column.
        features: Columns to judge.

    Raises:
        MissingColumnError: The frame lacks one of the columns.
    """
    _need(frame, [label, *features])
    findings = []
    for feature in features:
        if feature == label:
            said = f"The label {label!r} is among the features."
            findings.append(_finding(LeakageKind.LABEL_AMONG_FEATURES, feature, frame.height, said))
            continue
        if not (frame.schema[feature].is_numeric() or frame.schema[feature] == pl.Boolean):
            continue
        both = frame.select(pl.col(label).cast(pl.Float64), pl.col(feature).cast(pl.Float64)).drop_nulls()
        truth, value = both.to_series(0), both.to_series(1)
        if truth.n_unique() == 2 and ((truth == value).all() or (1 - truth == value).all()):
            said = f"{feature!r} has the value of the label {label!r} or its opposite in all {both.height} rows."
            findings.append(_finding(LeakageKind.LABEL_AMONG_FEATURES, feature, both.height, said))
    return findings


def _need(frame: pl.DataFrame, columns: Sequence[str]) -> None:
    if missing := [name for name in dict.fromkeys(columns) if name not in frame.columns]:
        raise MissingColumnError(where="The training rows", missing=missing, found=frame.columns)


def _finding(kind: LeakageKind, column: str, rows: int, message: str, value: float | None = None) -> LeakageFinding:
    return LeakageFinding(kind=kind, column=column, rows=rows, message=message, value=value)
