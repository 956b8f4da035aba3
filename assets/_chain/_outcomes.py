"""Outcomes: each prediction of the service beside its label, once that is known."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._label_changes import CHANGE_COLUMNS, label_changes, labels_are_final, with_label_changes
from assets._chain._paths import ChainPaths
from assets._chain._plays import counted
from assets._chain._prediction_rows import COLUMNS
from headwater.lake import Kind
from headwater.product import Asset, Audit, Check, Inputs, Labels, Product, Result, Severity, Verdict

if TYPE_CHECKING:
    from headwater.monitoring import Outcomes

KNOWN_AT: Final = pl.min_horizontal("at", "received")
"""The instant that a request knows of: a question about a time to come knows when it came in, and no more."""
_KEPT: Final = ("request_id", "at", "received", "latency_us", "version", "variant", "propensity", "score", "decision")
_TOLD: Final = "__told "
_JOINED: Final = ("label", "label_known_at", "truth", "judged")


def outcomes_asset(product: Product) -> Asset:
    """The outcomes of a product with a model. New labels and answers make them anew, and each new day of predictions; every prediction does not."""
    assert product.labels is not None
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.outcomes,
        kind=Kind.TABLE,
        compute=partial(_outcomes, product=product),
        inputs=(
            product.labels.path,
            paths.prediction_day,
            *((paths.review_answers,) if product.review is not None else ()),
        ),
        previous=(paths.predictions, paths.outcomes),
        checks=(
            labels_are_final(),
            Check(
                name="predictions_name_an_event",
                judge=_predictions_name_an_event,
                blocking=False,
                severity=Severity.WARN,
                description="Requests gave the key of the event that they asked about: without it nobody ever knows its truth.",
            ),
            Check(
                name="request_ids_are_used_once",
                judge=_ids_are_used_once,
                blocking=False,
                severity=Severity.WARN,
                description="No request has an id that an earlier one has, whether it repeats that one or came in long after it.",
            ),
        ),
        description="Predictions beside the labels that came in since: what is known, what will never be, what is not yet known, "
        "what a person said, which label changed.",
        kinds=("polars",),
        declaration=declared_values(
            labels=product.labels, slices=_columns_of(product), unique_for=product.serving.unique_for
        ),
    )


def slices_of(product: Product) -> tuple[str, ...]:
    """Columns by which performance is sliced."""
    if product.performance is not None:
        return product.performance.slices
    return ("version", *(product.model.slices if product.model else ()))


def _columns_of(product: Product) -> tuple[str, ...]:
    """Columns that performance is sliced by, or whose equal values are drawn together."""
    return slices_of(product) if product.performance is None else product.performance.columns


def _outcomes(inputs: Inputs, *, product: Product) -> Result:
    from headwater.monitoring import join_outcomes

    labels, paths = product.labels, ChainPaths(product=product.name)
    assert labels is not None
    inputs.entry(paths.prediction_day)  # says that there is more to look at; what, the predictions say
    truth = inputs.table(labels.path).collect()
    before = inputs.previous(paths.predictions)
    table = _none(labels, truth).lazy() if before is None else counted(product, before.table(paths.predictions))
    # A key that is the prediction time stands under that name: see the predictions.
    predictions = table.collect()
    predictions = predictions.with_columns(
        pl.col("score").clip(0.0, 1.0),  # a hair above 1 from services of before
        *(pl.col("at").alias(name) for name in labels.key if name not in predictions.columns),
    )
    now = _now(labels, truth, predictions, inputs.started)
    found = join_outcomes(predictions, truth, declared=labels, now=now, unique_for=product.serving.unique_for)
    extra = [name for name in _columns_of(product) if name not in (*_KEPT, *labels.key)]
    frame = _with_slices(found.frame, truth, labels, extra)
    stood = inputs.previous(paths.outcomes)
    frame = with_label_changes(
        frame, None if stood is None else stood.table(paths.outcomes), truth, declared=labels, now=found.now,
        commit=inputs.written_in(labels.path),
    )  # fmt: skip
    found = replace(found, frame=frame)
    columns = dict.fromkeys((*_KEPT, *labels.key, *extra, *_JOINED, *CHANGE_COLUMNS))
    if product.review is None:
        changes = label_changes(frame, key=labels.key, now=found.now)
        return Result(data=frame.select(*columns), facts={**found.to_json(), "label_changes": changes})
    return _with_answers(inputs, frame, columns, found, product)


def _with_answers(
    inputs: Inputs, frame: pl.DataFrame, columns: Iterable[str], found: "Outcomes", product: Product
) -> Result:
    """The outcomes with what people said, and how that stood beside the truth."""
    from headwater.review import COLUMNS as REVIEWED
    from headwater.review import agreements, read_answers, standing, with_answers

    assert product.labels is not None
    answered = standing(read_answers(inputs.table(ChainPaths(product=product.name).review_answers)))
    rows = with_answers(frame, answered, key=product.labels.key, now=found.now)
    people = [agreement.to_json() for agreement in agreements(rows, answered)]
    told = {"label_changes": label_changes(rows, key=product.labels.key, now=found.now), "review": people}
    return Result(data=rows.select(*columns, *REVIEWED), facts={**replace(found, frame=rows).to_json(), **told})


def _with_slices(frame: pl.DataFrame, truth: pl.DataFrame, labels: Labels, names: Sequence[str]) -> pl.DataFrame:
    """The columns to slice by as texts: of the label's row where it has them, else as the model read them, else of the request.

    A label that is awaited has no row yet, and its event is in its slice all the same.
    """
    told = [name for name in names if name in truth.columns and name not in labels.key]
    key = list(labels.key)
    frame = frame.drop(name for name in told if name in frame.columns)
    given = truth.select(*key, *(pl.col(name).cast(pl.String).alias(_TOLD + name) for name in told))
    frame = frame.join(given.drop_nulls(key), on=key, how="left", maintain_order="left")
    logged = {name: pl.coalesce(_logged("features", name), _logged("request", name)) for name in names}
    read = [
        pl.coalesce(_TOLD + name, _as_text(logged[name], truth.schema[name])) if name in told else logged[name]
        for name in names
    ]
    found = [one.alias(name) for name, one in zip(names, read, strict=True)]
    return frame.with_columns(found).drop(_TOLD + name for name in told)


def _logged(column: str, name: str) -> pl.Expr:
    return pl.col(column).str.json_path_match(f"$['{name}']")


def _as_text(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """What the log says of a value as the labels' column says it as text: 5.0 there is 5 of a column of whole numbers."""
    if dtype.is_integer():
        return pl.coalesce(
            text.cast(dtype, strict=False), text.cast(pl.Float64, strict=False).cast(dtype, strict=False)
        ).cast(pl.String)
    if dtype.is_float():
        return text.cast(dtype, strict=False).cast(pl.String)
    return text


def newest_asked(predictions: pl.DataFrame) -> datetime | None:
    """The newest instant that requests know of.

    Args:
        predictions: With `at` and `received`. A past that is played again keeps its own clock: it came in long after what it is about.
    """
    found: Any = predictions.select(KNOWN_AT.max()).item()
    return found if isinstance(found, datetime) else None


def newest_of(*moments: Any, until: datetime) -> datetime:
    """The newest of some instants, none of them newer than `until`; 1970 without any. One without a zone is in UTC."""
    found = [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in moments if moment is not None]
    return min(max(found, default=datetime(1970, 1, 1, tzinfo=UTC)), until)


def _now(labels: Labels, truth: pl.DataFrame, predictions: pl.DataFrame, started: datetime) -> datetime:
    """As of when: the newest instant that the data know of, so that the same data give the same outcomes, and no later than the build.

    A null may say since when it will be known that there is a label, or none: that instant may lie ahead, and counts only once it came.
    """
    known = truth.filter(pl.col(labels.label).is_not_null())[labels.known_at or labels.time].max()
    return newest_of(known, newest_asked(predictions), until=started)


def _none(labels: Labels, truth: pl.DataFrame) -> pl.DataFrame:
    """No predictions, with the columns that they have."""
    return pl.DataFrame(schema={**COLUMNS, **{name: truth.schema[name] for name in labels.key}})


def _predictions_name_an_event(audit: Audit) -> Verdict:
    unkeyed, rows = int(audit.facts.get("unkeyed", 0)), int(audit.facts.get("rows", 0))
    said = f"{unkeyed} of {rows} predictions name no event." if unkeyed else ""
    return Verdict(passed=not unkeyed, facts={"unkeyed": unkeyed, "rows": rows}, description=said)


def _ids_are_used_once(audit: Audit) -> Verdict:
    found = {name: int(audit.facts.get(name, 0)) for name in ("repeated", "reused", "rows")}
    said = []
    if found["repeated"]:
        said.append(f"{found['repeated']} predictions repeat one that came in shortly before, and are left out.")
    if found["reused"]:
        said.append(
            f"{found['reused']} predictions have the id of one that came in longer than Serving.unique_for before: each counts, and a "
            "review knows them apart by when they came in. Let callers send ids that are never used again."
        )
    return Verdict(passed=not said, facts=found, description=" ".join(said))
