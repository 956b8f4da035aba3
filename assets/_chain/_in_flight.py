"""Whether a training that was ordered still goes on, and until when labels counted in the live version's, as the records of what it makes say."""

import json
from datetime import datetime, timedelta

from assets._chain._paths import ChainPaths
from assets._chain._release import RUN_FILE
from headwater.lake.errors import CollectedCommitError
from headwater.materialize import BY_HAND
from headwater.names import AS_OF_FACT
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


def learned_until(inputs: Inputs, paths: ChainPaths) -> datetime | None:
    """Until when labels counted in the training of the live version; None where nothing is live, or nobody kept it.

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
    record = _made(inputs, paths.training_set, trained_on, commit)
    order = _pinned(record, paths.training_order)
    if record is None or order is None:
        return None
    return _as_of(inputs, paths, order, record.input_commit)


def _as_of(inputs: Inputs, paths: ChainPaths, order: str, commit: str) -> datetime | None:
    """Until when labels count in an order, by its data version, that stood at a commit; of one that `gc` took its record says so."""
    from assets._chain._retraining import as_of

    try:
        there = inputs.previous(paths.training_order, commit=commit)
        return None if there is None else as_of(there.folder(paths.training_order))
    except CollectedCommitError:
        given = _made(inputs, paths.training_order, order, commit)
        output = given.output(paths.training_order) if given is not None else None
        return datetime.fromisoformat(output.facts[AS_OF_FACT]) if output is not None else None


def _follows(inputs: Inputs, paths: ChainPaths, training_set: str | None, order: str) -> bool:
    """Whether a training set, by its data version, was made by an order."""
    return _pinned(_made(inputs, paths.training_set, training_set), paths.training_order) == order


def _made(inputs: Inputs, path: str, version: str | None, commit: str | None = None) -> Provenance | None:
    """The record of the build that made what stood at a path, by its data version."""
    for one in inputs.history(path, commit=commit):
        record = one.provenance
        output = record.output(path) if record is not None else None
        if (
            record is not None
            and record.action not in BY_HAND
            and output is not None
            and output.data_version == version
        ):
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
