"""`headwater review`: uncertain predictions wait for a person; the answers become labels with their author."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from headwater.cli._output import json_option, show_facts, show_json, show_rows

if TYPE_CHECKING:
    from headwater.review import ReviewDesk
    from resources.settings import Settings

_LISTED: Final = ("product", "request_id", "event", "score", "decision", "version", "at", "closes")
_COUNTED: Final = ("product", "open", "answered", "known", "superseded", "expired", "answers", "unsure", "agreed")
_PEOPLE: Final = ("product", "actor", "answers", "unsure", "known", "agreed", "model")

_reason: Final = click.option("--reason", required=True, help="Why; kept with the answer.")


@click.group()
def review() -> None:
    """Predictions that the model is unsure of: what waits for a person, and answering it."""


@review.command("list")
@click.argument("product", required=False)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many.")
@json_option
def list_(product: str | None, limit: int | None, as_json: bool) -> None:
    """What waits for an answer, the least sure first. Answered are predictions that are in the lake: see `headwater log compact`."""
    desks, _ = _desks(product)
    rows = [{"product": desk.product.name, **one.to_json()} for desk in desks for one in desk.open()][:limit]
    shown = [{**row, "event": _event(row["event"]), "score": f"{row['score']:.4f}"} for row in rows]
    show_rows(rows if as_json else shown, _LISTED, as_json=as_json, empty="Nothing waits for a person.")


@review.command()
@click.argument("product")
@click.argument("request_id")
@json_option
def show(product: str, request_id: str, as_json: bool) -> None:
    """One question: the event, what the model read, how much each feature counted, and the answer if there is one."""
    from headwater.review import Explainer

    (desk,), settings = _desks(product)
    found = desk.detail(request_id)
    moved = Explainer(desk.lake, product, branch=settings.branch).explain(found.question.version, found.features)
    facts = {
        "product": product,
        **found.question.to_json(),
        "answers": list(desk.review.words),
        "answer": found.answer.to_json() if found.answer else None,
        "defaulted": dict(found.defaulted),
        "features": dict(found.features),
        "moved_log_odds": moved,
    }
    show_facts(facts, as_json=as_json)


@review.command()
@click.argument("product")
@click.argument("request_id")
@click.argument("label")
@_reason
@json_option
def answer(product: str, request_id: str, label: str, reason: str, as_json: bool) -> None:
    """Answers a question: LABEL is one of the product's words, 0, 1 or `unsure`. The first answer counts; a second is refused."""
    from headwater.runtime import user

    (desk,), _ = _desks(product)
    given = desk.answer(request_id, label, reason=reason, actor=user())
    _said(desk, given.to_json(), f"{given.actor} said {desk.review.word(given.label)!r} of {request_id}.", as_json)


@review.command()
@click.argument("product")
@click.argument("request_id")
@_reason
@json_option
def withdraw(product: str, request_id: str, reason: str, as_json: bool) -> None:
    """Takes an answer back: it does not count any more, stays on record, and the question is open again."""
    from headwater.runtime import user

    (desk,), _ = _desks(product)
    given = desk.withdraw(request_id, reason=reason, actor=user())
    _said(desk, given.to_json(), f"{given.actor} took the answer to {request_id} back.", as_json)


@review.command()
@click.argument("product", required=False)
@json_option
def status(product: str | None, as_json: bool) -> None:
    """How many questions stand where, and how people's answers stand beside the truth that came in since."""
    desks, _ = _desks(product)
    rows = []
    for desk in desks:
        everybody, *people = (found.to_json() for found in desk.agreements())
        told = {name: everybody[name] for name in ("answers", "unsure", "agreed", "agreed_share", "model_share")}
        rows.append(
            {"product": desk.product.name, **desk.counts(), **told, "with_truth": everybody["known"], "people": people}
        )
    show_rows(rows, _COUNTED, as_json=as_json, empty="No product declares a review.")
    people = [{"product": row["product"], **one} for row in rows for one in row["people"]]
    if people and not as_json:
        click.echo("")
        show_rows(people, _PEOPLE, as_json=False, empty="")


@review.command("open")
@click.option(
    "--port", default=8081, type=click.IntRange(0, 65535), show_default=True, help="Port; 0 takes a free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address. Other than loopback it needs --keys.")
@click.option("--keys", type=click.Path(path_type=Path), help="JSON file of API keys; the role is `review`.")
def open_(port: int, host: str, keys: Path | None) -> None:
    """A page for the same: what waits, what the model saw, and buttons to answer. Ctrl-C stops it."""
    from headwater.review import Explainer
    from headwater.runtime import user
    from serving.review import PageSettings, run

    desks, settings = _desks(None)
    run(
        PageSettings(host=host, port=port, keys=keys),
        desks={desk.product.name: desk for desk in desks},
        explainers={
            desk.product.name: Explainer(desk.lake, desk.product.name, branch=settings.branch) for desk in desks
        },
        actor=user(),
        on_listening=lambda url: click.echo(f"Review on {url}. Ctrl-C stops it."),
    )


def _desks(name: str | None) -> "tuple[list[ReviewDesk], Settings]":
    """The queue of the named product, or of every one that declares a review."""
    from assets._chain._review_answers import review_answers_asset
    from assets._products import product as find
    from assets._products import products
    from headwater.review import NoReviewError, ReviewDesk
    from resources.opening import open_lake
    from resources.settings import load_settings

    chosen = [find(name)] if name else [product for product in products() if product.review is not None]
    if name and chosen[0].review is None:
        raise NoReviewError(product=name)
    settings = load_settings()
    lake = open_lake(settings)
    found = [ReviewDesk(lake, product, review_answers_asset(product), branch=settings.branch) for product in chosen]
    return found, settings


def _said(desk: "ReviewDesk", row: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        show_json({"product": desk.product.name, **row})
    else:
        click.echo(text)


def _event(event: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in event.items())
