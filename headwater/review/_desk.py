"""Where a person asks what waits, and answers: over the lake as it is at that moment."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from headwater.lake import Lake, Snapshot
from headwater.monitoring import join_outcomes
from headwater.product import Asset, Labels, Product
from headwater.review._answers import ANSWERED, Answer, AnswerKind, Named, read_answers, standing, write_answers
from headwater.review._declaration import Review
from headwater.review._outcomes import Agreement, agreements
from headwater.review._questions import Question, QuestionState, plain, questions, with_key
from headwater.review.errors import AnswerError, NoReviewError, NotAskedError, UnknownRequestError, listed
from headwater.written_rows import WrittenRow, write_row

_CLOSED = {
    QuestionState.KNOWN: ("has its truth already", "Nothing needs to be done."),
    QuestionState.SUPERSEDED: (
        "is not the newest prediction of its event",
        "Answer the newest one; the list shows it.",
    ),
}
_NO_ROWS = {"request_id": pl.String(), "received": pl.Datetime("us", "UTC"), "label": pl.Int8(), "truth": pl.String()}


def _clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Detail:
    """One question with what the model saw.

    Attributes:
        question: The question.
        features: What the model read, by name.
        defaulted: Why features of a view read as their defaults, by view.
        request: The request's fields.
        answer: The answer that counts, None without.
    """

    question: Question
    features: Mapping[str, Any]
    defaulted: Mapping[str, str]
    request: Mapping[str, Any]
    answer: Answer | None


class ReviewDesk:
    """The review queue of one product."""

    def __init__(
        self, lake: Lake, product: Product, asset: Asset, *, branch: str, now: Callable[[], datetime] = _clock
    ) -> None:
        """Prepares.

        Args:
            lake: The lake.
            product: A product that declares a review.
            asset: Its declared table of answers.
            branch: Branch that is read and written.
            now: The clock, UTC.

        Raises:
            NoReviewError: The product declares none.
        """
        if product.review is None or product.labels is None:
            raise NoReviewError(product=product.name)
        self.lake, self._asset, self._branch, self._now = lake, asset, branch, now
        self.product: Product = product
        self.review: Review = product.review
        self._labels: Labels = product.labels

    def open(self) -> tuple[Question, ...]:
        """What waits for an answer, the least sure first."""
        now = self._now()
        found = self._questions(self.lake.at(self._branch), now=now, since=now - self.review.open_for)
        return tuple(question for question in found if question.state is QuestionState.OPEN)

    def detail(self, request_id: str) -> Detail:
        """One question, whatever became of it; of an id that was used again the newest. Raises UnknownRequestError, NotAskedError."""
        snapshot = self.lake.at(self._branch)
        question = self._question(snapshot, request_id)
        columns = ["features", "reasons", "request"]
        told = self._row(snapshot, request_id).filter(pl.col("received") == question.received)
        row = told.select(columns).collect().row(0, named=True)
        features, reasons, request = (json.loads(row[name] or "{}") for name in columns)
        answer = self._answered(snapshot).get((request_id, question.received))
        return Detail(question=question, features=features, defaulted=reasons, request=request, answer=answer)

    def answer(self, request_id: str, word: str, *, reason: str, actor: str) -> Answer:
        """Answers a question, in one commit by its actor. Of two answers at once the second is refused.

        Args:
            request_id: The prediction.
            word: One of the review's words, or 0 or 1.
            reason: Why.
            actor: Who.

        Raises:
            AnswerError: The word means no label, or reason or actor is missing.
            UnknownRequestError: There is no such prediction.
            NotAskedError: It is not open.
        """
        try:
            label = self.review.label(word)
        except KeyError as error:
            remedy = f"Answer {listed(self.review.words)}, 0 or 1."
            raise AnswerError(request_id=request_id, problem=f"{word[:100]!r} is no label", remedy=remedy) from error

        def made(snapshot: Snapshot, id: str) -> Answer:
            question = self._question(snapshot, request_id)
            self._check_open(snapshot, question)
            event = json.dumps({name: plain(value) for name, value in question.event.items()}, sort_keys=True)
            told = {name: getattr(question, name) for name in ("at", "received", "version", "score", "decision")}
            return Answer(
                id=id, time=self._next_time(snapshot), request_id=request_id, label=label, reason=reason.strip(),
                actor=actor, event=event, **told,
            )  # fmt: skip

        said = self.review.word(label)
        return self._write(made, lambda one: f"Review: {said} for {one.request_id} of {self.product.name}")

    def withdraw(self, request_id: str, *, reason: str, actor: str) -> Answer:
        """Takes the answer to a question back, so that it does not count and the question is open again.

        Raises:
            AnswerError: Reason or actor is missing.
            NotAskedError: There is no answer.
        """

        def made(snapshot: Snapshot, id: str) -> Answer:
            same = (one for one in self._answered(snapshot).values() if one.request_id == request_id)
            given = max(same, key=lambda one: one.received, default=None)
            if given is None:
                raise NotAskedError(
                    request_id=request_id, why="has no answer that counts", remedy="There is nothing to withdraw."
                )
            return replace(
                given,
                id=id,
                time=self._next_time(snapshot),
                kind=AnswerKind.WITHDRAW,
                label=None,
                reason=reason.strip(),
                actor=actor,
            )

        return self._write(made, lambda one: f"Withdraw the review of {one.request_id} of {self.product.name}")

    def counts(self) -> dict[str, int]:
        """How many predictions of the band stand where."""
        found = self._questions(self.lake.at(self._branch), now=self._now())
        states = [question.state for question in found]
        return {state.value: states.count(state) for state in QuestionState}

    def agreements(self) -> tuple[Agreement, ...]:
        """People's answers beside the truth: of all together, then of each."""
        snapshot = self.lake.at(self._branch)
        answered = self._answered(snapshot)
        if not answered:
            return agreements(pl.DataFrame(schema=_NO_ROWS), {})
        key, now = list(self._labels.key), datetime.max.replace(tzinfo=UTC)
        predictions = with_key(self._predictions(snapshot), self._labels.key)
        columns = ["request_id", "at", "received", "version", "score", "decision", *key]
        rows = (
            predictions.filter(pl.col("request_id").is_in(list({id for id, _ in answered})))
            .select(list(dict.fromkeys(columns)))
            .collect()
        )
        truth = snapshot.table(self._labels.path).join(rows.lazy().select(key).unique(), on=key, how="semi").collect()
        joined = join_outcomes(rows, truth, declared=self._labels, now=now, unique_for=self.product.serving.unique_for)
        return agreements(joined.frame, answered)

    def history(self, limit: int) -> tuple[Answer, ...]:
        """The newest answers, the newest first."""
        return self._all(self.lake.at(self._branch))[::-1][:limit]

    def _write(self, make: Callable[[Snapshot, str], Answer], message: Callable[[Answer], str]) -> Answer:
        given: list[Answer] = []

        def made(snapshot: Snapshot, id: str) -> WrittenRow:
            answer = make(snapshot, id)
            given.append(answer)
            facts = {"answer": {"request_id": answer.request_id, "kind": answer.kind.value, "label": answer.label}}
            return WrittenRow(
                rows=write_answers(answer), action=ANSWERED, actor=answer.actor, message=message(answer), facts=facts
            )

        write_row(self.lake, self._asset, made, into=self._branch, now=self._now)
        return given[-1]

    def _question(self, snapshot: Snapshot, request_id: str) -> Question:
        told = self._row(snapshot, request_id)
        columns = ["score", "received", *self._labels_key(snapshot)]
        rows = told.select(columns).sort("received", descending=True).collect()
        if rows.is_empty():
            raise UnknownRequestError(product=self.product.name, request_id=request_id)
        newest: Any = rows["received"][0]
        # Of two uses of an id the later one came in longer than `unique_for` after the other.
        since = newest - self.product.serving.unique_for
        same = self._questions(snapshot, now=self._now(), only=request_id)
        found = [question for question in same if question.received >= since]
        if not found:
            why = f"is not asked about: {self._why_not(request_id, rows)}"
            raise NotAskedError(request_id=request_id, why=why, remedy="`headwater review list` shows what is.")
        return max(found, key=lambda question: question.received)

    def _labels_key(self, snapshot: Snapshot) -> list[str]:
        there = self._predictions(snapshot).collect_schema().names()
        return [name for name in self._labels.key if name in there]

    def _why_not(self, request_id: str, rows: pl.DataFrame) -> str:
        score = float(rows["score"][0])
        if not self.review.low <= score < self.review.high:
            return f"its score {score:.4g} lies outside the band from {self.review.low} to {self.review.high}"
        if not self.review.draws(request_id):
            return f"only a share of {self.review.share:.0%} is, and it was not drawn"
        return "it names no event that could be labelled"

    def _check_open(self, snapshot: Snapshot, question: Question) -> None:
        id, state = question.request_id, question.state
        if state is QuestionState.OPEN:
            return
        if state is QuestionState.EXPIRED:
            why = f"was open for {self.review.open_for} only, until {question.closes.astimezone(UTC).isoformat()}"
            raise NotAskedError(request_id=id, why=why, remedy="It stays without an answer.")
        if state is QuestionState.ANSWERED:
            given = self._answered(snapshot).get((id, question.received))
            said = f": {self.review.word(given.label)}, by {given.actor}, because {given.reason}" if given else ""
            remedy = "The first answer counts. To give another, withdraw it: `headwater review withdraw`."
            raise NotAskedError(request_id=id, why=f"is answered already{said}", remedy=remedy)
        why, remedy = _CLOSED[state]
        raise NotAskedError(request_id=id, why=why, remedy=remedy)

    def _questions(
        self, snapshot: Snapshot, *, now: datetime, since: datetime | None = None, only: str | None = None
    ) -> tuple[Question, ...]:
        if not snapshot.has(self._path("predictions")) or not snapshot.has(self._labels.path):
            return ()
        predictions = with_key(self._predictions(snapshot), self._labels.key)
        if only is not None:  # its event alone
            event = predictions.filter(pl.col("request_id") == only).select(self._labels.key)
            predictions = predictions.join(event.unique(), on=list(self._labels.key), how="semi")
        found = questions(
            predictions,
            snapshot.table(self._labels.path),
            self._answered(snapshot),
            declared=self._labels,
            review=self.review,
            now=now,
            since=since,
            unique_for=self.product.serving.unique_for,
        )
        return tuple(question for question in found if only in (None, question.request_id))

    def _predictions(self, snapshot: Snapshot) -> pl.LazyFrame:
        return snapshot.table(self._path("predictions"))

    def _row(self, snapshot: Snapshot, request_id: str) -> pl.LazyFrame:
        if not snapshot.has(self._path("predictions")):
            raise UnknownRequestError(product=self.product.name, request_id=request_id)
        return self._predictions(snapshot).filter(pl.col("request_id") == request_id)

    def _all(self, snapshot: Snapshot) -> tuple[Answer, ...]:
        return read_answers(snapshot.table(self._asset.path)) if snapshot.has(self._asset.path) else ()

    def _answered(self, snapshot: Snapshot) -> dict[Named, Answer]:
        return standing(self._all(snapshot))

    def _next_time(self, snapshot: Snapshot) -> datetime:
        """Now, and after every answer before: a clock that goes backwards changes no order."""
        last = max((answer.time for answer in self._all(snapshot)), default=None)
        return self._now() if last is None else max(self._now(), last + timedelta(microseconds=1))

    def _path(self, name: str) -> str:
        return f"{self.product.name}/{name}"
