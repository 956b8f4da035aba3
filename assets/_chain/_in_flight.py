"""Whether a training that was ordered still goes on, and which order the live version's followed, as the records of what it makes say."""

import json
from datetime import datetime, timedelta
from pathlib import Path

from assets._chain._paths import ChainPaths
from assets._chain._release import RUN_FILE
from headwater.product import Inputs
from headwater.provenance import Provenance


def is_training(
    inputs: Inputs, paths: ChainPaths, ordered: datetime | None, *, now: datetime, longest: timedelta
) -> bool:
    """Whether no model of the newest training order is evaluated yet.

    Args:
        inputs: As the decision reads them.
        paths: The product's.
        ordered: Until when labels count in the newest order, None without one.
        now: The instant of the decision, by the clock of the data as `ordered` is.
        longest: So long an order is waited for: a training that fails, or makes what stood there, is none that goes on for ever.
    """
    standing = inputs.previous(paths.training_order)
    if ordered is None or standing is None or now - ordered >= longest:
        return False
    if next(inputs.history(paths.training_order), None) is None:  # nobody kept how it came to be
        return False
    order = standing.entry(paths.training_order).data_version
    model = _newest(inputs, paths.model)
    trained_on = _pinned(model, paths.training_set)
    if model is None or not _follows(inputs, paths, trained_on, order):
        return True
    output = model.output(paths.model)
    judged = _pinned(_newest(inputs, paths.evaluation), paths.model)
    return output is None or judged != output.data_version


def followed_order(inputs: Inputs, paths: ChainPaths) -> Path | None:
    """The training orders as they stood when the training set of the live version was made; None where nothing is live, or nobody kept it.

    Args:
        inputs: As the decision reads them.
        paths: The product's.
    """
    released = inputs.previous(paths.release)
    run = {} if released is None else json.loads((released.folder(paths.release) / RUN_FILE).read_text())
    commit = run.get("model_commit")
    if commit is None:
        return None
    trained_on = _pinned(_newest(inputs, paths.model, commit), paths.training_set)
    record = _made(inputs, paths, trained_on, commit)
    if record is None or _pinned(record, paths.training_order) is None:
        return None
    there = inputs.previous(paths.training_order, commit=record.input_commit)
    return None if there is None else there.folder(paths.training_order)


def _follows(inputs: Inputs, paths: ChainPaths, training_set: str | None, order: str) -> bool:
    """Whether a training set, by its data version, was made by an order."""
    return _pinned(_made(inputs, paths, training_set), paths.training_order) == order


def _made(inputs: Inputs, paths: ChainPaths, training_set: str | None, commit: str | None = None) -> Provenance | None:
    """The record of the build of a training set, by its data version."""
    for one in inputs.history(paths.training_set, commit=commit):
        record = one.provenance
        output = record.output(paths.training_set) if record is not None else None
        if output is not None and output.data_version == training_set:
            return record
    return None


def _newest(inputs: Inputs, path: str, commit: str | None = None) -> Provenance | None:
    """The record of the newest build of a path, as of a commit or now."""
    for one in inputs.history(path, commit=commit):
        if one.provenance is not None and one.provenance.output(path) is not None:
            return one.provenance
    return None


def _pinned(record: Provenance | None, path: str) -> str | None:
    """The data version of an input as a build read it."""
    pins = record.inputs if record is not None else ()
    return next((pin.data_version for pin in pins if pin.path == path and pin.role == "input"), None)
