"""`headwater land`: what it refuses before a file is written."""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest

from headwater.cli._land import LandingError, land
from resources.packaged import land_bytes


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "one" / "two" / "three" / "state"
    monkeypatch.setenv("HEADWATER_STATE", str(found))
    return found


def run(*words: str) -> None:
    land.main(list(words), standalone_mode=False)


@pytest.mark.parametrize("key", ["../../../../escaped", "2013-7", "2014-01", ""])
def test_packaged_data_land_in_declared_partitions_alone(tmp_path: Path, key: str) -> None:
    """Any text was taken: it named a file outside the landing folder, or one of a header that nobody reads."""
    with pytest.raises(LandingError, match=r"is no partition of 'flights'\. Use 2013-01 to 2013-12"):
        run("flights", "--packaged", "--partition", key)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_declared_partition_of_packaged_data_lands(state: Path) -> None:
    run("flights", "--packaged", "--partition", "2013-07")
    assert (state / "landing" / "flights" / "flights" / "2013-07.csv").stat().st_size > 1_000_000


def test_packaged_data_and_a_file_are_not_landed_at_once(tmp_path: Path) -> None:
    """The file was ignored, with code 0."""
    file = tmp_path / "june.csv"
    file.write_text("year\n")
    with pytest.raises(click.UsageError, match="drop it, or SOURCE and FILE"):
        run("flights", "flights", str(file), "--packaged", "--partition", "2013-06")


def test_a_landed_file_with_its_checksum_may_be_landed_in_its_own_place(state: Path) -> None:
    file = state / "landing" / "flights" / "flights" / "2013-06.csv"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"year\n")
    digest = hashlib.sha256(b"year\n").hexdigest()
    file.with_name("2013-06.csv.sha256").write_text(digest)
    run("flights", "flights", str(file), "--partition", "2013-06")
    assert (file.read_bytes(), file.with_name("2013-06.csv.sha256").read_text()) == (b"year\n", digest)


def test_files_that_land_at_once_are_whole_whenever_they_are_read(tmp_path: Path) -> None:
    """They shared a half-written file: one was refused, and the other's bytes stood there in part."""
    target, contents = tmp_path / "landing" / "june.csv", [bytes([letter]) * 2_000_000 for letter in b"ab"]
    read: list[bytes] = []
    with ThreadPoolExecutor(2) as pool:
        landings = [pool.submit(land_bytes, contents[number % 2], target) for number in range(40)]
        while not all(landing.done() for landing in landings):
            if target.is_file():
                read.append(target.read_bytes())
    assert [landing.result() for landing in landings] == [None] * 40
    assert len(read) > 1
    assert set(read) <= set(contents)
    assert [file.name for file in target.parent.iterdir()] == ["june.csv"]


def test_what_a_killed_landing_left_goes_with_the_next_one_an_hour_later(tmp_path: Path) -> None:
    left, written = (tmp_path / f".june.csv.{name}.part" for name in ("0a", "0b"))
    for file in (left, written):
        file.write_bytes(b"yea")
    an_hour_ago = time.time() - 3601
    os.utime(left, (an_hour_ago, an_hour_ago))
    land_bytes(b"year\n", tmp_path / "june.csv")
    assert sorted(file.name for file in tmp_path.iterdir()) == [written.name, "june.csv"]


def test_what_cannot_be_cleared_keeps_nothing_from_landing(tmp_path: Path) -> None:
    """An hour after another account's landing was killed, in a folder that keeps its files for it, that file could not land any more."""
    left = tmp_path / ".june.csv.0a.part"
    left.mkdir()  # as root can remove every file
    an_hour_ago = time.time() - 3601
    os.utime(left, (an_hour_ago, an_hour_ago))
    land_bytes(b"year\n", tmp_path / "june.csv")
    assert (tmp_path / "june.csv").read_bytes() == b"year\n"
