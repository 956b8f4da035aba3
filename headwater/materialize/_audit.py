"""The audit of what a transaction wrote, before anyone sees it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from headwater.lake import Transaction
from headwater.lake.errors import TableWriteError
from headwater.materialize._facts import plain_facts
from headwater.materialize._inputs import RecordingInputs
from headwater.product import Asset, Audit, Check, RejectedInputError, Severity, Verdict
from headwater.provenance import CheckRecord

REJECTED_SUFFIX: Final = ".rejected"
INPUTS_USABLE: Final = "inputs_are_usable"
INPUTS_READ: Final = "declared_inputs_were_read"

_DATA_ERRORS: Final = (
    pl.exceptions.InvalidOperationError,
    pl.exceptions.ComputeError,
    pl.exceptions.ColumnNotFoundError,
    pl.exceptions.SchemaError,
)
_STORE_AWAY: Final = ("generic s3 error", "object-store error", "error sending request", "http error", "os error")
"""How Polars' text tells of a store that did not answer: that says nothing of the data, and a retry may help."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """An asset or one partition of it, as its function made it or refused to.

    Attributes:
        partition: Partition key, or None.
        inputs: What it read.
        facts: What the function reported.
        rejection: Why it could not use its inputs, None when it could.
    """

    partition: str | None
    inputs: RecordingInputs
    facts: Mapping[str, Any] = field(default_factory=dict)
    rejection: RejectedInputError | None = None


@contextmanager
def data_errors() -> Iterator[None]:
    """Turns what Polars says of data that a query cannot use into a rejection: a strict cast, a column that is not there.

    Raises:
        RejectedInputError: The query failed on its data, in the function or when its plan was written.
    """
    try:
        yield
    except _DATA_ERRORS as error:
        if any(sign in str(error).lower() for sign in _STORE_AWAY):
            raise
        raise RejectedInputError(f"{type(error).__name__}: {error}") from error


def audited(tx: Transaction, asset: Asset, part: Part, *, several: bool) -> tuple[CheckRecord, ...]:
    """The verdicts on one part of what was written.

    Args:
        tx: The transaction, everything written.
        asset: Whose checks are judged.
        part: The asset, or one partition of it.
        several: Whether the transaction holds several partitions: then each verdict names its own.
    """
    checks = _audit(tx, asset, part)
    return tuple(replace(check, partition=part.partition) for check in checks) if several else checks


def _audit(tx: Transaction, asset: Asset, part: Part) -> tuple[CheckRecord, ...]:
    if part.rejection is not None:
        return (CheckRecord(name=INPUTS_USABLE, passed=False, facts=_rejected(tx, asset, part.rejection)),)
    audit = Audit(
        path=asset.path,
        partition=part.partition,
        staged=tx.staged(),
        base=tx.base,
        facts=part.facts,
        partition_column=asset.partitions.column if asset.partitions else None,
    )
    unread = part.inputs.unread()
    return (
        CheckRecord(name=INPUTS_USABLE, passed=True),
        CheckRecord(
            name=INPUTS_READ, passed=not unread, severity=Severity.WARN, blocking=False, facts={"unread": list(unread)}
        ),
        *(_judge(check, audit) for check in asset.checks),
    )


def _rejected(tx: Transaction, asset: Asset, rejection: RejectedInputError) -> Mapping[str, Any]:
    shown: dict[str, Any] = {"problem": str(rejection), "rejected_rows": 0}
    if rejection.rows is not None:
        shown["rejected_rows"] = rejection.rows.height
        try:
            tx.write_table(asset.path + REJECTED_SUFFIX, rejection.rows)
        except TableWriteError as error:  # what is wrong with the rows may be that no table can hold them
            shown["not_kept"] = str(error)
    return shown


def _judge(check: Check, audit: Audit) -> CheckRecord:
    try:
        verdict = check.judge(audit)
        passed, facts = _passed(verdict), plain_facts(verdict.facts)
        facts |= {"description": str(verdict.description)} if verdict.description else {}
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - whatever a check raises is its failure
        passed, facts = False, {"description": f"The check could not be judged: {type(error).__name__}: {error}"}
    return CheckRecord(name=check.name, passed=passed, severity=check.severity, blocking=check.blocking, facts=facts)


def _passed(verdict: Verdict) -> bool:
    """Whether the claim held; only true is true, so that neither NaN nor a text passes."""
    if not isinstance(verdict, Verdict):
        raise TypeError(f"It returned a {type(verdict).__qualname__} instead of a Verdict.")
    return bool(verdict.passed == True)  # noqa: E712 - NumPy's true is not Python's
