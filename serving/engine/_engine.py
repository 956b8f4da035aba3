"""Answers requests to one product, many at a time: one lookup, one matrix and one score for all that came together.

What a version fails on is a matter of the requests that it fails on: others of the same turn are answered, and a version that only
watches fails nobody.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from math import isfinite
from time import perf_counter_ns
from typing import Any, Final, NamedTuple

import numpy as np

from headwater.features.errors import (
    EntityValueError,
    NotPublishedError,
    OnDemandFaultError,
    TimeBeforeWindowError,
    TimeValueError,
)
from headwater.features.online import Lookup, OnlineRow, OnlineStore, OnlineVersion
from headwater.features.online._rows import microseconds
from serving.deployment import Deployment
from serving.engine._answers import Answer, Asked, Explanation, Step
from serving.engine._loaded import LoadedModel, Take, fitted_to, taking
from serving.engine._rules import check_rules
from serving.engine.errors import (
    ExplanationError,
    RefusedLookupError,
    RequestError,
    RequestTimeError,
    VersionFaultError,
    VersionNotServedError,
    VersionRetiredError,
)
from serving.errors import ServingError
from serving.policies import Assignment, Ensemble, assign, draws
from serving.prediction_log import PredictionRecord, encode_record

_LOG: Final = logging.getLogger("headwater.serving")
_MICROSECONDS: Final = timedelta(microseconds=1)
_TIMES: Final = frozenset((datetime, date))
_lookup: Any = tuple.__new__
"""Half the time of the constructor of a named tuple."""


class _Row(NamedTuple):
    """A request on its way: who answers, and what each version reads."""

    place: int
    asked: Asked
    drawn: Assignment
    inputs: dict[str, tuple[Any, ...]]
    reasons: dict[str, str]


class Engine:
    """What is live of a product. Nothing of it changes: another release is another engine.

    Attributes:
        deployment: What is served.
        models: The loaded versions.
    """

    def __init__(
        self,
        deployment: Deployment,
        models: Mapping[str, LoadedModel],
        *,
        store: OnlineStore | None = None,
        store_name: str = "",
    ) -> None:
        """Prepares what is served.

        Args:
            deployment: What is served.
            models: Every version that the policy names.
            store: Online features; None for a product without.
            store_name: Name under which they are published there.

        Raises:
            UnfitModelError: A model reads what the online features lack.
            UnknownFieldsError: The release draws by, or hides, what no request has.
        """
        self.deployment = deployment
        self._store, self._name = store, store_name
        online = store.version(store_name) if store is not None else None
        self.models = {version: fitted_to(model, online) for version, model in models.items()}
        check_rules(deployment, self.models)
        self._time = self.live.schema.time
        self._ahead = deployment.ahead // _MICROSECONDS
        self._redacted = frozenset(deployment.redacted)
        self._undrawn = None if draws(deployment.policy) else assign(deployment.policy, "")
        self._uses: dict[tuple[str, ...], tuple[tuple[str, Take], ...]] = {}
        self._told: set[tuple[str, type[Exception]]] = set()

    @property
    def product(self) -> str:
        """The product."""
        return self.deployment.product

    @property
    def live(self) -> LoadedModel:
        """The first version of the policy: whose schema reads requests that name no version."""
        return self.models[self.deployment.live]

    @property
    def variants(self) -> tuple[str, ...]:
        """What its answers may be by: its versions, and all of them together where they are one ensemble."""
        kind = self.deployment.policy.kind
        return (*self.models, kind) if kind == Ensemble.kind else tuple(self.models)

    @property
    def online_name(self) -> str:
        """Name under which the online features are published."""
        return self._name

    def is_published(self) -> bool:
        """Whether the store holds any online features for it. Raises OnlineStoreError."""
        if self._store is None:
            return False
        try:
            self._store.version(self._name)
        except NotPublishedError:
            return False
        return True

    def model(self, version: str) -> LoadedModel:
        """A loaded version. Raises VersionRetiredError, VersionNotServedError."""
        if version in self.deployment.retired:
            raise VersionRetiredError(product=self.product, version=version, served=tuple(self.models))
        if version not in self.models:
            is_known = version in self.deployment.superseded
            raise VersionNotServedError(
                product=self.product, version=version, served=tuple(self.models), is_known=is_known
            )
        return self.models[version]

    def variant(self, one: Asked) -> str:
        """What answers a request, or would have."""
        return self._drawn(one).variant

    def check_time(self, at: int, now: int) -> None:
        """Raises RequestTimeError for a time too far ahead of the clock, both in microseconds since 1970."""
        if at - now > self._ahead:
            said = f"is more than {self.deployment.ahead} ahead of the service's clock"
            raise RequestTimeError(time=_iso(at), problem=said)

    def answer(
        self, asked: Sequence[Asked], steps: list[Step] | None = None, log: int = 0
    ) -> list[Answer | ServingError]:
        """An answer, or what is wrong with the request, for each in its place.

        Args:
            asked: The requests.
            steps: Gets what was done, for who wants to know.
            log: Microseconds that the log took for the turn before, for the records.

        Raises:
            OnlineStoreError: The online features are away.
        """
        answers: list[Answer | ServingError | None] = [None] * len(asked)
        began = perf_counter_ns() if steps is not None else 0
        rows, version = self._rows(asked, answers)
        between = perf_counter_ns() if steps is not None else 0
        scores = self._scores(rows, answers)
        if steps is not None:
            content = {"headwater.online_commit": version.source} if version is not None else {}
            steps.append(Step("features", began, between, {"headwater.turn_instances": len(asked), **content}))
            steps.append(Step("score", between, perf_counter_ns(), {"headwater.turn_instances": len(asked)}))
        source = version.source if version is not None else None
        for row in rows:
            if answers[row.place] is None:
                answers[row.place] = self._answer_or_fault(row, scores[row.place], source, log)
        return answers  # type: ignore[return-value]

    def others_take(self, asked: Sequence[Asked]) -> list[bool]:
        """Whether some version of the policy has an answer to each of these requests, which one of them has refused.

        Raises:
            OnlineStoreError: The online features are away.
        """
        if len(self.models) == 1:
            return [False] * len(asked)
        versions = tuple(self.models)
        found = self.answer([one._replace(version=name, explain=False) for one in asked for name in versions])
        has_answer = [isinstance(answer, Answer) for answer in found]
        starts = range(0, len(has_answer), len(versions))
        return [any(has_answer[start : start + len(versions)]) for start in starts]

    def _rows(
        self, asked: Sequence[Asked], answers: list[Answer | ServingError | None]
    ) -> tuple[list[_Row], OnlineVersion | None]:
        """What each version reads of each request; what is wrong with a request goes in its place."""
        drawn = [self._drawn(one) for one in asked]
        found, version = self._looked_up(asked, drawn, answers)
        rows = []
        for place, (one, who) in enumerate(zip(asked, drawn, strict=True)):
            if answers[place] is not None:
                continue
            read = self._read(place, one, who, found[place])
            if isinstance(read, _Row):
                rows.append(read)
            else:
                answers[place] = read
        return rows, version

    def _read(self, place: int, one: Asked, who: Assignment, found: dict[str, OnlineRow]) -> "_Row | ServingError":
        """What each version reads of a request, or why one that answers it cannot; who only watches never fails a request."""
        if one.explain and len(who.weights) > 1:
            return ExplanationError(product=self.product, version=who.variant, kind="combined")
        inputs: dict[str, tuple[Any, ...]] = {}
        reasons: dict[str, str] = {}
        for name in who.weights:
            try:
                inputs[name], why = self.models[name].inputs(one.fields, one.at, found)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's alone
                return self._error_of(name, error)
            reasons.update(why)
        for name in who.shadows:
            try:
                inputs[name], _ = self.models[name].inputs(one.fields, one.at, found)
            except Exception as error:  # noqa: BLE001
                self._error_of(name, error)
        return _Row(place, one, who, inputs, reasons)

    def _drawn(self, one: Asked) -> Assignment:
        if one.version:
            return Assignment(variant=one.version, weights={one.version: 1.0}, propensity=None)  # nobody drew it
        if self._undrawn is not None:
            return self._undrawn
        return assign(self.deployment.policy, self._key(one))

    def _key(self, one: Asked) -> str:
        """What a version is drawn for. A request in which a value is absent or null is drawn for itself: all those drawn as one
        would get one version, and break the split."""
        values = [one.at if name == self._time else one.fields.get(name) for name in self.deployment.assign_by]
        return one.id if not values or None in values else "\x1f".join(map(str, values))

    def _looked_up(
        self, asked: Sequence[Asked], drawn: Sequence[Assignment], answers: list[Answer | ServingError | None]
    ) -> tuple[list[dict[str, OnlineRow]], OnlineVersion | None]:
        """By request and view what the store says."""
        if self._store is None:
            return [{} for _ in asked], None
        questions, places = [], []
        for place, (one, who) in enumerate(zip(asked, drawn, strict=True)):
            fields, at = one.fields, one.at
            for view, entity_of in self._looks_up((*who.weights, *who.shadows)):
                try:
                    questions.append(_lookup(Lookup, (view, entity_of(fields), at)))
                except KeyError:  # another version read the request; whoever needs the field says so
                    continue
                places.append(place)
        found: list[dict[str, OnlineRow]] = [{} for _ in asked]
        try:
            version, rows = self._store.lookup(self._name, questions)
        except (TimeBeforeWindowError, TimeValueError, EntityValueError) as error:
            if len(asked) > 1:
                return self._one_by_one(asked, drawn, answers)
            if drawn[0].shadows:  # what only they look up is theirs to lack
                return self._looked_up(asked, [replace(drawn[0], shadows=())], answers)
            answers[0] = RefusedLookupError(str(error))
            return found, None
        for place, question, row in zip(places, questions, rows, strict=True):
            found[place][question.view] = row
        return found, version

    def _looks_up(self, versions: tuple[str, ...]) -> tuple[tuple[str, Take], ...]:
        """The views that some versions look up, each once, with what takes their entity out of a request's fields."""
        found = self._uses.get(versions)
        if found is None:
            uses = {use.name: taking(use.keys) for name in versions for use in self.models[name].views}
            found = self._uses[versions] = tuple(uses.items())
        return found

    def _one_by_one(
        self, asked: Sequence[Asked], drawn: Sequence[Assignment], answers: list[Answer | ServingError | None]
    ) -> tuple[list[dict[str, OnlineRow]], OnlineVersion | None]:
        """One request has a value that no store takes: the others are answered all the same."""
        found, version = [], None
        for place, (one, who) in enumerate(zip(asked, drawn, strict=True)):
            said: list[Answer | ServingError | None] = [None]
            rows, seen = self._looked_up([one], [who], said)
            answers[place], version = said[0], seen or version
            found.append(rows[0])
        return found, version

    def _scores(self, rows: Sequence[_Row], answers: list[Answer | ServingError | None]) -> list[dict[str, "_Score"]]:
        """By place and version the score."""
        scores: list[dict[str, _Score]] = [{} for _ in answers]
        by_version: dict[str, list[_Row]] = {}
        for row in rows:
            for name in row.inputs:
                by_version.setdefault(name, []).append(row)
        for name, scored in by_version.items():
            self._score(self.models[name], scored, scores, answers)
        return scores

    def _score(
        self,
        model: LoadedModel,
        rows: Sequence[_Row],
        scores: list[dict[str, "_Score"]],
        answers: list[Answer | ServingError | None],
    ) -> None:
        try:
            matrix = model.matrix([row.inputs[model.version] for row in rows])
            found = list(zip(rows, model.bundle.scorer.score(matrix).tolist(), strict=True))
            explained = self._explained(model, rows, matrix, answers)
        except Exception as error:  # noqa: BLE001 - whatever it is, whose it is shows one by one
            if len(rows) > 1:
                for row in rows:
                    self._score(model, [row], scores, answers)
                return
            problem = self._error_of(model.version, error)
            if model.version in rows[0].drawn.weights:
                answers[rows[0].place] = problem
            return
        for place, (row, score) in enumerate(found):
            if isfinite(score):
                scores[row.place][model.version] = _Score(score, explained.get(place))
            elif model.version in row.drawn.weights:
                said = f"{self.product}@{model.version} has no score for these values: a number among them is too large"
                answers[row.place] = RequestError(f"{said}.")

    def _explained(
        self,
        model: LoadedModel,
        rows: Sequence[_Row],
        matrix: np.ndarray,
        answers: list[Answer | ServingError | None],
    ) -> dict[int, Explanation]:
        """By place among the rows the explanations that somebody wants; who cannot have one is told so."""
        wanted = [place for place, row in enumerate(rows) if row.asked.explain and model.version in row.drawn.weights]
        if not wanted:
            return {}
        try:
            return dict(zip(wanted, model.explain(matrix[wanted]), strict=True))
        except RequestError as error:
            for place in wanted:
                answers[rows[place].place] = error
            return {}

    def _error_of(self, version: str, error: Exception) -> ServingError:
        """What a request is told that a version failed on: what is wrong with it, or that it is the version's fault.

        A fault is in the log once for each engine, version and kind, however many meet it.
        """
        if isinstance(error, RequestError):
            return error
        # The function's own error: the one around it names values, which may be none for the log.
        cause = error.__cause__ if isinstance(error, OnDemandFaultError) else error
        assert isinstance(cause, Exception)
        if (version, type(cause)) not in self._told:
            self._told.add((version, type(cause)))
            said = {"product": self.product, "version": version, "commit": self.deployment.commit}
            _LOG.error("a version fails on requests by a fault of its own", exc_info=cause, extra=said)
        return VersionFaultError(product=self.product, version=version, error=cause)

    def _answer_or_fault(
        self, row: _Row, scores: Mapping[str, "_Score"], online: str | None, log: int
    ) -> Answer | ServingError:
        try:
            return self._answer(row, scores, online, log)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's alone
            return self._error_of(row.drawn.variant, error)

    def _answer(self, row: _Row, scores: Mapping[str, "_Score"], online: str | None, log: int) -> Answer:
        """The answer and its record; `online` says where the features came from, `log` how long the turn before took there."""
        asked, drawn = row.asked, row.drawn
        score = _mean([(weight, scores[name].value) for name, weight in drawn.weights.items()])
        threshold = _mean([(weight, self.models[name].bundle.threshold) for name, weight in drawn.weights.items()])
        watched = {name: found.value for name, found in scores.items() if name != drawn.variant}
        first = next(iter(drawn.weights))
        record = PredictionRecord(
            request_id=asked.id,
            product=self.product,
            at=asked.at,
            received=asked.received,
            latency=(perf_counter_ns() - asked.started) // 1_000,
            version=drawn.variant,
            variant=drawn.variant,
            score=score,
            decision=score >= threshold,
            propensity=drawn.propensity,
            shadows=watched,
            request=self._kept(_plain(asked.fields)),
            features=self._kept(dict(zip(self.models[first].encoder.names, row.inputs[first], strict=True))),
            reasons=row.reasons,
            online=online,
            commit=self.deployment.commit,
            caller=asked.caller,
            trace=asked.trace,
            log=log,
        )
        return Answer(
            id=asked.id,
            version=drawn.variant,
            variant=drawn.variant,
            score=score,
            decision=record.decision,
            threshold=threshold,
            at=asked.at,
            reasons=row.reasons,
            explanation=scores[first].explanation,
            record=encode_record(record),
        )

    def _kept(self, values: dict[str, Any]) -> dict[str, Any]:
        """What the log may hold."""
        redacted = self._redacted
        return {name: value for name, value in values.items() if name not in redacted} if redacted else values


def _mean(weighted: Sequence[tuple[float, float]]) -> float:
    """The weighted mean, as probabilities are: weights add up to a hair more than 1 where binary fractions round."""
    return min(sum([weight * value for weight, value in weighted]), 1.0)


class _Score(NamedTuple):
    value: float
    explanation: Explanation | None


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with times as the log has them."""
    found = dict(fields)
    for name, value in fields.items():
        kind = type(value)
        if kind in _TIMES:
            found[name] = microseconds(value) if kind is datetime else value.isoformat()
    return found


def _iso(at: int) -> str:
    try:
        return (datetime(1970, 1, 1) + timedelta(microseconds=at)).isoformat() + "Z"
    except OverflowError:
        return str(at)
