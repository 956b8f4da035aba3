"""Landed files are read again when they changed, and not at every look."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from headwater.code_version import code_version
from headwater.lake import EmbeddedLake
from headwater.materialize import Run, _file_digests, materialize, why_stale
from headwater.materialize._file_digests import YOUNG, FileDigests
from headwater.product import Asset, Inputs, table

Reads = list[Path]


def later() -> int:
    """A clock by which no file is young."""
    return time.time_ns() + 2 * YOUNG


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Files that were really read, in order."""
    found: Reads = []
    read: Callable[[Path], str] = _file_digests.file_sha256

    def told(file: Path) -> str:
        found.append(file)
        return read(file)

    monkeypatch.setattr(_file_digests, "file_sha256", told)
    return found


def test_a_file_is_read_once_and_again_when_it_changed(tmp_path: Path, reads: Reads) -> None:
    file, digests = tmp_path / "june.csv", FileDigests(clock=later)
    for text in ("one", "two", "three and more"):
        file.write_text(text)
        assert [digests.sha256(file) for _ in range(3)] == [sha256(text)] * 3
    assert len(reads) == 3


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path, reads: Reads) -> None:
    """`cp -p` of a corrected file, or whoever sets the time back: the inode's own time cannot be set."""
    file, digests = tmp_path / "june.csv", FileDigests(clock=later)
    file.write_text("one")
    found = file.stat()
    assert digests.sha256(file) == sha256("one")
    file.write_text("two")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (found.st_size, found.st_mtime_ns)
    assert digests.sha256(file) == sha256("two")
    other = tmp_path / "part"
    other.write_text("six")
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.replace(file)
    assert digests.sha256(file) == sha256("six")
    assert len(reads) == 3


def test_a_file_that_has_just_changed_is_read_again_until_its_clock_has_gone_on(tmp_path: Path, reads: Reads) -> None:
    """Two writes within one tick of a file's clock have the same stamp."""
    file, moment = tmp_path / "june.csv", [0]
    file.write_text("one")
    digests = FileDigests(clock=lambda: file.stat().st_ctime_ns + moment[0])
    for moment[0], expected in ((0, 1), (YOUNG, 2), (YOUNG + 1, 3), (YOUNG + 2, 3), (0, 3)):
        assert digests.sha256(file) == sha256("one")
        assert len(reads) == expected


def test_a_file_that_is_written_to_while_it_is_read_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, digests = tmp_path / "june.csv", FileDigests(clock=later)
    file.write_text("one")
    read = _file_digests.file_sha256

    def disturbed(one: Path) -> str:
        found = read(one)
        one.write_text("two")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(_file_digests, "file_sha256", disturbed)
        assert digests.sha256(file) == sha256("one")
    assert digests.sha256(file) == sha256("two")


def test_so_many_files_are_remembered_and_no_more(tmp_path: Path, reads: Reads) -> None:
    digests, files = FileDigests(most=2, clock=later), [tmp_path / f"{n}.csv" for n in range(3)]
    for file in files:
        file.write_text(file.name)
        digests.sha256(file)
    for place, expected in ((2, 3), (1, 3), (0, 4), (1, 4), (2, 5)):
        assert digests.sha256(files[place]) == sha256(files[place].name)
        assert len(reads) == expected


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    file, digests = tmp_path / "june.csv", FileDigests(clock=later)
    file.write_text("one")
    digests.sha256(file)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        digests.sha256(file)


def landing(files: int) -> Asset:
    names = tuple(f"{number}.txt" for number in range(files))

    @table("toy/landed", landed=names)
    def landed(inputs: Inputs) -> pl.DataFrame:
        """What the files say."""
        return pl.DataFrame({"x": [inputs.landed(name).read_text() for name in names]})

    return landed


def test_who_looks_for_what_is_stale_reads_landed_files_once(
    tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reconciliation looks every 30 seconds, the watch every 60: with tens of gigabytes landed a look lasted longer than that."""
    monkeypatch.setattr(_file_digests, "YOUNG", -1)
    folder, lake, asset = tmp_path / "landing" / "toy", EmbeddedLake.open(tmp_path / "lake"), landing(3)
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.txt").write_text(str(number))
    materialize(lake, asset, run=Run(actor="test"), landing=tmp_path / "landing")
    reads.clear()

    def stale() -> list[str]:
        found = why_stale(lake, lake.at("main"), asset, code=code_version(asset), landing=tmp_path / "landing")
        return [reason.name for reason in found]

    assert [stale() for _ in range(4)] == [[]] * 4
    assert sorted(reads) == [folder / f"{number}.txt" for number in range(3)]
    (folder / "1.txt").write_text("7")
    assert [stale() for _ in range(3)] == [["1.txt"]] * 3
    assert reads[3:] == [folder / "1.txt"]
