"""A card before it is rendered: sections of blocks. Markdown and HTML come from one document, so they cannot disagree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Tone(StrEnum):
    """How a badge reads."""

    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    PLAIN = "plain"


@dataclass(frozen=True, kw_only=True)
class Badge:
    """A short verdict."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, kw_only=True)
class Identifier:
    """A name, digest or commit: shown in a fixed-width face, never wrapped in words."""

    text: str


Cell: TypeAlias = "str | int | float | bool | Badge | Identifier | None"
"""None is shown as not recorded."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A fact that nobody recorded."""

    what: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a header. A table without header shows pairs of name and value."""

    rows: tuple[tuple[Cell, ...], ...]
    header: tuple[str, ...] = ()
    caption: str = ""
    folded: bool = False

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers alone, apart from what is missing or only a badge."""
        values = [row[column] for row in self.rows]
        numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        return bool(numbers) and all(isinstance(v, Badge) or v is None or v == "" or v in numbers for v in values)


@dataclass(frozen=True, kw_only=True)
class Code:
    """Text to run or to copy."""

    text: str
    language: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing, shown in the HTML page only.

    Attributes:
        name: Unique in the card.
        caption: What it shows, in words.
        svg: Inline SVG.
    """

    name: str
    caption: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Drawings side by side."""

    items: tuple[Figure, ...]


Block: TypeAlias = Text | Missing | Table | Code | Figures


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands below it."""

    title: str
    level: int
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A headline fact."""

    label: str
    value: Cell
    note: str = ""
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, kw_only=True)
class Document:
    """A whole card."""

    kind: str
    title: str
    subtitle: str
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]


def section(level: int, title: str, *blocks: Block | None) -> Section:
    """A section of the blocks that there are."""
    return Section(title=title, level=level, blocks=tuple(block for block in blocks if block is not None))


def told(text: str | None, what: str) -> Block:
    """The text, or that it was not recorded."""
    return Text(text=text) if text and text.strip() else Missing(what=what)


def pairs(rows: Mapping[str, Cell]) -> Table:
    """Names and values."""
    return Table(rows=tuple(rows.items()))


def table_or_missing(header: Sequence[str], rows: Sequence[Sequence[Cell]], what: str, *, caption: str = "") -> Block:
    """A table of the rows, or that there are none on record. Long ones are folded."""
    if not rows:
        return Missing(what=what)
    return Table(
        header=tuple(header), rows=tuple(tuple(row) for row in rows), caption=caption, folded=len(rows) > _LONG_TABLE
    )


def identifier(text: str | None) -> Identifier | None:
    """An identifier, or None."""
    return Identifier(text=text) if text else None


_LONG_TABLE = 25
