"""The plays of a lake: whose answer a prediction is, and which answers a later play took the place of."""

import re
from typing import Final

import polars as pl

_NAMED: Final = r"^replay-([0-9]{1,9})/"
"""How a request id of a replay begins: with the number of its play."""
_IN_PLAY: Final = re.compile(_NAMED)
_ID, _AT, _PLAY = "request_id", "at", "__play"


def asked_in(play: int, id: str) -> str:
    """The id under which a play asks a request: another one in each play of a lake, the same in each try of one play.

    Args:
        play: Number of the play, from 1; 0 for one that began before plays had numbers, which goes on under the bare ids.
        id: The request's own.
    """
    return f"replay-{play}/{id}" if play else id


def is_in_play(id: str) -> bool:
    """Whether a request id is one under which some play asks.

    Args:
        id: The request's.
    """
    return _IN_PLAY.match(id) is not None


def play_of(id: str = _ID) -> pl.Expr:
    """The play of each request id in a column, Int64; 0 for what no play asked.

    Args:
        id: The column.
    """
    return pl.col(id).str.extract(_NAMED, 1).cast(pl.Int64).fill_null(0)


def own_id(id: str = _ID) -> pl.Expr:
    """The request ids of a column without the play: the same in every play.

    Args:
        id: The column.
    """
    return pl.col(id).str.replace(_NAMED, "")


def newest_play(rows: pl.LazyFrame) -> int:
    """The newest play that asked some predictions; 0 without any.

    Args:
        rows: With `request_id`.
    """
    found: int | None = rows.select(play_of().max()).collect().item()
    return found or 0


def standing_answers(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Predictions without those that a later play took the place of.

    A play begins its time anew: from the first instant that it asks about, no answer of an earlier play counts, whether it has come
    that far or not. What was asked before that instant stays, and so does what no play asked.

    Args:
        rows: With `request_id` and `at`.
    """
    begins = rows.select(play_of().alias(_PLAY), _AT).filter(pl.col(_PLAY) > 0)
    begun = begins.group_by(_PLAY).agg(pl.col(_AT).min()).sort(_PLAY, descending=True).collect()
    replaced, until = [], None
    for play, begin in begun.iter_rows():
        if until is not None:
            replaced.append((play_of() == play) & (pl.col(_AT) >= until))
        until = begin if until is None else min(until, begin)
    return rows.filter(~pl.any_horizontal(replaced)) if replaced else rows
