"""Text cells into typed columns, strictly: a cell that cannot be read is an error that shows it, never a null."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from headwater.product import RejectedInputError

NULL_TEXTS: Final = ("", "NA")
PROBLEM: Final = "problem"
_EXAMPLES: Final = 5


@dataclass(frozen=True)
class Field:
    """How one column of text is read.

    Attributes:
        dtype: What it becomes. Floats have to be finite.
        nullable: Whether a null text is allowed.
        format: For dates and datetimes, in chrono's letters. A datetime dtype with a zone reads instants of that zone.
    """

    dtype: pl.DataType | type[pl.DataType]
    nullable: bool = False
    format: str | None = None

    def read(self, column: str, null_texts: Sequence[str]) -> pl.Expr:
        """The typed column; null where the text is null or cannot be read."""
        text = pl.col(column)
        text = pl.when(text.is_in(list(null_texts))).then(None).otherwise(text)
        if self.dtype.base_type() is pl.Datetime and self.format is not None:
            zone = getattr(self.dtype, "time_zone", None)
            typed = text.str.to_datetime(self.format, time_unit="us", time_zone=zone, strict=False)
        elif self.dtype.base_type() is pl.Date and self.format is not None:
            typed = text.str.to_date(self.format, strict=False)
        else:
            typed = text.cast(self.dtype, strict=False)
        if self.dtype.base_type() in (pl.Float32, pl.Float64):
            typed = pl.when(typed.is_finite()).then(typed)
        return typed.alias(column)


def parse_text(
    rows: pl.DataFrame, fields: Mapping[str, Field], *, name: str, null_texts: Sequence[str] = NULL_TEXTS
) -> pl.DataFrame:
    """Typed columns of a table of text, in the order of `fields`.

    Args:
        rows: Every cell as text, as it landed.
        fields: How each wanted column is read; other columns are left out.
        name: What the rows are called in errors.
        null_texts: Texts that stand for null.

    Raises:
        RejectedInputError: A column is missing, or cells cannot be read: the message names the columns with counts and
            examples, and the error carries the rows.
    """
    missing = [column for column in fields if column not in rows.columns]
    if missing:
        raise RejectedInputError(
            f"{name} lacks the columns {missing}; it has {rows.columns}. Land a file with the whole header."
        )
    text = rows.select(pl.col(list(fields)).cast(pl.String))
    typed = text.select(field.read(column, null_texts) for column, field in fields.items())
    bad = {column: _unreadable(text[column], typed[column], field, null_texts) for column, field in fields.items()}
    bad = {column: mask for column, mask in bad.items() if mask.any()}
    if bad:
        raise RejectedInputError(_message(name, rows, fields, bad), rows=_rejected(rows, bad))
    return typed


def _unreadable(text: pl.Series, typed: pl.Series, field: Field, null_texts: Sequence[str]) -> pl.Series:
    null = text.is_null() | text.is_in(list(null_texts)).fill_null(True)
    unread = typed.is_null() & ~null
    return unread if field.nullable else unread | null


def _message(name: str, rows: pl.DataFrame, fields: Mapping[str, Field], bad: Mapping[str, pl.Series]) -> str:
    parts = []
    for column, mask in bad.items():
        lines = mask.arg_true().head(_EXAMPLES).to_list()
        shown = ", ".join(f"row {line + 1}: {rows[column][line]!r}" for line in lines)
        rule = "" if fields[column].nullable else ", null not allowed"
        parts.append(f"{mask.sum()} cells of {column!r} are no {fields[column].dtype}{rule} ({shown})")
    return f"{name} cannot be read: {'; '.join(parts)}. Correct the file and land it again."


def _rejected(rows: pl.DataFrame, bad: Mapping[str, pl.Series]) -> pl.DataFrame:
    """The offending rows with the names of the columns that could not be read."""
    marks = [pl.when(mask).then(pl.lit(column)) for column, mask in bad.items()]
    marked = rows.with_columns(pl.concat_str(marks, separator=", ", ignore_nulls=True).alias(PROBLEM))
    return marked.filter(pl.any_horizontal(*bad.values()))
