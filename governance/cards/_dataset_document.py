"""The sections of a dataset card, in the order and with the headings of Hugging Face's template."""

from governance.cards._document import (
    Cell,
    Document,
    Identifier,
    Missing,
    Section,
    Text,
    Tile,
    Tone,
    identifier,
    pairs,
    section,
    table_or_missing,
    told,
)  # fmt: skip
from governance.cards._shared import checks, effort, inputs, owners, provenance
from governance.cards.facts import DatasetFacts


def dataset_document(facts: DatasetFacts) -> Document:
    """The whole card."""
    return Document(
        kind="Dataset card",
        title=facts.path,
        subtitle=facts.description or "",
        tiles=_tiles(facts),
        sections=(*_details(facts), *_structure(facts), *_creation(facts), *_closing(facts)),
    )


def _tiles(facts: DatasetFacts) -> tuple[Tile, ...]:
    held = sum(check.passed for check in facts.checks)
    broken = [check for check in facts.checks if not check.passed]
    tone = Tone.PLAIN if not facts.checks else Tone.GOOD if not broken else Tone.WARN
    if any(check.blocking for check in broken):
        tone = Tone.BAD
    return (
        Tile(label="Rows", value=facts.rows),
        Tile(label="Columns", value=len(facts.columns) or None),
        Tile(
            label="Checks that hold",
            value=f"{held} of {len(facts.checks)}" if facts.checks else None,
            tone=tone,
        ),
        Tile(label="Partitions", value=len(facts.partitions) or "none"),
        Tile(label="Licence", value=facts.licence),
        Tile(label="Data version", value=Identifier(text=facts.data_version[:12]) if facts.data_version else None),
    )


def _details(facts: DatasetFacts) -> tuple[Section, ...]:
    return (
        section(2, "Dataset Details"),
        section(
            3,
            "Dataset Description",
            told(facts.description, "description"),
            pairs({"Curated by": ", ".join(facts.owners) or None, "Product": facts.product, "Licence": facts.licence}),
        ),
        section(3, "Dataset Sources", provenance(facts.data_version, facts.code_version, facts.run)),
        section(2, "Uses"),
        section(3, "Direct Use", told(facts.intended_use, "intended use")),
        section(3, "Out-of-Scope Use", told(facts.out_of_scope, "uses that are out of scope")),
    )


def _structure(facts: DatasetFacts) -> tuple[Section, ...]:
    columns = [
        (Identifier(text=c.name), c.dtype, c.nulls, c.distinct, _bound(c.minimum), _bound(c.maximum), c.description)
        for c in facts.columns
    ]
    partitions = [(Identifier(text=p.key), p.rows, Identifier(text=p.data_version)) for p in facts.partitions]
    header = ("Column", "Dtype", "Nulls", "Distinct", "Smallest", "Largest", "Meaning")
    return (
        section(
            2,
            "Dataset Structure",
            pairs({"Rows": facts.rows, "Key": identifier(", ".join(facts.key))}),
            table_or_missing(header, columns, "columns"),
        ),
        section(3, "Partitions", table_or_missing(("Partition", "Rows", "Data version"), partitions, "partitions")),
        section(3, "Contract", checks(facts.checks, "checks of the contract")),
    )


def _bound(value: int | float | str | None) -> Cell:
    """A range that a column cannot have is no missing fact. A whole number may be a year or a flight: no separators."""
    if value is None:
        return ""
    return Identifier(text=str(value)) if isinstance(value, int) else value


def _creation(facts: DatasetFacts) -> tuple[Section, ...]:
    files = [(item.name, Identifier(text=item.sha256), item.origin, item.licence) for item in facts.sources]
    return (
        section(2, "Dataset Creation"),
        section(3, "Curation Rationale", told(facts.rationale, "why it was made")),
        section(3, "Source Data", table_or_missing(("File", "sha256", "Origin", "Licence"), files, "source files")),
        section(
            4,
            "Data Collection and Processing",
            told(facts.collection, "how the data were collected"),
            inputs(facts.inputs),
        ),
        section(4, "Who are the source data producers?", told(_origins(facts), "source data producers")),
        section(3, "Annotations"),
        section(4, "Annotation process", told(facts.annotation, "how labels were made")),
        section(4, "Who are the annotators?", Missing(what="annotators")),
        section(4, "Personal and Sensitive Information", told(facts.personal_information, "personal information")),
        section(2, "Bias, Risks, and Limitations", told(facts.limitations, "limitations")),
        section(3, "Recommendations", Missing(what="recommendations")),
    )


def _origins(facts: DatasetFacts) -> str:
    return ", ".join(sorted({item.origin for item in facts.sources if item.origin}))


def _closing(facts: DatasetFacts) -> tuple[Section, ...]:
    return (
        section(2, "Citation", Missing(what="citation")),
        section(2, "Glossary", pairs({"Data version": "Digest of content, independent of file layout."})),
        section(2, "More Information", effort(facts.run)),
        section(2, "Dataset Card Authors", Text(text="Computed from recorded facts; nobody typed a number.")),
        section(2, "Dataset Card Contact", owners(facts.owners)),
    )
