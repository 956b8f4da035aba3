"""A document as Markdown and as one self-contained HTML page."""

import re
from collections.abc import Sequence
from typing import Any

from governance.cards._document import Badge, Block, Cell, Code, Document, Figures, Identifier, Missing, Table, Text
from governance.cards._numbers import show

MISSING = "Not recorded"
_SPECIAL = re.compile(r"([\\`*\[\]|~])")
_LEADING = re.compile(r"^(#{1,6}\s|[-+>=]|\d+[.)]\s)")


def markdown(document: Document, front_matter: str) -> str:
    """The card as Markdown below its front matter. Texts are escaped: none becomes markup."""
    parts = [front_matter, f"# {document.kind} for {_escaped(document.title)}"]
    for section in document.sections:
        parts.append(f"{'#' * section.level} {_escaped(section.title)}")
        parts += [shown for block in section.blocks if (shown := _block(block))]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def page(document: Document) -> str:
    """The card as one HTML file without any reference to another."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("governance.cards"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["anchor"] = _anchor
    environment.filters["cell"] = _html_cell
    environment.tests["kind"] = lambda block, name: type(block).__name__ == name
    return environment.get_template("card.html.j2").render(document=document, missing=MISSING)


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _html_cell(value: Cell) -> Any:
    from markupsafe import Markup

    if value is None:
        return Markup('<span class="missing">not recorded</span>')
    if isinstance(value, Badge):
        return Markup('<span class="badge {}">{}</span>').format(value.tone.value, value.text)
    if isinstance(value, Identifier):
        return Markup("<code>{}</code>").format(value.text)
    if isinstance(value, bool):
        return show(value)
    if isinstance(value, (int, float)):
        # The exact value travels with the rounded one.
        return Markup('<data value="{}">{}</data>').format(repr(value), show(value))
    return value


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return "\n\n".join(_escaped(" ".join(part.split())) for part in block.text.split("\n\n") if part.strip())
    if isinstance(block, Missing):
        return f"*{MISSING}: {block.what}.*"
    if isinstance(block, Code):
        fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`+", block.text))])
        return f"{fence}{block.language}\n{block.text}\n{fence}"
    if isinstance(block, Figures):
        return ""
    return _table(block)


def _table(table: Table) -> str:
    if not table.header:
        return "\n".join(f"- **{_escaped(str(name))}:** {_cell(value)}" for name, value in table.rows)
    lines = [_line([_escaped(name) for name in table.header]), _line(["---"] * len(table.header))]
    lines += [_line([_cell(value) for value in row]) for row in table.rows]
    return "\n".join(([f"{_escaped(table.caption)}\n"] if table.caption else []) + lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Cell) -> str:
    if value is None:
        return "*not recorded*"
    if isinstance(value, Badge):
        return _escaped(value.text)
    if isinstance(value, Identifier):
        # Inside a code span nothing is markup; a backtick or a pipe would end it.
        flat = " ".join(value.text.split())
        return f"`{flat}`" if not re.search(r"[`|]", flat) else _escaped(flat)
    if isinstance(value, (bool, int, float)):
        return show(value)
    return _escaped(" ".join(value.split()))


def _escaped(text: str) -> str:
    text = _SPECIAL.sub(r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    # A bare address would become a link.
    text = re.sub(r"(?i)\b(https?|ftp|www)(:|\.)", r"\1&#58;" if ":" in text else r"\1\\\2", text)
    return _LEADING.sub(r"\\\1", text)
