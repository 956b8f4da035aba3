"""A card: Markdown with front matter, one HTML page, and the facts behind both."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from governance.cards._canonical import canonical
from governance.cards._dataset_document import dataset_document
from governance.cards._front_matter import dataset_front_matter, model_front_matter
from governance.cards._model_document import model_document
from governance.cards._render import markdown, page
from governance.cards.facts import DatasetFacts, ModelFacts

MARKDOWN_FILE: Final = "README.md"
PAGE_FILE: Final = "card.html"
FACTS_FILE: Final = "facts.json"
RUN_FILE: Final = "run.json"
IDENTITY: Final = (FACTS_FILE,)
"""The file that makes a card's data version: two builds of the same thing give one card, however long they took."""

_RUN: Final = frozenset({"run"})


@dataclass(frozen=True, kw_only=True)
class Card:
    """A rendered card.

    Attributes:
        markdown: Markdown below Hugging Face's YAML front matter.
        html: One file that asks for no other.
        facts_json: The stable facts, canonical: the card's identity.
        run_json: Commit ids, times, cost, environment: what differs between two builds of the same thing.
    """

    markdown: str
    html: str
    facts_json: str
    run_json: str


def model_card(facts: ModelFacts) -> Card:
    """The card of a model version. Equal facts give equal bytes; a missing fact is stated as missing.

    Raises:
        UnstatableFactError: A fact is NaN, infinite or no value.
        MissingPackageError: There is an evaluation to draw, and matplotlib is not installed.
    """
    texts = canonical(facts, without=_RUN), canonical(facts.run)
    document = model_document(facts)
    return Card(
        markdown=markdown(document, model_front_matter(facts)),
        html=page(document),
        facts_json=texts[0],
        run_json=texts[1],
    )


def dataset_card(facts: DatasetFacts) -> Card:
    """The card of a dataset version. Same promises and errors as `model_card`."""
    texts = canonical(facts, without=_RUN), canonical(facts.run)
    document = dataset_document(facts)
    return Card(
        markdown=markdown(document, dataset_front_matter(facts)),
        html=page(document),
        facts_json=texts[0],
        run_json=texts[1],
    )


def write_card(card: Card, folder: Path) -> None:
    """Writes `README.md`, `card.html`, `facts.json` and `run.json` into `folder`, which is made when absent."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        MARKDOWN_FILE: card.markdown,
        PAGE_FILE: card.html,
        FACTS_FILE: card.facts_json,
        RUN_FILE: card.run_json,
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
