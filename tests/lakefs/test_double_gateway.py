"""The double's S3 gateway, seen through boto3 and delta-rs."""

import io
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Semaphore
from typing import Any

import boto3
import polars as pl
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from deltalake import DeltaTable, write_deltalake

from headwater.testing.lakefs_double import Fault, LakeFSDouble

REPOSITORY = "repo"


@pytest.fixture
def bucket(double: LakeFSDouble) -> Any:
    double.store.create_repository(REPOSITORY, namespace="mem://repo")
    double.store.create_branch(REPOSITORY, "dev", source="main")
    return client(double)


def client(double: LakeFSDouble, *, key: str = "", secret: str = "") -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=double.endpoint,
        aws_access_key_id=key or double.access_key,
        aws_secret_access_key=secret or double.secret_key,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def put(bucket: Any, key: str, data: bytes = b"0123456789", **more: Any) -> Any:
    return bucket.put_object(Bucket=REPOSITORY, Key=key, Body=data, **more)


def get(bucket: Any, key: str, **more: Any) -> bytes:
    return bucket.get_object(Bucket=REPOSITORY, Key=key, **more)["Body"].read()


def refused(status: int, code: str = "") -> Any:
    return pytest.raises(ClientError, check=lambda error: _is(error, status, code))


def _is(error: ClientError, status: int, code: str) -> bool:
    found = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    return found[0] == status and code in ("", found[1])


def test_an_unknown_key_or_a_wrong_signature_is_refused(bucket: Any, double: LakeFSDouble) -> None:
    with refused(403, "InvalidAccessKeyId"):
        put(client(double, key="AKIAUNKNOWN"), "dev/a")
    with refused(403, "SignatureDoesNotMatch"):
        put(client(double, secret="wrong"), "dev/a")


@pytest.mark.parametrize("key", ["plain", "with space", "naïve ☃", "a+b%20c", "q?x=1&y", "~tilde/=eq"])
def test_any_key_holds_bytes(bucket: Any, key: str) -> None:
    data = bytes(range(256)) * 10
    put(bucket, f"dev/{key}", data)
    assert get(bucket, f"dev/{key}") == data
    head = bucket.head_object(Bucket=REPOSITORY, Key=f"dev/{key}")
    assert head["ContentLength"] == len(data)
    assert [item["Key"] for item in bucket.list_objects_v2(Bucket=REPOSITORY, Prefix="dev/")["Contents"]] == [
        f"dev/{key}"
    ]


def test_writes_are_staged_and_commits_do_not_see_them(bucket: Any, double: LakeFSDouble) -> None:
    put(bucket, "dev/a")
    made = double.store.commit(REPOSITORY, "dev", message="Commit", metadata={})
    put(bucket, "dev/a", b"later")
    assert get(bucket, f"{made.id}/a") == b"0123456789"
    assert get(bucket, "dev/a") == b"later"
    with refused(404, "NoSuchBucket"):
        put(bucket, f"{made.id}/a")
    with refused(404, "NoSuchBucket"):
        put(bucket, "absent/a")
    with refused(404, "NoSuchKey"):
        get(bucket, "main/a")


@pytest.mark.parametrize(("span", "wanted"), [("2-4", b"234"), ("7-", b"789"), ("-3", b"789"), ("8-99", b"89")])
def test_ranges(bucket: Any, span: str, wanted: bytes) -> None:
    put(bucket, "dev/a")
    assert get(bucket, "dev/a", Range=f"bytes={span}") == wanted
    with refused(416, "InvalidRange"):
        get(bucket, "dev/a", Range="bytes=10-")


def test_conditional_puts(bucket: Any, double: LakeFSDouble) -> None:
    etag = put(bucket, "dev/a", IfNoneMatch="*")["ETag"]
    with refused(412, "PreconditionFailed"):
        put(bucket, "dev/a", IfNoneMatch="*")
    put(bucket, "dev/a", b"2", IfMatch=etag)
    with refused(412, "PreconditionFailed"):
        put(bucket, "dev/a", b"3", IfMatch=etag)
    assert get(bucket, "dev/a") == b"2"
    double.faults.add(Fault(method="PUT", unconditional=True))
    put(bucket, "dev/a", b"unsafe", IfNoneMatch="*")
    assert get(bucket, "dev/a") == b"unsafe"


def test_multipart_uploads(bucket: Any) -> None:
    from boto3.s3.transfer import TransferConfig

    data = bytes(range(256)) * (6 * 4096)
    config = TransferConfig(multipart_threshold=1, multipart_chunksize=5 << 20, use_threads=False)
    bucket.upload_fileobj(io.BytesIO(data), REPOSITORY, "dev/big", Config=config)
    assert get(bucket, "dev/big") == data
    assert bucket.head_object(Bucket=REPOSITORY, Key="dev/big")["ETag"].endswith('-2"')
    begun = bucket.create_multipart_upload(Bucket=REPOSITORY, Key="dev/never")
    bucket.abort_multipart_upload(Bucket=REPOSITORY, Key="dev/never", UploadId=begun["UploadId"])
    with refused(404):
        get(bucket, "dev/never")


def test_deletes_and_copies(bucket: Any) -> None:
    for name in ("a", "b", "c"):
        put(bucket, f"dev/{name}", name.encode())
    bucket.delete_object(Bucket=REPOSITORY, Key="dev/a")
    bucket.delete_object(Bucket=REPOSITORY, Key="dev/absent")
    done = bucket.delete_objects(Bucket=REPOSITORY, Delete={"Objects": [{"Key": "dev/b"}, {"Key": "dev/none"}]})
    assert len(done["Deleted"]) == 2
    bucket.copy_object(Bucket=REPOSITORY, Key="dev/d", CopySource={"Bucket": REPOSITORY, "Key": "dev/c"})
    assert get(bucket, "dev/d") == b"c"
    found = bucket.list_objects_v2(Bucket=REPOSITORY, Prefix="dev/")
    assert [item["Key"] for item in found["Contents"]] == ["dev/c", "dev/d"]


def test_listings_have_pages_and_prefixes(bucket: Any) -> None:
    for name in ("a/1", "a/2", "b", "c/d"):
        put(bucket, f"dev/{name}")
    pages = bucket.get_paginator("list_objects_v2").paginate(
        Bucket=REPOSITORY, Prefix="dev/", PaginationConfig={"PageSize": 1}
    )
    assert [item["Key"] for page in pages for item in page["Contents"]] == ["dev/a/1", "dev/a/2", "dev/b", "dev/c/d"]
    found = bucket.list_objects_v2(Bucket=REPOSITORY, Prefix="dev/", Delimiter="/")
    assert [item["Prefix"] for item in found["CommonPrefixes"]] == ["dev/a/", "dev/c/"]
    branches = bucket.list_objects_v2(Bucket=REPOSITORY, Delimiter="/")
    assert [item["Prefix"] for item in branches["CommonPrefixes"]] == ["dev/", "main/"]
    assert bucket.list_objects_v2(Bucket=REPOSITORY, Prefix="absent/")["KeyCount"] == 0


def test_a_protected_branch_refuses_writes(bucket: Any, double: LakeFSDouble) -> None:
    double.store.protect(REPOSITORY, ["main"])
    with refused(403, "AccessDenied"):
        put(bucket, "main/a")


def test_delta_tables_are_written_and_read_at_a_commit(
    bucket: Any, double: LakeFSDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {
        "aws_endpoint_url": double.endpoint,
        "aws_access_key_id": double.access_key,
        "aws_secret_access_key": double.secret_key,
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }
    write_deltalake("s3://repo/dev/t", pl.DataFrame({"x": [1, 2]}).to_arrow(), storage_options=options)
    made = double.store.commit(REPOSITORY, "dev", message="Commit", metadata={})
    do, places, met = double.answer, Semaphore(2), Barrier(2)

    def answer(request: Any) -> Any:
        """The first two commits wait for one another: both are of the same version."""
        if request.method == "PUT" and "_delta_log" in request.target and places.acquire(blocking=False):
            met.wait(60)
        return do(request)

    monkeypatch.setattr(double, "answer", answer)

    def append(number: int) -> None:
        rows = pl.DataFrame({"x": [number]}).to_arrow()
        write_deltalake("s3://repo/dev/t", rows, mode="append", storage_options=options)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(append, (3, 4)))
    then = pl.scan_delta(DeltaTable(f"s3://repo/{made.id}/t", storage_options=options)).collect()
    now = pl.scan_delta(DeltaTable("s3://repo/dev/t", storage_options=options)).collect()
    assert sorted(then["x"]) == [1, 2]
    assert sorted(now["x"]) == [1, 2, 3, 4]
    assert any(served.status == 412 for served in double.served)
