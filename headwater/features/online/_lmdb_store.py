"""The embedded online store: one LMDB file, mapped into memory, read by many processes while one publishes.

LMDB's readers see the last commit whole, and a publication is one commit: nothing between two versions is ever seen, by a
lookup or after a crash. Keys: `f` the format, `g` the next generation, `v<product>` a version with the generation of each
view, `m<product>` its mark, `r<generation><entity><time>` a row, an entity's newest first.
"""

import errno
import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import lmdb
import polars as pl

from headwater.features.errors import OnlineStoreError
from headwater.features.online._extension import Addition, Merged, additions, extended, merged
from headwater.features.online._interface import Lookup, OnlineContent, OnlineRow, OnlineTable, OnlineVersion
from headwater.features.online._rows import entries
from headwater.features.online._seek import Known, backwards, rows_from_time, rows_prefix
from headwater.features.online._state import State, renewed, write_record

FORMAT: Final = b"headwater online store 2"
_FORMAT_KEY, _NEXT_KEY, _VERSION, _MARK = b"f", b"g", b"v", b"m"
_READERS: Final = 1_024
_DATA: Final = "data.mdb"


class EmbeddedOnlineStore:
    """An online store in a folder. Needs the extra `serve`; see `headwater.features.online.OnlineStore`."""

    def __init__(self, folder: Path, *, largest: int = 16 * 2**30, read_only: bool = False) -> None:
        """Opens the store, and makes it when it is not there.

        Args:
            folder: Its folder, on a local disk.
            largest: Bytes that it may grow to. Address space alone; the file is as large as what is in it.
            read_only: Opens what is there and never writes to it.

        Raises:
            OnlineStoreError: It is of another format, or the folder cannot be used.
        """
        self.folder, self._largest, self._read_only = folder, largest, read_only
        self._versions: dict[str, Known] = {}
        self._environment: tuple[int, lmdb.Environment] | None = None
        with self._errors("opened"):
            there = self._format()
        if there != FORMAT:
            self.close()
            raise _not_ours(folder, there)

    def _format(self) -> bytes | None:
        with self._reading() as txn:
            there = _get(txn, _FORMAT_KEY)
        if there is None and not self._read_only:
            with self._writing() as txn:
                txn.put(_FORMAT_KEY, FORMAT, overwrite=False)  # who came first has made it
                there = _get(txn, _FORMAT_KEY)
        return there

    def publish(self, product: str, content: OnlineContent, *, commit: str) -> OnlineVersion:
        """Puts a product's views in place of those there were, in one commit. See `OnlineStore.publish`."""
        with self._errors("written"), self._writing() as txn:

            def write(table: OnlineTable) -> int:
                generation = _next_generation(txn)
                prefix = rows_prefix(generation)
                for entity, time, value in entries(table):
                    txn.put(prefix + entity + backwards(time), value)
                return generation

            record = _get(txn, _VERSION + product.encode())
            before = State.read(product, record) if record else None
            version, generations = renewed(before, product, content, commit=commit, write=write)
            txn.put(_VERSION + product.encode(), write_record(version, generations))
            if _get(txn, _MARK + product.encode()):
                txn.put(_MARK + product.encode(), _new_mark())
            for old in before.views.values() if before else ():
                if old.generation not in generations.values():
                    _forget(txn, old.generation)
        return version

    def extend(
        self, product: str, rows: Mapping[str, pl.DataFrame], *, commit: str, onto: OnlineVersion | None = None
    ) -> OnlineVersion:
        """Adds rows to what is published, in one commit. See `OnlineStore.extend`."""
        with self._errors("written"), self._writing() as txn:
            key = _VERSION + product.encode()
            state = State.read(product, _get(txn, key))
            changes = {added.held.view.name: _extend(txn.cursor(), added) for added in additions(state, rows, onto)}
            version = extended(state.version, changes, commit=commit)
            if version is not state.version:
                txn.put(key, write_record(version, {name: held.generation for name, held in state.views.items()}))
        return version

    def version(self, product: str) -> OnlineVersion:
        """What is published now. Raises NotPublishedError, OnlineStoreError."""
        with self._errors("read"), self._reading() as txn:
            return self._known(txn, product).state.version

    def lookup(self, product: str, asked: Sequence[Lookup]) -> tuple[OnlineVersion, list[OnlineRow]]:
        """Answers in the order asked, all from one version. See `OnlineStore.lookup`."""
        try:
            with self._reading() as txn:
                known = self._known(txn, product)
                return known.state.version, known.answers(txn, asked)
        except (lmdb.Error, OSError) as error:
            raise self._error("read", error) from error

    def lookup_many(
        self, product: str, view: str, entities: Sequence[tuple[Any, ...]], at: int
    ) -> tuple[OnlineVersion, list[OnlineRow]]:
        """Answers for many entities. See `OnlineStore.lookup_many`."""
        try:
            with self._reading() as txn:
                known = self._known(txn, product)
                return known.state.version, known.many(txn, view, entities, at)
        except (lmdb.Error, OSError) as error:
            raise self._error("read", error) from error

    def withdraw(self, product: str, *, mark: str | None = None) -> bool:
        """Takes a product out; nothing happens when it is not there. See `OnlineStore.withdraw`."""
        key, its_mark = _VERSION + product.encode(), _MARK + product.encode()
        with self._errors("written"), self._writing() as txn:
            if (record := _get(txn, key)) is None or mark not in (None, (_get(txn, its_mark) or b"").decode()):
                return False
            txn.delete(key)
            txn.delete(its_mark)
            for held in State.read(product, record).views.values():
                _forget(txn, held.generation)
        with self._errors("written"), self._writing() as txn:  # LMDB uses room again from the next commit but one on
            txn.put(_FORMAT_KEY, FORMAT)
        return True

    def mark(self, product: str) -> None:
        """Says that somebody looks a product up. See `OnlineStore.mark`."""
        with self._errors("written"), self._writing() as txn:
            if _get(txn, _VERSION + product.encode()) is not None:
                txn.put(_MARK + product.encode(), _new_mark())

    def marks(self) -> Mapping[str, str]:
        """By product what is published, its mark. See `OnlineStore.marks`."""
        with self._errors("read"), self._reading() as txn:
            products = [key[len(_VERSION) :] for key in _keys(txn, _VERSION)]
            return {product.decode(): (_get(txn, _MARK + product) or b"").decode() for product in products}

    def close(self) -> None:
        """Lets go of the file."""
        if self._environment is not None:
            _ENVIRONMENTS.release(self._environment)
            self._environment = None

    def _reading(self) -> lmdb.Transaction:
        found = self._open()
        try:
            return found.begin()
        except lmdb.MapResizedError:  # another process opened it for more
            found.set_mapsize(0)
            return found.begin()

    def _writing(self) -> lmdb.Transaction:
        found = self._open()
        if not (self.folder / _DATA).is_file():
            raise OSError(errno.ENOENT, "its folder was removed while it was open; start anew what uses it")
        found.reader_check()  # rows that a killed reader held can be used again
        try:
            return found.begin(write=True)
        except lmdb.MapResizedError:
            found.set_mapsize(0)
            return found.begin(write=True)

    def _open(self) -> lmdb.Environment:
        """The environment of this process: a forked one must not use its parent's."""
        if self._environment is None or self._environment[0] != os.getpid():
            self._environment = _ENVIRONMENTS.take(self.folder, largest=self._largest, read_only=self._read_only)
        return self._environment[1]

    def _known(self, txn: lmdb.Transaction, product: str) -> Known:
        record = _get(txn, _VERSION + product.encode())
        known = self._versions.get(product)
        if known is None or known.state.record != record:
            known = self._versions[product] = Known(State.read(product, record))
        return known

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except (lmdb.Error, OSError) as error:
            raise self._error(action, error) from error

    def _error(self, action: str, error: Exception) -> OnlineStoreError:
        if isinstance(error, lmdb.MapFullError):
            reason, remedy = (
                "it is full",
                f"Set HEADWATER_ONLINE_LARGEST to more GiB than {self._largest / 2**30:.3g} (from Python, largest={self._largest} bytes) and "
                "start anew what uses it, or publish a shorter window.",
            )
        else:
            reason = str(error)
            remedy = (
                "Look at the disk and at the rights of the folder. When nothing uses it any more it can be removed, and "
                "published again."
            )
        return OnlineStoreError(location=str(self.folder), action=action, reason=reason, remedy=remedy)


def _not_ours(folder: Path, there: bytes | None) -> OnlineStoreError:
    if there is None:
        reason, remedy = "nobody has published there yet", "Publish first: a service does so when it starts."
    else:
        reason = (
            f"it is of format {there.decode(errors='replace')!r}, and this version of Headwater has {FORMAT.decode()!r}"
        )
        remedy = (
            "Stop what uses it, remove the folder, and start a service of this version: the store is a copy, which a service "
            "publishes again from the lake."
        )
    return OnlineStoreError(location=str(folder), action="opened", reason=reason, remedy=remedy)


def _get(txn: lmdb.Transaction, key: bytes) -> bytes | None:
    found: bytes | None = txn.get(key)
    return found


def _extend(cursor: Any, addition: Addition) -> list[Merged]:
    """Writes what added rows change in a view, and says it."""
    found = []
    for entity, added in addition.rows.items():
        start = rows_prefix(addition.held.generation) + entity
        change = merged(rows_from_time(cursor, start, added[0][0]), added, addition.since)
        for time, _ in change.removed:
            cursor.set_key(start + backwards(time))
            cursor.delete()
        for time, value in change.put:
            cursor.put(start + backwards(time), value)
        found.append(change)
    return found


def _new_mark() -> bytes:
    return secrets.token_hex(8).encode()


def _keys(txn: lmdb.Transaction, prefix: bytes) -> Iterator[bytes]:
    """The keys that begin so."""
    cursor: Any = txn.cursor()
    there = cursor.set_range(prefix)
    while there and (key := bytes(cursor.key())).startswith(prefix):
        yield key
        there = cursor.next()


def _next_generation(txn: lmdb.Transaction) -> int:
    number = int(_get(txn, _NEXT_KEY) or b"1")
    txn.put(_NEXT_KEY, str(number + 1).encode())
    return number


def _forget(txn: lmdb.Transaction, generation: int) -> None:
    prefix = rows_prefix(generation)
    cursor: Any = txn.cursor()
    there = cursor.set_range(prefix)
    while there and cursor.key().startswith(prefix):
        there = cursor.delete()


class _Environments:
    """LMDB's environments of this process: two of one file in one process lose each other's locks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[int, str, bool], list[Any]] = {}

    def take(self, folder: Path, *, largest: int, read_only: bool) -> tuple[int, lmdb.Environment]:
        key = (os.getpid(), os.path.realpath(folder), read_only)
        other = (*key[:2], not read_only)
        with self._lock:
            for inherited in [other for other in self._open if other[0] != key[0]]:
                self._open.pop(inherited)[0].close()  # of the parent, which keeps its own; LMDB refuses a second one
            if other in self._open and read_only:
                key = other  # who may write may read
            elif other in self._open:
                raise OSError(errno.EBUSY, "this process has it open for reading alone; close that first")
            if key not in self._open:
                if not read_only:
                    folder.mkdir(parents=True, exist_ok=True)
                found = lmdb.open(
                    key[1],
                    map_size=largest,
                    max_readers=_READERS,
                    readonly=read_only,
                    create=not read_only,
                    max_spare_txns=8,
                )
                self._open[key] = [found, 0]
            self._open[key][1] += 1
            return key[0], self._open[key][0]

    def release(self, taken: tuple[int, lmdb.Environment]) -> None:
        with self._lock:
            for key, held in list(self._open.items()):
                if key[0] == taken[0] and held[0] is taken[1]:
                    held[1] -= 1
                    if not held[1]:
                        del self._open[key]
                        held[0].close()


_ENVIRONMENTS: Final = _Environments()
