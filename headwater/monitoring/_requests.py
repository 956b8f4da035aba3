"""From answers to the requests that they belong to: a promise is one to callers about a request, and a batch is one request."""

from datetime import timedelta
from typing import Final

import polars as pl

from headwater.monitoring._frames import LATENCY, PREDICTIONS, RECEIVED, REQUEST_ID, VARIANT, check_columns

BATCH: Final = "__batch"
"""Column of which request of several instances an answer belongs to; null where it is the only one."""
_INSTANCE: Final = "#[0-9]+$"
"""How the log names the instances of a list: `<id>#<place>`."""
_LATER: Final = "#0*[1-9][0-9]*$"
"""All but the first one: that alone is a whole request of one instance."""
_BETWEEN: Final = "\x1f"


def with_batches(answers: pl.DataFrame) -> pl.DataFrame:
    """Answers with the batch that each belongs to (`BATCH`); what tells it already is left as it is.

    Instances of one request came in at the same instant under one id. Who leaves some of them out has to ask before: one that is left
    alone looks like a request of its own. So does the first of a batch that a compaction cut, until the rest is compacted too.

    Args:
        answers: `request_id` and `received`.

    Raises:
        MissingColumnsError, ColumnTypeError: The frame lacks a column.
    """
    if BATCH in answers.columns:
        return answers
    check_columns(answers, PREDICTIONS, [REQUEST_ID, RECEIVED])
    id = pl.col(REQUEST_ID)
    request = pl.concat_str(id.str.replace(_INSTANCE, ""), pl.col(RECEIVED).to_physical(), separator=_BETWEEN)
    batches = answers.filter(id.str.contains(_LATER)).select(request.alias(BATCH)).unique()
    if batches.is_empty():  # as most answers are; nobody takes their ids apart
        return answers.with_columns(pl.lit(None, pl.String).alias(BATCH))
    is_instance = id.str.contains(_INSTANCE) & request.is_in(batches[BATCH].implode())
    return answers.with_columns(pl.when(is_instance).then(request).alias(BATCH))


def count_requests(answers: pl.DataFrame) -> int:
    """Requests that were answered, each once for every version that answered part of it.

    Args:
        answers: `request_id`, `received` and `variant`; or some of `with_batches`.

    Raises:
        MissingColumnsError, ColumnTypeError: The frame lacks a column.
    """
    return one_each(answers).height


def count_batches(answers: pl.DataFrame) -> int:
    """Those of them that have several instances, of which nobody promised how long they take."""
    return one_each(answers)[BATCH].count()


def count_slow(answers: pl.DataFrame, slow: timedelta) -> int:
    """Those with one instance that took longer than `slow`.

    Args:
        answers: As in `count_requests`, with `latency_us`.
        slow: What is promised.

    Raises:
        MissingColumnsError, ColumnTypeError: The frame lacks a column.
    """
    check_columns(answers, PREDICTIONS, [LATENCY])
    is_slow = pl.col(LATENCY) > slow // timedelta(microseconds=1)
    return with_batches(answers).filter(is_slow & pl.col(BATCH).is_null()).height


def one_each(answers: pl.DataFrame) -> pl.DataFrame:
    """An answer for each request and version, of a batch the first; with `BATCH`. Arguments and errors are those of `count_requests`."""
    check_columns(answers, PREDICTIONS, [VARIANT])
    rows = with_batches(answers)
    if not rows[BATCH].count():
        return rows
    is_first = pl.struct(BATCH, VARIANT).is_first_distinct()
    return rows.filter(pl.col(BATCH).is_null() | is_first)
