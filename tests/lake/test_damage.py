"""Damage, strays and hostile disks: each is found, named, and loses nothing."""

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from headwater.lake import EmbeddedLake, WriteMode, _export, _files, _opening
from headwater.lake.errors import DamagedLakeError, LakeFormatError, StorageError, TableReadError
from headwater.names import MAIN
from tests.lake.processes import APPENDED, FOLDER, NEXT, WRITTEN, append, change, found, start, versions
from tests.small_disk import small_disk


@pytest.fixture
def lake(tmp_path: Path) -> EmbeddedLake:
    lake = found(tmp_path / "lake")
    assert isinstance(lake, EmbeddedLake)
    change(lake, tmp_path)
    return lake


def _objects(lake: EmbeddedLake) -> list[Path]:
    return sorted(file for file in (lake.location / "objects").rglob("*") if file.is_file())


def _flip(file: Path) -> None:
    file.chmod(0o644)
    with file.open("r+b") as handle:
        handle.seek(file.stat().st_size // 2)
        byte = handle.read(1)[0]
        handle.seek(-1, os.SEEK_CUR)
        handle.write(bytes([byte ^ 1]))


def test_one_flipped_byte_in_any_object_is_found_and_forgotten_when_flipped_back(lake: EmbeddedLake) -> None:
    assert lake.verify().clean
    for file in _objects(lake):
        if file.stat().st_size == 0:
            continue
        _flip(file)
        assert file.name in {finding.name for finding in lake.verify().findings}
        _flip(file)
    assert lake.verify(deep=True).clean


def test_a_missing_object_is_found(lake: EmbeddedLake) -> None:
    victim = _objects(lake)[0]
    victim.unlink()
    assert [(finding.what, finding.name) for finding in lake.verify().findings] == [("object", victim.name)]


def test_a_file_among_the_objects_that_is_no_object_is_found(lake: EmbeddedLake) -> None:
    (lake.location / "objects" / "ab" / "stray").write_text("x")
    assert [finding.what for finding in lake.verify().findings] == ["object"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE nodes SET data = replace(data, 'leaf', 'laef')", "tree"),
        ("UPDATE commits SET data = replace(data, 'Next', 'Nixt')", "commit"),
        ("UPDATE refs SET commit_id = replace(commit_id, substr(commit_id, 1, 8), '00000000')", "ref"),
        ("DELETE FROM nodes WHERE rowid = (SELECT max(rowid) FROM nodes)", "commit"),
        ("UPDATE commits SET tree = replace(tree, substr(tree, 1, 8), '00000000')", "commit"),
    ],
)
def test_a_changed_row_of_the_catalog_is_found(lake: EmbeddedLake, change: str, what: str) -> None:
    location = lake.location
    lake.close()
    with sqlite3.connect(location / "catalog.sqlite") as connection:
        connection.execute(change)
    connection.close()
    assert what in {finding.what for finding in EmbeddedLake.open(location).verify().findings}


@pytest.mark.parametrize("left", [None, b"", "another"])
@pytest.mark.parametrize("create", [True, False])
def test_a_lake_that_lost_its_catalog_is_not_begun_anew(
    lake: EmbeddedLake, tmp_path: Path, left: bytes | str | None, create: bool
) -> None:
    """Whoever only looked, too, made an empty lake of it: its first commit stood on main, above all the contents."""
    location, head = lake.location, lake.resolve(MAIN).id
    lake.close()
    catalog, copy = location / "catalog.sqlite", tmp_path / "copy.sqlite"
    for part in ("", "-wal", "-shm"):
        file = location / f"catalog.sqlite{part}"
        if file.exists():
            file.rename(f"{copy}{part}")
    if isinstance(left, bytes):
        catalog.write_bytes(left)
    elif left:
        sqlite3.connect(catalog).execute("CREATE TABLE notes (text)").connection.close()
    for _ in range(2):
        with pytest.raises(
            StorageError, match=r"catalog\.sqlite is missing or empty, and with it every commit\. Put it"
        ):
            EmbeddedLake.open(location, create=create)
    assert catalog.exists() is (left is not None)
    for part in ("", "-wal", "-shm"):
        (location / f"catalog.sqlite{part}").unlink(missing_ok=True)
        if Path(f"{copy}{part}").exists():
            Path(f"{copy}{part}").rename(location / f"catalog.sqlite{part}")
    again = EmbeddedLake.open(location)
    assert again.resolve(MAIN).id == head
    assert again.verify(deep=True).clean


def test_a_stray_append_in_the_view_cannot_poison_a_read_and_is_found_and_repaired(lake: EmbeddedLake) -> None:
    before = lake.at(MAIN).table(APPENDED).collect()
    write_deltalake(str(lake.location / "main" / APPENDED), NEXT, mode="append")
    assert DeltaTable(str(lake.location / "main" / APPENDED)).version() == 2
    assert lake.at(MAIN).table(APPENDED).collect().equals(before)
    findings = lake.verify().findings
    assert {finding.what for finding in findings} == {"view"}
    assert len(findings) == 2
    append(lake)
    assert lake.at(MAIN).entry(APPENDED).rows == before.height + NEXT.height
    assert lake.at(MAIN).table(APPENDED).collect().height == before.height + NEXT.height
    lake.repair()
    assert lake.verify(deep=True).clean


def test_a_file_put_into_the_view_is_found(lake: EmbeddedLake) -> None:
    (lake.location / "main" / "shop" / "notes.txt").write_text("mine")
    assert [finding.name for finding in lake.verify().findings] == ["main/shop/notes.txt"]


def test_truncating_a_file_of_a_folder_asset_does_not_reach_the_object(lake: EmbeddedLake) -> None:
    file = lake.location / "main" / FOLDER / "sub" / "weights"
    file.chmod(0o644)
    file.write_bytes(b"truncated in place, as torch.save does")
    assert [finding.what for finding in lake.verify().findings] == ["view"]
    lake.repair()
    assert (lake.at(MAIN).folder(FOLDER) / "sub" / "weights").read_bytes() == bytes([2]) * 5000
    assert lake.verify().clean


def test_a_truncated_parquet_file_is_a_clear_error(lake: EmbeddedLake) -> None:
    folder = lake.location / "main" / WRITTEN
    (victim,) = [file for file in folder.iterdir() if file.suffix == ".parquet"]
    victim.chmod(0o644)
    os.truncate(victim, 100)
    with pytest.raises(TableReadError, match=rf"{WRITTEN}.*is damaged: 100 bytes"):
        lake.at(MAIN).table(WRITTEN)
    assert not lake.verify().clean
    assert lake.at(MAIN).table(APPENDED).collect().height == 5


def test_a_missing_parquet_file_is_a_clear_error(lake: EmbeddedLake) -> None:
    folder = lake.location / "main" / WRITTEN
    next(file for file in folder.iterdir() if file.suffix == ".parquet").unlink()
    with pytest.raises(TableReadError, match="is missing"):
        lake.at(MAIN).delta(WRITTEN)


def test_a_table_of_a_newer_protocol_is_a_clear_error(tmp_path: Path) -> None:
    from headwater.lake._tables import local, open_delta, scan

    write_deltalake(str(tmp_path / "table"), NEXT)
    log = tmp_path / "table" / "_delta_log" / f"{0:020d}.json"
    newer = '{"protocol":{"minReaderVersion":9,"minWriterVersion":9}}'
    lines = [newer if "protocol" in line else line for line in log.read_text().splitlines()]
    log.write_text("\n".join(lines))
    with pytest.raises(TableReadError, match="shop/newer"):
        scan(open_delta(local(tmp_path / "table"), path="shop/newer"), path="shop/newer")


def test_a_lake_of_a_newer_format_is_refused_and_left_alone(lake: EmbeddedLake) -> None:
    (lake.location / "format").write_text("headwater-lake 2\n")
    before = sorted(lake.location.rglob("*"))
    with pytest.raises(LakeFormatError, match="headwater-lake 2"):
        EmbeddedLake.open(lake.location)
    assert sorted(lake.location.rglob("*")) == before


def test_an_absent_lake_is_not_made_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no lake"):
        EmbeddedLake.open(tmp_path / "lake", create=False)
    assert not (tmp_path / "lake").exists()


def test_after_the_machine_went_down_every_derived_folder_is_made_anew(
    lake: EmbeddedLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    next(file for file in (lake.location / "main" / WRITTEN).iterdir() if file.suffix == ".parquet").unlink()
    boot = tmp_path / "boot"
    boot.write_text("another boot")
    monkeypatch.setattr(_opening, "_BOOT_ID", boot)
    again = EmbeddedLake.open(lake.location)
    assert again.at(MAIN).table(WRITTEN).collect().equals(NEXT)
    assert again.verify(deep=True).clean


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_where_there_can_be_no_more_links_there_are_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(source: object, target: object) -> None:
        if Path(str(target)).exists():
            raise FileExistsError(errno.EEXIST, "exists")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(_files.os, "link", refuse)
    lake = found(tmp_path / "lake")
    assert isinstance(lake, EmbeddedLake)
    change(lake, tmp_path)
    append(lake)
    assert lake.at(MAIN).table(APPENDED).collect().height == 7
    assert lake.verify(deep=True).clean
    assert {file.stat().st_nlink for file in _objects(lake)} == {1}


def _use_read_only(location: Path) -> None:
    """In a process without the rights of root: reads go on, writes are clear errors."""
    os.setuid(65534)
    lake = EmbeddedLake.open(location)
    assert lake.at(MAIN).table(APPENDED).collect().height == 5
    assert len(list(lake.log())) == 3
    assert lake.verify().clean
    for use in (
        lambda: append(lake),
        lambda: lake.create_branch("dev"),
        lambda: lake.tag("v1", at=MAIN),
        lambda: lake.merge("main~1", into=MAIN, message="Merge"),
        lambda: EmbeddedLake.open(location / "inner"),
    ):
        with pytest.raises(StorageError, match="writable"):
            use()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest keeps its own to itself."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
def test_a_read_only_lake_can_be_read_and_says_why_it_cannot_be_written(open_folder: Path) -> None:
    lake = found(open_folder / "lake")
    assert isinstance(lake, EmbeddedLake)
    change(lake, open_folder)
    lake.close()
    for folder in (lake.location, *(path for path in lake.location.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    process = start(_use_read_only, lake.location)
    process.join(60)
    assert process.exitcode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 3 MiB."""
    with small_disk(tmp_path / "disk", "3m") as place:
        yield place


def test_a_full_disk_is_a_clear_error_and_loses_nothing(disk: Path, tmp_path: Path) -> None:
    lake = found(disk / "lake")
    assert isinstance(lake, EmbeddedLake)
    before, commits = versions(lake), list(lake.log())
    big = pl.DataFrame({"noise": [os.urandom(1 << 20) for _ in range(6)]})
    with pytest.raises(StorageError, match="Free some space"), lake.transaction() as tx:
        tx.write_table("shop/big", big)
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "w").write_bytes(os.urandom(6 << 20))
    with pytest.raises(StorageError, match="Free some space"), lake.transaction() as tx:
        tx.write_folder("shop/weights", weights)
    assert (versions(lake), list(lake.log())) == (before, commits)
    assert lake.verify(deep=True).clean
    append(lake)
    assert lake.at(MAIN).entry(APPENDED).rows == 5


def _refuse(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["link", "fsync", "mkdir", "chmod"])
def test_a_disk_that_fills_up_before_the_commit_publishes_nothing(
    lake: EmbeddedLake, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = versions(lake)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, _refuse)
        with pytest.raises(StorageError, match=r"No space left on device. Free some space"):
            append(lake, id="tx-full")
    lake = EmbeddedLake.open(lake.location)
    assert versions(lake) == before
    assert lake.verify(deep=True).clean
    assert list((lake.location / "tx").iterdir()) == []
    assert append(lake, id="tx-full").changed
    assert lake.at(MAIN).table(APPENDED).collect().height == 7


@pytest.mark.parametrize("call", ["rename", "replace", "symlink"])
def test_a_disk_that_fills_up_after_the_commit_does_not_undo_it(
    lake: EmbeddedLake, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, call, _refuse)
        assert append(lake, id="tx-full").changed
    lake = EmbeddedLake.open(lake.location)
    assert lake.at(MAIN).table(APPENDED).collect().height == 7
    assert DeltaTable(str(lake.location / "main" / APPENDED)).version() == 2
    assert lake.verify(deep=True).clean
    assert append(lake, id="tx-full").replayed


def _before_copy(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None]) -> None:
    """Does something else when an export begins to copy its file of this number, from 1 on."""
    copied = []

    def copy(source: Path, target: Path) -> None:
        copied.append(target)
        if len(copied) == number:
            act()
        _files.copy(source, target)

    monkeypatch.setattr(_export, "copy", copy)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), StorageError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (DamagedLakeError(what="object", name="gone"), DamagedLakeError),
    ],
    ids=["full disk", "Ctrl-C", "damage"],
)
def test_an_export_that_fails_leaves_what_others_put_there_and_nothing_of_its_own(
    lake: EmbeddedLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, told: type[BaseException]
) -> None:
    """A full disk and Ctrl-C left half of a commit, and damage took away what else lay there; a file there hid the cause."""
    out = tmp_path / "out"

    def fail() -> None:
        (out / "mine").mkdir()
        (out / "mine" / "thesis").write_text("mine")
        (out / "notes").write_text("mine")
        raise error

    with monkeypatch.context() as patch:
        _before_copy(patch, 3, fail)
        with pytest.raises(told):
            lake.checkout(MAIN, out)
    assert sorted(file.name for file in out.rglob("*")) == ["mine", "notes", "thesis"]
    shutil.rmtree(out / "mine")
    (out / "notes").unlink()
    lake.checkout(MAIN, out)
    assert pl.read_delta(str(out / WRITTEN)).equals(lake.at(MAIN).table(WRITTEN).collect())


@pytest.mark.parametrize("number", [2, 4, 6], ids=lambda number: f"copy {number}")
@pytest.mark.parametrize("goes", ["all", "its folder"])
def test_an_export_whose_destination_goes_away_says_so_and_blames_no_object(
    lake: EmbeddedLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes: str, number: int
) -> None:
    """It was told to restore the lake from a copy; or it ended well without what was copied before."""
    out = tmp_path / "out"

    def remove() -> None:
        folders = [out] if goes == "all" else [made for made in out.rglob("shop") if made.is_dir()]
        for folder in folders:
            shutil.rmtree(folder)

    _before_copy(monkeypatch, number, remove)
    with pytest.raises(StorageError, match=f"{out} could not be checked out to: .* went away"):
        lake.checkout(MAIN, out)
    assert not out.exists() or not list(out.iterdir())


def test_a_part_of_an_export_that_goes_away_between_two_assets_is_missed(
    lake: EmbeddedLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next asset made the folders anew, and the export ended well without the one before."""
    out, copied = tmp_path / "out", _export._copy

    def overtaken(*given: Any) -> None:
        shutil.rmtree(out)
        copied(*given)

    monkeypatch.setattr(_export, "_copy", overtaken)
    with pytest.raises(StorageError, match="went away"):
        lake.checkout(MAIN, out)


def test_an_export_in_the_making_looks_like_nothing_else(
    lake: EmbeddedLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process leaves; half of a commit looked like one."""
    out, seen = tmp_path / "out", list[str]()
    _before_copy(monkeypatch, 4, lambda: seen.extend(made.name for made in out.iterdir()))
    lake.checkout(MAIN, out)
    assert [name[:-16] for name in seen] == ["unfinished-checkout-"]
    assert sorted(made.name for made in out.iterdir()) == sorted({path.split("/")[0] for path in lake.at(MAIN).paths()})


def test_an_export_fills_the_folder_that_is_there_and_replaces_it_with_no_other(
    lake: EmbeddedLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell may stand in it, and it may be a mount or a link."""
    (tmp_path / "real").mkdir(mode=0o2750)
    (tmp_path / "out").symlink_to("real")
    before = (tmp_path / "real").stat()
    monkeypatch.chdir(tmp_path / "out")
    lake.checkout(MAIN, Path())
    assert Path(WRITTEN).is_dir()
    after = (tmp_path / "real").stat()
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)


def test_an_export_takes_the_place_of_nothing_that_came_meanwhile(
    lake: EmbeddedLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    _before_copy(monkeypatch, 4, (out / WRITTEN.split("/")[0]).mkdir)
    with pytest.raises(StorageError, match="not empty"):
        lake.checkout(MAIN, out)
    assert list(out.rglob("*")) == [out / WRITTEN.split("/")[0]]


def test_an_export_that_cannot_be_put_in_place_takes_back_what_is_there(
    lake: EmbeddedLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lake.transaction() as tx:
        tx.write_table("web/table", NEXT)
        tx.publish(message="Another product", provenance=None)
    out, rename = tmp_path / "out", os.rename

    def refuse(source: Path, target: Path) -> None:
        if target == out / "web":
            _refuse()
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(StorageError, match="Free some space"):
        lake.checkout(MAIN, out)
    assert list(out.iterdir()) == []


def test_an_asset_that_is_named_twice_is_exported_once(lake: EmbeddedLake, tmp_path: Path) -> None:
    """Its second copy met its first: a bare FileExistsError, and half of an export."""
    lake.checkout(MAIN, tmp_path / "out", paths=[WRITTEN, WRITTEN])
    assert pl.read_delta(str(tmp_path / "out" / WRITTEN)).equals(lake.at(MAIN).table(WRITTEN).collect())


def test_reading_a_folder_whose_object_is_gone_says_so(lake: EmbeddedLake) -> None:
    victim = max(_objects(lake), key=lambda file: file.stat().st_size)
    victim.unlink()
    shutil.rmtree(lake.location / "checkouts")
    (lake.location / "checkouts").mkdir()
    with pytest.raises(DamagedLakeError, match=victim.name):
        lake.at(MAIN).folder(FOLDER)


def test_a_lake_cannot_stand_where_a_file_stands(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        EmbeddedLake.open(tmp_path / "file")
    with pytest.raises(StorageError):
        EmbeddedLake.open(tmp_path / "file" / "lake")


def test_a_damaged_object_is_replaced_when_its_content_is_written_again(lake: EmbeddedLake, tmp_path: Path) -> None:
    victim = max(_objects(lake), key=lambda file: file.stat().st_size)
    victim.chmod(0o644)
    os.truncate(victim, 10)
    assert not lake.verify().clean
    shutil.rmtree(tmp_path / "source-2", ignore_errors=True)
    with lake.transaction() as tx:
        from tests.lake.processes import source

        tx.write_folder("shop/other", source(tmp_path, 2))
        tx.publish(message="Other", provenance=None)
    assert lake.verify().clean


def test_a_lake_can_be_copied_as_plain_files(lake: EmbeddedLake, tmp_path: Path) -> None:
    lake.close()
    shutil.copytree(lake.location, tmp_path / "copy", symlinks=True)
    copy = EmbeddedLake.open(tmp_path / "copy")
    assert versions(copy) == versions(lake)
    assert copy.verify(deep=True).clean
    with copy.transaction() as tx:
        tx.write_table(WRITTEN, NEXT, mode=WriteMode.APPEND)
        tx.publish(message="On the copy", provenance=None)
    assert versions(copy) != versions(lake)
