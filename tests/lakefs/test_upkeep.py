"""Verification finds what was damaged or written by others; collection takes what dead processes left and no more."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from headwater.lake import Kind, WriteMode
from headwater.lake.errors import LakeFormatError, ProtectedBranchError, RefExistsError, StorageError
from headwater.lake.lakefs import LakeFSLake, LakeFSSettings
from headwater.lake.lakefs import _history as history
from headwater.lake.lakefs._objects import Objects
from headwater.names import MAIN, InvalidNameError
from headwater.provenance import Output, Provenance
from headwater.testing.lakefs_double import LakeFSDouble
from headwater.testing.lakefs_double._model import StoredObject

TABLE, FOLDER = "shop/orders", "shop/model"
ROWS = pl.DataFrame({"id": [1, 2, 3]})
REPOSITORY = "faulty"


@pytest.fixture
def filled(faulty: LakeFSLake, tmp_path: Path) -> LakeFSLake:
    """A lake with a table and a folder."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "weights").write_bytes(b"weights")
    with faulty.transaction() as tx:
        tx.write_table(TABLE, ROWS)
        tx.write_folder(FOLDER, tmp_path / "source")
        tx.publish(message="Write", provenance=None)
    return faulty


def keys(double: LakeFSDouble, prefix: str) -> list[str]:
    return sorted(key for key in double.store.tree(REPOSITORY, MAIN) if key.startswith(prefix))


def data_file(double: LakeFSDouble) -> str:
    return next(key for key in keys(double, TABLE) if key.endswith(".parquet"))


def damage_table(double: LakeFSDouble) -> None:
    key = data_file(double)
    data = double.store.read(REPOSITORY, MAIN, key).data
    double.store.damage(REPOSITORY, MAIN, key, bytes([data[0] ^ 1]) + data[1:])


def damage_log(double: LakeFSDouble) -> None:
    double.store.damage(REPOSITORY, MAIN, f"{TABLE}/_delta_log/{0:020d}.json", b"{}")


def damage_folder(double: LakeFSDouble) -> None:
    double.store.damage(REPOSITORY, MAIN, f"{FOLDER}/weights", b"WEIGHTS")


def truncate_folder(double: LakeFSDouble) -> None:
    double.store.damage(REPOSITORY, MAIN, f"{FOLDER}/weights", b"w")


def collect(double: LakeFSDouble) -> None:
    double.store.collect(REPOSITORY, MAIN, data_file(double))


def outside(double: LakeFSDouble, change: Callable[[], None]) -> None:
    """Somebody changes main without Headwater."""
    double.store.protect(REPOSITORY, [])
    change()
    double.store.commit(REPOSITORY, MAIN, message="Outside", metadata={})


def outside_append(double: LakeFSDouble) -> None:
    options = {
        "aws_endpoint_url": double.endpoint,
        "aws_access_key_id": double.access_key,
        "aws_secret_access_key": double.secret_key,
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }
    uri = f"s3://{REPOSITORY}/{MAIN}/{TABLE}"
    outside(double, lambda: write_deltalake(uri, ROWS.to_arrow(), mode="append", storage_options=options))


def outside_file(double: LakeFSDouble) -> None:
    outside(double, lambda: double.store.write(REPOSITORY, MAIN, f"{FOLDER}/new", StoredObject.of(b"x")) and None)


def outside_table(double: LakeFSDouble) -> None:
    name = f"shop/other/_delta_log/{0:020d}.json"
    outside(double, lambda: double.store.write(REPOSITORY, MAIN, name, StoredObject.of(b"{}")) and None)


@pytest.mark.parametrize(
    ("harm", "what", "problem"),
    [
        (damage_table, "object", "another checksum"),
        (damage_log, "object", "instead of"),
        (damage_folder, "object", "not the published one"),
        (truncate_folder, "object", "instead of"),
        (collect, "object", "cannot be read"),
        (outside_append, "table", "written by others"),
        (outside_file, "object", "no transaction"),
        (outside_table, "table", "no manifest"),
    ],
)
def test_verification_names_what_is_wrong(
    filled: LakeFSLake, double: LakeFSDouble, harm: Callable[[LakeFSDouble], None], what: str, problem: str
) -> None:
    assert filled.verify().clean
    harm(double)
    found = filled.verify().findings
    assert any(finding.what == what and problem in finding.problem for finding in found), found


def test_an_append_over_rows_of_others_counts_them(filled: LakeFSLake, double: LakeFSDouble) -> None:
    outside_append(double)
    assert filled.at(MAIN).table(TABLE).collect().height == 3  # as published
    with filled.transaction() as tx:
        tx.write_table(TABLE, ROWS, mode=WriteMode.APPEND)
        whole = tx.write_table("shop/whole", pl.concat([ROWS, ROWS, ROWS]))
        tx.publish(message="Append", provenance=None)
    assert filled.at(MAIN).entry(TABLE).data_version == whole.data_version
    assert filled.verify().clean


def test_verification_reads_every_object_of_every_ref_once(filled: LakeFSLake, double: LakeFSDouble) -> None:
    filled.tag("v1", at=MAIN)
    filled.create_branch("dev")
    double.forget()
    result = filled.verify()
    stored = double.store.tree(REPOSITORY, MAIN)
    assert (result.objects, result.bytes) == (len(stored), sum(item.size for item in stored.values()))


def test_a_damaged_file_is_found_when_a_folder_is_read(filled: LakeFSLake, double: LakeFSDouble) -> None:
    damage_folder(double)
    with pytest.raises(StorageError, match="sha256 is not the published one"):
        filled.at(MAIN).folder(FOLDER)


def test_an_export_that_fails_leaves_what_others_put_there_and_nothing_of_its_own(
    filled: LakeFSLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a commit stayed and looked like one, and running again was refused: the directory was not empty."""
    out, download = tmp_path / "out", Objects.download
    given = list[str]()

    def fail(self: Objects, ref: str, key: str, file: Path) -> None:
        if given:
            (out / "notes").write_text("mine")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        given.append(key)
        download(self, ref, key, file)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "download", fail)
        with pytest.raises(StorageError, match="Free some space"):
            filled.checkout(MAIN, out)
    assert list(out.iterdir()) == [out / "notes"]
    (out / "notes").unlink()
    filled.checkout(MAIN, out)
    assert (out / FOLDER / "weights").read_bytes() == b"weights"
    assert pl.read_delta(str(out / TABLE)).equals(ROWS)


def test_a_folder_is_downloaded_once_and_read_only(filled: LakeFSLake, double: LakeFSDouble) -> None:
    first = filled.at(MAIN).folder(FOLDER)
    double.forget()
    assert filled.at(MAIN).folder(FOLDER) == first
    assert not any(served.target.endswith("weights") for served in double.served)
    assert (first / "weights").stat().st_mode & 0o222 == 0


@pytest.mark.skipif(os.getuid() != 0, reason="Only root can give a folder away.")
def test_a_cache_of_another_user_is_refused(filled: LakeFSLake, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, os.getuid() + 1, -1)
    with pytest.raises(StorageError, match="belongs to another user"):
        LakeFSLake.open(replace(filled.settings, cache=theirs)).at(MAIN).folder(FOLDER)


def test_collection_takes_what_a_dead_process_left_after_its_grace(faulty: LakeFSLake, double: LakeFSDouble) -> None:
    with faulty.transaction() as dead, faulty.transaction() as alive:
        dead.write_table(TABLE, ROWS)
        dead._open = False  # as if the process had died: nobody drops the branch
        alive.write_table("shop/other", ROWS)
        other = LakeFSLake.open(faulty.settings)
        assert other.gc(grace=timedelta(hours=1)).objects == 0
        assert other.gc(grace=timedelta(0), dry_run=True).objects == 4
        alive.publish(message="Write", provenance=None)
    collected = other.gc(grace=timedelta(0))
    assert (collected.objects, collected.commits, collected.dry_run) == (2, 0, False)
    assert set(double.store.repository(REPOSITORY).branches) == {MAIN}
    assert faulty.at(MAIN).paths() == ("shop/other",)


def test_collection_spares_transactions_that_may_be_alive(faulty: LakeFSLake, double: LakeFSDouble) -> None:
    patient = LakeFSLake.open(replace(faulty.settings, lease=60))
    with faulty.transaction() as tx:
        tx.write_table(TABLE, ROWS)
        assert faulty.gc(grace=timedelta(0), dry_run=True).objects == 0  # its own process knows that it lives
        assert patient.gc(grace=timedelta(0)).objects == 0  # another one gives it time
        tx.publish(message="Write", provenance=None)
    assert faulty.at(MAIN).table(TABLE).collect().height == 3


def test_data_that_no_version_reads_leaves_the_tree(filled: LakeFSLake, double: LakeFSDouble) -> None:
    old = data_file(double)
    with filled.transaction() as tx:
        tx.write_table(TABLE, ROWS.head(1))
        tx.publish(message="Overwrite", provenance=None)
    assert old not in keys(double, TABLE)
    assert filled.at(f"{MAIN}~1").table(TABLE).collect().height == 3
    assert not any("_last_checkpoint" in key for key in keys(double, TABLE))


def test_a_newer_format_is_refused(filled: LakeFSLake, double: LakeFSDouble) -> None:
    key = f"_headwater/{TABLE}.json"
    raw = json.loads(double.store.read(REPOSITORY, MAIN, key).data) | {"format": 2}
    outside(
        double, lambda: double.store.write(REPOSITORY, MAIN, key, StoredObject.of(json.dumps(raw).encode())) and None
    )
    with pytest.raises(LakeFormatError, match="has format 2, this Headwater reads 1"):
        filled.at(MAIN).entry(TABLE)


def test_an_absent_repository_is_made_or_missed(settings: LakeFSSettings) -> None:
    with pytest.raises(StorageError, match="no such repository"):
        LakeFSLake.open(settings, create=False)
    lake = LakeFSLake.open(settings)
    assert [(ref.name, ref.protected) for ref in lake.branches()] == [(MAIN, True)]
    assert lake.describe()["location"] == settings.location
    assert LakeFSLake.open(settings, create=False).resolve(MAIN) == lake.resolve(MAIN)


@pytest.mark.parametrize("change", [{"repository": "No"}, {"repository": "a/b"}, {"endpoint": "127.0.0.1:8000"}])
def test_settings_that_no_server_could_have_are_refused(change: dict[str, str]) -> None:
    given = {"endpoint": "http://127.0.0.1:8000", "access_key": "k", "secret_key": "s", "repository": "repo"}
    with pytest.raises(InvalidNameError):
        LakeFSSettings(**{**given, **change})


def test_an_endpoint_with_the_path_of_the_api_is_understood(settings: LakeFSSettings) -> None:
    lake = LakeFSLake.open(replace(settings, endpoint=f"{settings.endpoint}/api/v1/"))
    assert lake.settings.url == settings.endpoint


def test_names_that_lakefs_cannot_hold_are_refused(lake: LakeFSLake) -> None:
    for name in ("v1.0", "a@b", f"{history.INTERNAL}mine"):
        with pytest.raises(InvalidNameError, match="lakeFS takes"):
            lake.create_branch(name)
    assert lake.resolve(lake.tag("flights@1.2.0", at=MAIN).name) == lake.resolve(MAIN)
    lake.create_branch("flights")
    with pytest.raises(RefExistsError):
        lake.tag("flights", at=MAIN)
    with pytest.raises(ProtectedBranchError):
        lake.delete_branch(MAIN)


def test_attestations_of_one_partition_are_bounded(lake: LakeFSLake) -> None:
    def record(number: int, partition: str | None) -> Provenance:
        output = Output(path=TABLE, partition=partition, kind=Kind.TABLE.value, data_version="d")
        return Provenance(transaction=f"tx-{number}", action="materialize", outputs=(output,), input_commit="c")

    lake.attest(record(0, "2013/01 é"))
    for number in range(1, 23):
        lake.attest(record(number, None))
    found = lake.attestations(TABLE)
    assert [item.transaction for item in found] == [f"tx-{number}" for number in range(22, 2, -1)] + ["tx-0"]
    assert lake.log(MAIN, limit=5)
    assert [ref.name for ref in lake.branches()] == [MAIN]


def test_appends_stay_visible_to_other_delta_readers_at_the_commit(lake: LakeFSLake) -> None:
    with lake.transaction() as tx:
        tx.write_table(TABLE, ROWS)
        tx.write_table(TABLE, ROWS, mode=WriteMode.APPEND)
        done = tx.publish(message="Write", provenance=None)
    uri = lake.at(MAIN).uri(TABLE)
    assert uri == f"lakefs://{lake.settings.repository}/{done.commit.id}/{TABLE}"
    plain = pl.scan_delta(uri.replace("lakefs://", "s3://"), storage_options=lake.settings.storage_options)
    assert plain.collect().height == 6
