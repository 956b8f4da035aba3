"""The online store in Redis, for services on several machines.

Each entity is a sorted set of its rows, ordered by the bytes of time that begin each member, so that one range query finds the
newest row at or before a time. Rows stand under the generation of their view; a version is one key, and to publish is to set it.
A lookup asks for the version, for rows of the version it knows and for the version once more in one round trip, and again when
it was another one before or after. An extension changes rows and version in one transaction. Rows of the generation before
expire a while later, so that lookups on their way still find them.

A service looks up between two requests, in its one event loop: a lookup waits for a short declared time and never tries again by
itself after that, and while Redis is away lookups fail at once (`_breaker`). Publishers have more time.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import polars as pl
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from headwater.features.errors import FeatureError, OnlineStoreError
from headwater.features.online._breaker import Breaker
from headwater.features.online._encoding import TIME_BYTES, time_bytes
from headwater.features.online._extension import Addition, Merged, additions, extended, merged
from headwater.features.online._interface import Lookup, OnlineContent, OnlineRow, OnlineTable, OnlineVersion
from headwater.features.online._redis_lock import Lock
from headwater.features.online._rows import entries
from headwater.features.online._state import Held, State, renewed, write_record

_PREFIX: Final = b"headwater:online:"
_NEXT: Final = _PREFIX + b"next"
_MARKS: Final = _PREFIX + b"marks"
_VERSIONS: Final = _PREFIX + b"version:"
_MARK_IF_THERE: Final = """
if redis.call('exists', KEYS[1]) == 1 then redis.call('hset', KEYS[2], ARGV[1], ARGV[2]) end
"""
_BATCH: Final = 2_000
_NO_END: Final = -1
_HIGHEST: Final = b"\xff"
"""Behind every value of its time: msgpack's arrays begin below."""


class RedisOnlineStore:
    """An online store in Redis 6.2 or later. Needs the extra `redis`; see `headwater.features.online.OnlineStore`."""

    def __init__(self, url: str, *, timeout: float = 1.0, lookup_timeout: float = 1.0, grace: float = 60.0) -> None:
        """Connects when first used.

        Args:
            url: As `redis://host:port/0`, with user and password where there are some.
            timeout: Seconds to wait for an answer while publishing.
            lookup_timeout: Seconds to wait for an answer to a lookup, each time that bytes are awaited.
            grace: Seconds for which the rows of a replaced generation are kept.
        """
        self._client: Any = _connected(url, timeout)
        self._reader: Any = _connected(url, lookup_timeout)
        place = self._client.connection_pool.connection_kwargs
        self._location = f"{place.get('host', place.get('path', 'redis'))}:{place.get('port', '')}"
        self._grace = grace
        self._states: dict[str, State] = {}
        self._breaker = Breaker(self._probe)

    def publish(self, product: str, content: OnlineContent, *, commit: str) -> OnlineVersion:
        """Puts a product's views in place of those there were, by setting one key. See `OnlineStore.publish`."""
        with self._errors("written"), self._locked(product) as lock:
            self._check_keeps()
            made: list[int] = []

            def write(table: OnlineTable) -> int:
                made.append(int(self._client.incr(_NEXT)))
                self._write(_rows_prefix(product, made[-1]), entries(table), lock)
                return made[-1]

            record = self._record(product)
            before = State.read(product, record) if record else None
            newest = int(self._client.get(_NEXT) or 0)
            try:
                version, generations = renewed(before, product, content, commit=commit, write=write)
                if self._client.hexists(_MARKS, product):
                    self._client.hset(_MARKS, product, secrets.token_hex(8))
                lock.set(_version_key(product), write_record(version, generations))
            except redis.RedisError:
                self._unlink(product, made)
                raise
            self._expire(product, kept=set(generations.values()), until=max([newest, *made]))
        return version

    def extend(
        self, product: str, rows: Mapping[str, pl.DataFrame], *, commit: str, onto: OnlineVersion | None = None
    ) -> OnlineVersion:
        """Adds rows to what is published, in one transaction. See `OnlineStore.extend`."""
        with self._errors("written"), self._locked(product) as lock:
            self._check_keeps()
            state = State.read(product, self._record(product))
            found = [
                (addition.held, self._merged(product, addition, lock)) for addition in additions(state, rows, onto)
            ]
            changes = {held.view.name: [change for _, change in merged] for held, merged in found}
            version = extended(state.version, changes, commit=commit)
            if version is state.version:
                return version
            generations = {name: held.generation for name, held in state.views.items()}
            lock.renew()
            with self._client.pipeline(transaction=True) as pipe:
                lock.watch(pipe)
                for held, merged in found:
                    _queue(pipe, _rows_prefix(product, held.generation), merged)
                pipe.set(_version_key(product), write_record(version, generations))
                lock.execute(pipe)
        return version

    def version(self, product: str) -> OnlineVersion:
        """What is published now. Raises NotPublishedError, OnlineStoreError."""
        with self._errors("read"):
            return self._state(product, self._record(product)).version

    def lookup(self, product: str, asked: Sequence[Lookup]) -> tuple[OnlineVersion, list[OnlineRow]]:
        """Answers in the order asked, all from one version. See `OnlineStore.lookup`."""
        self._breaker.check()
        try:
            with self._errors("read"):
                return self._looked_up(product, asked)
        except OnlineStoreError as error:
            self._breaker.open(error)
            raise

    def _looked_up(self, product: str, asked: Sequence[Lookup]) -> tuple[OnlineVersion, list[OnlineRow]]:
        reader = self._reader
        state = self._states.get(product) or self._state(product, reader.get(_version_key(product)))
        while True:
            try:
                questions = [_question(state, one) for one in asked]
            except FeatureError:
                if (record := reader.get(_version_key(product))) == state.record:
                    raise
                state = self._state(product, record)  # it was an older version that could not answer
                continue
            before, raw, record = self._asked(product, questions)
            if before == record == state.record:  # and so at each row between: no record ever comes back
                answers = iter(raw)
                return state.version, [_answer(*found, answers) for found in questions]
            state = self._state(product, record)

    def _asked(
        self, product: str, questions: Sequence[tuple[Held, bytes | None, int]]
    ) -> tuple[bytes | None, list[list[bytes]], bytes | None]:
        """The version's record before and after, and between the two the members of each question with an entity."""
        pipe = self._reader.pipeline(transaction=False)
        pipe.get(_version_key(product))
        found: list[Any] = []
        for number, (held, entity, moment) in enumerate(questions, start=1):
            if entity is not None:
                key = _rows_prefix(product, held.generation) + entity
                pipe.zrevrangebylex(key, b"(" + time_bytes(moment + 1), b"-", start=0, num=1)
            if not number % _BATCH and number < len(questions):  # a long round trip is no reason to call it away
                found += pipe.execute()
        pipe.get(_version_key(product))
        found += pipe.execute()
        before, *rows, record = found
        return before, rows, record

    def lookup_many(
        self, product: str, view: str, entities: Sequence[tuple[Any, ...]], at: int
    ) -> tuple[OnlineVersion, list[OnlineRow]]:
        """Answers for many entities. See `OnlineStore.lookup_many`."""
        return self.lookup(product, [Lookup(view, entity, at) for entity in entities])

    def withdraw(self, product: str, *, mark: str | None = None) -> bool:
        """Takes a product out; nothing happens when it is not there. See `OnlineStore.withdraw`."""
        with self._errors("written"), self._locked(product) as lock:
            newest = int(self._client.get(_NEXT) or 0)
            is_gone = lock.delete(_version_key(product), _MARKS, product, mark=mark)
            if is_gone or mark is None:
                self._expire(product, kept=set(), until=newest)
        return is_gone

    def mark(self, product: str) -> None:
        """Says that somebody looks a product up. See `OnlineStore.mark`."""
        with self._errors("written"):
            self._client.eval(_MARK_IF_THERE, 2, _version_key(product), _MARKS, product, secrets.token_hex(8))

    def marks(self) -> Mapping[str, str]:
        """By product what is published, its mark. See `OnlineStore.marks`."""
        with self._errors("read"):
            found = self._client.scan_iter(match=_escaped(_VERSIONS) + b"*", count=_BATCH)
            products = {key[len(_VERSIONS) :] for key in found}
            marks = self._client.hgetall(_MARKS)
        return {product.decode(): marks.get(product, b"").decode() for product in products}

    def close(self) -> None:
        """Lets go of the connections."""
        self._breaker.close()
        self._client.close()
        self._reader.close()

    def _probe(self) -> None:
        with self._errors("read"):
            self._reader.ping()

    def _record(self, product: str) -> bytes | None:
        found: bytes | None = self._client.get(_version_key(product))
        return found

    def _state(self, product: str, record: bytes | None) -> State:
        found = self._states[product] = State.read(product, record)
        return found

    def _write(self, prefix: bytes, rows: Iterator[tuple[bytes, bytes, bytes]], lock: Lock) -> None:
        pipe = self._client.pipeline(transaction=False)
        for number, (entity, at, value) in enumerate(rows, start=1):
            pipe.zadd(prefix + entity, {at + value: 0})
            if not number % _BATCH:
                pipe.execute()
                lock.renew()
        pipe.execute()

    def _merged(self, product: str, addition: Addition, lock: Lock) -> list[tuple[bytes, Merged]]:
        """By entity what added rows change."""
        prefix, found = _rows_prefix(product, addition.held.generation), []
        entities = list(addition.rows)
        for start in range(0, len(entities), _BATCH):
            pipe = self._client.pipeline(transaction=False)
            for entity in entities[start : start + _BATCH]:
                after = addition.rows[entity][0][0] + _HIGHEST
                pipe.zrevrangebylex(prefix + entity, b"[" + after, b"-", start=0, num=1)
                pipe.zrangebylex(prefix + entity, b"(" + after, b"+")
            answers = iter(pipe.execute())
            for entity in entities[start : start + _BATCH]:
                there = [(row[:TIME_BYTES], row[TIME_BYTES:]) for row in [*next(answers), *next(answers)]]
                found.append((entity, merged(there, addition.rows[entity], addition.since)))
            lock.renew()
        return found

    def _check_keeps(self) -> None:
        """Refuses a server that throws keys away: entities would become unknown."""
        memory = self._client.info("memory")
        if int(memory.get("maxmemory", 0)) and str(memory.get("maxmemory_policy", "")).startswith("allkeys"):
            raise OnlineStoreError(
                location=self._location,
                action="written",
                reason=f"its maxmemory-policy {memory['maxmemory_policy']} throws keys away",
                remedy="Set noeviction, or a volatile policy.",
            )

    def _keys(self, product: str) -> Iterator[tuple[bytes, int]]:
        """Keys of a product's rows, with their generation."""
        prefix = _product_prefix(product)
        for key in self._client.scan_iter(match=_escaped(prefix) + b"*", count=_BATCH):
            yield key, int(key[len(prefix) :].partition(b":")[0])

    def _expire(self, product: str, *, kept: set[int], until: int) -> None:
        """Lets rows expire of replaced generations, and of publishers that died; not those of one that began later."""
        old = [key for key, generation in self._keys(product) if generation not in kept and generation <= until]
        pipe = self._client.pipeline(transaction=False)
        for key in old:
            pipe.ttl(key)
        ends = pipe.execute()
        for key, seconds in zip(old, ends, strict=True):
            if seconds == _NO_END:  # one that ends already keeps its end
                pipe.expire(key, max(1, round(self._grace)))
        pipe.execute()

    def _unlink(self, product: str, generations: Sequence[int]) -> None:
        """Takes away what a publication wrote that failed, as far as Redis answers."""
        with suppress(redis.RedisError):
            if keys := [key for key, generation in self._keys(product) if generation in generations]:
                self._client.unlink(*keys)

    @contextmanager
    def _locked(self, product: str) -> Iterator[Lock]:
        """One publisher of a product at a time; the lock of one that died ends by itself."""
        lock = Lock(self._client, _PREFIX + b"lock:" + product.encode())
        lock.take()
        try:
            yield lock
        finally:
            lock.release()

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except redis.exceptions.LockError as error:
            raise OnlineStoreError(
                location=self._location,
                action=action,
                reason=str(error),
                remedy="Nothing of it is seen. Do it again when no other publication is under way.",
            ) from error
        except redis.RedisError as error:
            raise OnlineStoreError(
                location=self._location,
                action=action,
                reason=str(error) or type(error).__name__,
                remedy="See whether Redis runs there and has memory left.",
            ) from error


def _connected(url: str, timeout: float) -> Any:
    """A client that tries again at once, and only on a connection that the server had closed: a wait is waited for once."""
    again = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=again)


def _queue(pipe: Any, prefix: bytes, changes: Sequence[tuple[bytes, Merged]]) -> None:
    for entity, (removed, put) in changes:
        if removed:
            pipe.zrem(prefix + entity, *(at + value for at, value in removed))
        if put:
            pipe.zadd(prefix + entity, {at + value: 0 for at, value in put})


def _question(state: State, asked: Lookup) -> tuple[Held, bytes | None, int]:
    view, entity, at = asked
    held = state.held(view, at)
    return held, held.entity(entity), held.moment(at)


def _answer(held: Held, entity: bytes | None, moment: int, answers: Iterator[list[bytes]]) -> OnlineRow:
    members = [] if entity is None else next(answers)
    return held.row(members[0][TIME_BYTES:], moment) if members else held.nothing


def _version_key(product: str) -> bytes:
    return _VERSIONS + product.encode()


def _product_prefix(product: str) -> bytes:
    return _PREFIX + b"rows:" + product.encode() + b":"


def _rows_prefix(product: str, generation: int) -> bytes:
    return _product_prefix(product) + str(generation).encode() + b":"


def _escaped(pattern: bytes) -> bytes:
    return b"".join(b"\\" + bytes([byte]) if byte in b"*?[]\\^" else bytes([byte]) for byte in pattern)
