"""Whether a training that was ordered still goes on, as the records of what it makes say."""

from datetime import datetime, timedelta

from assets._chain._paths import ChainPaths
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


def _follows(inputs: Inputs, paths: ChainPaths, training_set: str | None, order: str) -> bool:
    """Whether a training set, by its data version, was made by an order."""
    for commit in inputs.history(paths.training_set):
        record = commit.provenance
        output = record.output(paths.training_set) if record is not None else None
        if output is not None and output.data_version == training_set:
            return _pinned(record, paths.training_order) == order
    return False


def _newest(inputs: Inputs, path: str) -> Provenance | None:
    """The record of the newest build of a path."""
    for commit in inputs.history(path):
        if commit.provenance is not None and commit.provenance.output(path) is not None:
            return commit.provenance
    return None


def _pinned(record: Provenance | None, path: str) -> str | None:
    """The data version of an input as a build read it."""
    pins = record.inputs if record is not None else ()
    return next((pin.data_version for pin in pins if pin.path == path and pin.role == "input"), None)
