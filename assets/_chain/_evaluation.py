"""The evaluation: the model, the baseline and the champion on the same test rows."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from assets._chain._declare import declared_values
from assets._chain._model import baseline_of, parts_of, trained
from assets._chain._paths import ChainPaths
from assets._chain._reference import SCORES_FILE, kept_profile, model_of
from assets._chain._release import RELEASE_FILE, RUN_FILE
from assets._chain._training_set import TEST, TRAIN, VALIDATION
from headwater.lake import Kind
from headwater.models import (
    Bundle,
    Evaluation,
    LabelError,
    Rival,
    Slicing,
    evaluate,
    gain_importance,
    permutation_importance,
    plots,
    read_bundle,
    read_label,
)
from headwater.models.errors import MissingColumnsError, NullInputError, WrongDtypeError
from headwater.models.evaluation_bootstrap import FEWEST_GROUPS
from headwater.models.signature import SCORE
from headwater.names import METRICS_FACT, VERSION_FACT
from headwater.product import Asset, Audit, Check, Inputs, Product, RejectedInputError, Result, Verdict

EVALUATION_FILE: Final = "evaluation.json"


def evaluation_asset(product: Product) -> Asset:
    """The evaluation of a product with a model."""
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.evaluation,
        kind=Kind.FOLDER,
        compute=partial(_evaluate, product=product),
        inputs=(paths.training_set, paths.model),
        previous=(paths.release, paths.model),
        identity=(EVALUATION_FILE,),
        checks=(
            Check(
                name="every_metric_is_defined",
                judge=_every_metric_is_defined,
                blocking=False,
                description="No metric over all rows is undefined.",
            ),
        ),
        description="Metrics with intervals, slices, calibration, importances, and the comparison with baseline and champion.",
        kinds=("numpy", "matplotlib"),
        declaration=declared_values(labels=product.labels, model=product.model, split=product.split),
    )


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation in a folder that the asset wrote."""
    return Evaluation.from_json(json.loads((folder / EVALUATION_FILE).read_text())["evaluation"])


def _evaluate(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    paths, labels, model = ChainPaths(product=product.name), product.labels, model_of(product)
    assert labels is not None
    train, validation, test = parts_of(inputs, paths.training_set, TRAIN, VALIDATION, TEST)
    bundle = read_bundle(inputs.folder(paths.model))
    output = inputs.provenance(paths.model).output(paths.model)
    version = output.facts.get(VERSION_FACT, "") if output else ""
    try:
        truth = read_label(test, labels.label, rows=TEST)
        importances = (*gain_importance(bundle), *permutation_importance(bundle, test))
    except LabelError as error:
        raise RejectedInputError(f"The test part cannot be judged: {error}") from error
    champion, gap = _champion(inputs, paths, test)
    scores = bundle.predict(test)
    (folder / SCORES_FILE).write_bytes(kept_profile(pl.DataFrame({SCORE: scores})))
    result = evaluate(
        labels=truth,
        scores=scores,
        threshold=bundle.threshold,
        baseline=_baseline(product, train, validation, test),
        champion=champion,
        slicing=Slicing(frame=test.select(model.slices), floor=model.slice_floor) if model.slices else None,
        clusters=_groups((train, validation, test), labels.time, product.split.timezone),
        importances=importances,
    )
    return _write(folder, replace(result, champion_gap=gap), version, str(output.data_version if output else ""))


def _write(folder: Path, result: Evaluation, version: str, data_version: str) -> Result:
    document = {"model_version": version, "model_data_version": data_version, "evaluation": result.to_json()}
    (folder / EVALUATION_FILE).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))
    for name, svg in plots(result).items():
        (folder / f"{name}.svg").write_text(svg)
    metrics = {m.name: {"value": m.value, "low": m.low, "high": m.high, "n": m.n} for m in result.metrics}
    return Result(facts={VERSION_FACT: version, METRICS_FACT: metrics, "test_rows": result.rows})


def _baseline(product: Product, train: pl.DataFrame, validation: pl.DataFrame, test: pl.DataFrame) -> Rival | None:
    declared = baseline_of(product)
    if declared is None:
        return None
    model = trained(train, validation, declared)
    name = f"logistic regression on {', '.join(declared.features)}"
    return Rival(version=name, scores=model.predict(test), threshold=model.threshold)


def _champion(inputs: Inputs, paths: ChainPaths, test: pl.DataFrame) -> tuple[Rival | None, str]:
    """The released model on the same rows, or the reason why it cannot judge them.

    None without a reason when nothing is released or it is the very model being judged.
    """
    released = inputs.previous(paths.release)
    if released is None:
        return None, ""
    folder = released.folder(paths.release)
    statement = json.loads((folder / RELEASE_FILE).read_text())
    if statement["data_version"] == inputs.entry(paths.model).data_version:
        return None, ""
    commit = json.loads((folder / RUN_FILE).read_text())["model_commit"]
    past = inputs.previous(paths.model, commit=commit)
    if past is None:
        return None, f"The lake no longer has the bundle of {statement['version']} at commit {commit}."
    bundle: Bundle = read_bundle(past.folder(paths.model))
    return rival_on(test, bundle, version=statement["version"])


def rival_on(test: pl.DataFrame, bundle: Bundle, *, version: str) -> tuple[Rival | None, str]:
    """A released bundle's scores on the test rows, or why it cannot score them: a column is gone, retyped or newly null."""
    try:
        scores = bundle.predict(test)
    except (MissingColumnsError, WrongDtypeError, NullInputError) as error:
        return None, f"Version {version} cannot score the test rows. {error}"
    return Rival(version=version, scores=scores, threshold=bundle.threshold), ""


def _groups(parts: Sequence[pl.DataFrame], time: str, timezone: str) -> np.ndarray | None:
    """The local day of each row of the last part, drawn whole by the bootstrap.

    None, which draws rows, where no month has rows on more than two days: a day is a delivery there, such as a month's extract, and not
    what its rows share. An interval then speaks of these deliveries alone.
    """
    days = [_days(part, time, timezone) for part in parts]
    months = pl.concat(days).unique().dt.truncate("1mo").value_counts()
    return days[-1].cast(pl.Int32).to_numpy() if int(months["count"].max()) >= FEWEST_GROUPS else None  # type: ignore[arg-type]


def _days(rows: pl.DataFrame, time: str, timezone: str) -> pl.Series:
    column = rows[time]
    if column.dtype == pl.Date:
        return column
    zoned = getattr(column.dtype, "time_zone", None)
    return (column.dt.convert_time_zone(timezone) if zoned else column).dt.date()


def _every_metric_is_defined(audit: Audit) -> Verdict:
    metrics: dict[str, Any] = dict(audit.facts.get(METRICS_FACT, {}))
    undefined = sorted(name for name, metric in metrics.items() if metric["value"] is None)
    return Verdict(passed=not undefined, facts={"undefined": undefined, "metrics": len(metrics)})
