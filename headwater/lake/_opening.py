"""Opening an embedded lake: make it when absent, refuse a newer format, recover what dead processes left."""

import errno
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from headwater.lake import _tree
from headwater.lake._catalog import Catalog, NodeBuffer
from headwater.lake._commits import CommitRow
from headwater.lake._core import Core
from headwater.lake._files import sync, sync_all
from headwater.lake._history import BRANCH
from headwater.lake._layout import FORMAT, FORMAT_PREFIX, Layout, sweep, workspace
from headwater.lake._locks import claimed, locked
from headwater.lake._steps import Step, reached
from headwater.lake._storage import storage_errors
from headwater.lake._views import View
from headwater.lake.errors import DamagedLakeError, LakeFormatError, StorageError, UnsafeStoreError
from headwater.names import MAIN

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_BOOT_MARK: Final = ".boot"
_LOCAL: Final = "Put the state folder on a local disk, or use a lakeFS server."
_FIRST_MESSAGE: Final = "Begin the lake"


def open_core(location: Path, *, create: bool) -> Core:
    """The opened parts of the lake at `location`.

    Raises:
        LakeFormatError: It has a newer format.
        StorageError: It is absent and `create` is False, it lost its catalog, or the disk refuses.
    """
    layout = Layout(Path(os.path.abspath(location)))
    with storage_errors(layout.location, "opened"):
        if not layout.format.exists():
            if not create:
                raise StorageError(
                    location=str(layout.location),
                    action="opened",
                    reason="there is no lake",
                    remedy="Build one with `make run`, or check the state folder's path.",
                )
            _create(layout)
        _check_format(layout)
        if not layout.catalog.exists():  # to look into it would make one
            raise _lost(layout)
        if not os.access(layout.location, os.W_OK):
            return Core(layout, Catalog(layout.catalog, read_only=True), read_only=True)
        core = Core(layout, Catalog(layout.catalog))
        if core.catalog.is_empty() or core.catalog.ref(BRANCH, MAIN) is None:
            core.catalog.close()
            raise _lost(layout)
        with suppress(DamagedLakeError):  # What is whole can still be read, and `verify` says what is not.
            recover(core)
    return core


def _lost(layout: Layout) -> StorageError:
    """Of a lake that was finished, which its format says, and has no commit any more: another beginning would hide what became of it."""
    return StorageError(
        location=str(layout.location),
        action="opened",
        reason=f"{layout.catalog.name} is missing or empty, and with it every commit",
        remedy=f"Put it back from a copy of the lake, with {layout.catalog.name}-wal if there is one. The contents in objects/ are as they were.",
    )


def _check_format(layout: Layout) -> None:
    text = layout.format.read_text(encoding="utf-8").strip()
    number = text.removeprefix(FORMAT_PREFIX)
    if not text.startswith(FORMAT_PREFIX) or not number.isdigit() or int(number) > FORMAT:
        raise LakeFormatError(location=str(layout.location), found=repr(text), supported=f"{FORMAT_PREFIX}{FORMAT}")


def _create(layout: Layout) -> None:
    """Makes what is missing; a process that dies in between leaves what the next one completes."""
    if layout.location.exists() and not layout.location.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "a file stands there")
    layout.location.mkdir(parents=True, exist_ok=True)
    with locked(layout.location / "create.lock"):
        for folder in layout.folders():
            folder.mkdir(parents=True, exist_ok=True)
        catalog = Catalog(layout.catalog)
        catalog.create()
        if catalog.ref(BRANCH, MAIN) is None:
            _first_commit(catalog)
        catalog.close()
        reached(Step.FOUNDED)
        if not layout.format.exists():
            temporary = layout.location / "format.new"
            temporary.write_text(f"{FORMAT_PREFIX}{FORMAT}\n", encoding="utf-8")
            sync(temporary)
            temporary.replace(layout.format)
        sync_all((layout.objects, layout.location, layout.location.parent))


def _first_commit(catalog: Catalog) -> None:
    nodes = NodeBuffer(catalog)
    tree = _tree.build(nodes, {})
    row = CommitRow.make(parents=(), tree=tree, message=_FIRST_MESSAGE, created=datetime.now(UTC), metadata={})
    with catalog.writing() as connection:
        catalog.insert_commit(connection, row, changed=(), nodes=nodes.pending)
        connection.execute("INSERT INTO refs VALUES (?, ?, ?, 1)", (MAIN, BRANCH, row.id))


def recover(core: Core) -> None:
    """Sweeps what dead processes left and brings the view of main up to date. Live transactions are not touched."""
    sweep(core.layout)
    _distrust_after_boot(core)
    view = View(core, MAIN)
    if view.shown != core.head(MAIN).id:
        with core.branch_lock(MAIN):
            view.show(core.head(MAIN))


def _distrust_after_boot(core: Core) -> None:
    """Drops all checkouts after the machine went down: they are derived and never synced, so some may be incomplete."""
    mark = core.layout.checkouts / _BOOT_MARK
    if not (mark.exists() and mark.read_text(encoding="utf-8") == _boot()):
        with core.branch_lock(MAIN):
            if not (mark.exists() and mark.read_text(encoding="utf-8") == _boot()):
                _derive(core)


def derive_anew(core: Core) -> None:
    """Drops every checkout and view and makes main's view again."""
    with core.branch_lock(MAIN):
        _derive(core)


def _boot() -> str:
    return _BOOT_ID.read_text(encoding="utf-8").strip() if _BOOT_ID.exists() else "unknown"


def _derive(core: Core) -> None:
    for file in core.layout.marks.iterdir():
        file.unlink()
    with workspace(core.layout) as space:
        for folder in core.layout.checkouts.iterdir():
            if folder.is_dir():
                folder.rename(space.fresh())
        View(core, MAIN).show(core.head(MAIN), space=space)
        fresh = space.fresh()
        fresh.write_text(_boot(), encoding="utf-8")
        fresh.replace(core.layout.checkouts / _BOOT_MARK)


def probe(core: Core) -> None:
    """Checks that locks exclude and that the catalog keeps a write-ahead log, as no network file system does.

    Raises:
        UnsafeStoreError: One of them does not hold here.
    """
    location = str(core.layout.location)
    if core.catalog.rows("PRAGMA journal_mode")[0][0] != "wal":
        raise UnsafeStoreError(location=location, reason="SQLite can keep no write-ahead log there", remedy=_LOCAL)
    with workspace(core.layout) as space, claimed(space.folder) as claim:
        if claim:
            raise UnsafeStoreError(location=location, reason="file locks do not exclude there", remedy=_LOCAL)
