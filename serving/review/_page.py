"""The review page's HTML. Every value goes through the template's escaping; there are no scripts."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headwater.review import Answer, Detail, Question, ReviewDesk

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER: Final = Path(__file__).parent / "templates"
STYLE: Final = (_FOLDER / "style.css").read_bytes()
_MOVED: Final = 12
"""Features that are shown with what they moved; all are in the table below."""
Queue = tuple[ReviewDesk, Sequence[Question], int, Sequence[Answer]]


def shown_list(queues: Sequence[Queue], *, who: str, note: str) -> bytes:
    """What waits, by product."""
    found = [
        {
            "product": desk.product.name,
            "question": desk.product.question,
            "rows": [question.to_json() for question in rows],
            "key": list(rows[0].event) if rows else [],
            "count": count,
            "review": desk.review,
            "history": [{**answer.to_json(), "word": _said(desk, answer)} for answer in history],
        }
        for desk, rows, count, history in queues
    ]
    return _render("list.html.j2", queues=found, who=who, note=note)


def shown_detail(
    desk: ReviewDesk, detail: Detail, moved: Mapping[str, float], *, token: str, problem: str, reason: str
) -> bytes:
    """One question, and the form to answer it while it is open."""
    widest = max((abs(value) for value in moved.values()), default=0.0)
    strongest = [(name, detail.features.get(name), value, _tenths(value, widest)) for name, value in moved.items()]
    return _render(
        "question.html.j2",
        product=desk.product.name,
        asks=desk.product.question,
        review=desk.review,
        question=detail.question.to_json(),
        features=sorted(detail.features.items()),
        defaulted=detail.defaulted,
        moved=strongest[:_MOVED],
        answer=None if detail.answer is None else {**detail.answer.to_json(), "word": _said(desk, detail.answer)},
        token=token,
        problem=problem,
        reason=reason,
    )


def shown_problem(message: str) -> bytes:
    """What went wrong."""
    return _render("problem.html.j2", message=message)


def shown_answer(request_id: str) -> str:
    """What is said once an answer is in the lake."""
    return f"Your answer to {request_id[:200]} is in the lake."


def _said(desk: ReviewDesk, answer: Answer) -> str:
    return "taken back" if answer.kind == "withdraw" else desk.review.word(answer.label)


def _tenths(value: float, widest: float) -> int:
    """Length of a bar, 0 to 10."""
    return round(10 * abs(value) / widest) if widest else 0


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["cell"] = _cell
    found.filters["moment"] = _moment
    return found


def _render(name: str, **values: Any) -> bytes:
    return _environment().get_template(name).render(**values).encode()


def _cell(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return str(value)


def _moment(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
