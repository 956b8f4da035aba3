"""`POST /v1/<product>:predict`: an entity and a time in, a score and a decision out."""

import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from serving.engine import Answer, Asked, Engine, Explanation, RequestError, shown
from serving.http._wire import MOST_NAMED, Problem, listed

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ONE: Final = frozenset(("entity", "time", "id", "explain"))
_INSTANCE: Final = frozenset(("entity", "time"))
_MANY: Final = frozenset(("instances", "id", "explain"))
_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-|$)")
_OF_BATCH: Final = re.compile(r"#[0-9]+\Z")
"""How the log names the instances of a batch: no request of its own may take such a name from one."""
LONGEST_ID: Final = 128


class Caller:
    """What a request says of itself beside its body.

    Attributes:
        name: Name of its key, empty without.
        trace: W3C trace id, empty without.
        id: Its id from a header, empty without.
        received: The clock when all of it was there, in microseconds since 1970; before that, when it was begun.
        started: The same on the clock that measures, in nanoseconds.
    """

    __slots__ = ("id", "name", "received", "started", "trace")

    def __init__(self, *, name: str, trace: str, id: str) -> None:
        self.name, self.trace, self.id = name, trace, id
        self.begin()

    def begin(self) -> None:
        """All of the request is there: from now on it is the service that takes its time."""
        self.received, self.started = time.time_ns() // 1_000, time.perf_counter_ns()


def caller_of(headers: Mapping[bytes, bytes], name: str) -> Caller:
    """The caller of a request; who has its body still to read calls `begin` then."""
    return Caller(
        name=name,
        trace=_trace(headers.get(b"traceparent", b"")),
        id=headers.get(b"x-request-id", b"").decode("latin-1"),
    )


def read_request(body: Mapping[str, Any], engine: Engine, caller: Caller, version: str, most: int) -> list[Asked]:
    """The instances of a request.

    Args:
        body: The JSON object.
        engine: Who answers.
        caller: Who asks.
        version: A version that has to answer; empty leaves it to the policy.
        most: Instances at most.

    Raises:
        Problem: The body has another form.
        RequestError: Fields or times cannot be read.
        VersionNotServedError: The version is not loaded.
    """
    given = _id(body.get("id", caller.id)) or new_id()
    explain = body.get("explain", False)
    if type(explain) is not bool:
        raise Problem(
            422,
            "invalid",
            f"'explain' is {shown(explain)}, neither true nor false.",
            fields={"explain": "is no boolean"},
        )
    if "instances" not in body:
        _only(body, _ONE)
        return [_asked(body, given, engine, caller, version, explain)]
    _only(body, _MANY)
    instances = body["instances"]
    if type(instances) is not list or not instances:
        raise Problem(
            422, "invalid", "'instances' is no list of at least one instance.", fields={"instances": "is no list"}
        )
    if len(instances) > most:
        raise Problem(413, "too_many_instances", f"There are {len(instances)} instances; {most} are taken at once.")
    found: list[Asked] = []
    for place, one in enumerate(instances):
        if type(one) is not dict:
            said = f"Instance {place} is no object."
            raise Problem(422, "invalid", said, fields={f"instances[{place}]": "is no object"})
        try:
            _only(one, _INSTANCE)
            found.append(_asked(one, f"{given}#{place}", engine, caller, version, explain))
        except (Problem, RequestError) as error:
            if len(instances) == 1:
                raise
            raise _at(place, error) from error
    return found


def is_batch(body: Mapping[str, Any]) -> bool:
    """Whether a body asks about several instances; one that cannot be read does not."""
    instances = body.get("instances")
    return type(instances) is list and len(instances) > 1


def new_id() -> str:
    """An id that no other request has: random for this process, then counted."""
    global _process
    if _process[0] != os.getpid():  # a forked process counts for itself
        _process = (os.getpid(), secrets.token_hex(12), count())
    return f"{_process[1]}-{next(_process[2]):x}"


_process: tuple[int, str, "count[int]"] = (0, "", count())


def write_answer(answer: Answer, product: str) -> dict[str, Any]:
    """An answer as JSON values."""
    found: dict[str, Any] = {
        "id": answer.id,
        "product": product,
        "version": answer.version,
        "score": answer.score,
        "decision": answer.decision,
        "threshold": answer.threshold,
        "time": iso(answer.at),
    }
    if answer.reasons:
        found["defaulted"] = answer.reasons
    if answer.explanation is not None:
        found["explanation"] = write_explanation(answer.explanation)
    if not answer.logged:
        found["logged"] = False
    return found


def write_explanation(explanation: Explanation) -> dict[str, Any]:
    """An explanation as JSON values, what counted most first."""
    ordered = sorted(explanation.contributions.items(), key=lambda item: -abs(item[1]))
    return {"unit": "log odds", "base": explanation.base, "contributions": dict(ordered)}


def write_answers(answers: Sequence[Answer], product: str, *, is_list: bool) -> dict[str, Any]:
    """Answers to one request as JSON values: to a list of instances, a list."""
    if not is_list:
        return write_answer(answers[0], product)
    return {"predictions": [write_answer(answer, product) for answer in answers]}


def iso(at: int) -> str:
    """Microseconds since 1970 as a text."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")


def _asked(raw: Mapping[str, Any], id: str, engine: Engine, caller: Caller, version: str, explain: bool) -> Asked:
    if "entity" not in raw:
        raise Problem(
            422, "invalid", "'entity' is missing: the fields of what is asked about.", fields={"entity": "is missing"}
        )
    model = engine.model(version) if version else engine.live
    fields = model.fields.read(raw["entity"])
    at = caller.received if raw.get("time") is None else model.fields.time(raw["time"])
    engine.check_time(at, caller.received)
    return Asked(
        id=id,
        fields=fields,
        at=at,
        received=caller.received,
        started=caller.started,
        version=version,
        explain=explain,
        caller=caller.name,
        trace=caller.trace,
    )


def _at(place: int, error: Problem | RequestError) -> Problem | RequestError:
    """What is wrong with one of several instances, with its place."""
    said = f"Instance {place}: {error}"
    fields = {f"instances[{place}].{name}": problem for name, problem in error.fields.items()}
    if isinstance(error, Problem):
        return Problem(error.status, error.code, said, fields=fields)
    return RequestError(said, fields=fields)


def _only(body: Mapping[str, Any], known: frozenset[str]) -> None:
    if strange := [name for name in body if name not in known]:
        said = f"The body has {listed(strange)}; it takes {', '.join(sorted(known))}."
        fields = {name[:LONGEST_ID]: "is unknown" for name in strange[:MOST_NAMED]}
        raise Problem(422, "invalid", said, fields=fields)


def _id(raw: Any) -> str:
    if type(raw) is not str or len(raw) > LONGEST_ID or not raw.isprintable():
        said = f"'id' is no printable text of {LONGEST_ID} characters at most."
        raise Problem(422, "invalid", said, fields={"id": "cannot be used"})
    if _OF_BATCH.search(raw) is not None:
        said = f"'id' {raw!r} ends like that of an instance of a batch, '#' and a number. Take another."
        raise Problem(422, "invalid", said, fields={"id": "ends in '#' and a number"})
    return raw


def _trace(header: bytes) -> str:
    """The trace id of a W3C `traceparent` header; empty for none or a broken one."""
    found = _TRACEPARENT.match(header)
    if found is None or header.startswith(b"ff") or not found[1].strip(b"0") or not found[2].strip(b"0"):
        return ""
    return found[1].decode("ascii")
