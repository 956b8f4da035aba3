"""What gRPC says in HTTP/2: messages and how they are packed, deadlines, statuses."""

import gzip
import struct
import zlib
from collections.abc import Callable
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.grpc._heads import Head
from serving.grpc._messages import CallError, Status, body_of, read_message, read_timeout, refusal, trailers_of

LIMIT = 10_000
GZIP, DEFLATE = {b"grpc-encoding": b"gzip"}, {b"grpc-encoding": b"deflate"}


def packed(message: bytes, flag: int = 1) -> bytes:
    return bytes((flag,)) + body_of(message)[1:]


@given(st.binary(max_size=300))
def test_a_message_is_read_as_it_was_written_packed_or_not(message: bytes) -> None:
    assert read_message(body_of(message), {}, LIMIT) == message
    assert read_message(body_of(message), GZIP, LIMIT) == message
    assert read_message(packed(gzip.compress(message)), GZIP, LIMIT) == message
    assert read_message(packed(zlib.compress(message)), DEFLATE, LIMIT) == message


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"", {}, Status.INVALID_ARGUMENT, "before its message"), (b"\0\0\0\0", {}, Status.INVALID_ARGUMENT, "before its message"),
        (body_of(b"message")[:-1], {}, Status.INVALID_ARGUMENT, "after 6 of 7 bytes"), (body_of(b"one") + body_of(b""), {}, Status.INVALID_ARGUMENT, "more than one"),
        (packed(b"x", 2), {}, Status.INVALID_ARGUMENT, "begins with 2"), (body_of(b"x" * (LIMIT + 1)), {}, Status.RESOURCE_EXHAUSTED, "larger than max"),
        (struct.pack(">BI", 0, 2**32 - 1), {}, Status.RESOURCE_EXHAUSTED, "larger than max"), (packed(b"x"), {}, Status.INTERNAL, "does not say how"),
        (packed(b"x"), {b"grpc-encoding": b"snappy"}, Status.UNIMPLEMENTED, "'snappy'"), (packed(b"no gzip"), GZIP, Status.INVALID_ARGUMENT, "no gzip"),
        (packed(gzip.compress(b"x", mtime=0)[:-1]), GZIP, Status.INVALID_ARGUMENT, "to its end"), (packed(gzip.compress(b"x", mtime=0) + b"y"), GZIP, Status.INVALID_ARGUMENT, "to its end"),
        (packed(gzip.compress(b"\0" * (LIMIT + 1), mtime=0)), GZIP, Status.RESOURCE_EXHAUSTED, "larger than max"),
        (packed(zlib.compress(b"\0" * 8_000_000)), DEFLATE, Status.RESOURCE_EXHAUSTED, "larger than max"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_message_is_told_why(
    body: bytes, headers: dict[bytes, bytes], status: Status, said: str
) -> None:
    with pytest.raises(CallError, match=said) as caught:
        read_message(body, headers, LIMIT)
    assert caught.value.status is status
    assert (("grpc-accept-encoding", "identity,deflate,gzip") in caught.value.metadata) is (
        status is Status.UNIMPLEMENTED
    )


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
@given(place=st.integers(0, 200), value=st.integers(0, 255))
def test_a_broken_packed_message_is_a_refusal_or_a_message(
    pack: Callable[[bytes], bytes], place: int, value: int
) -> None:
    data = bytearray(pack(bytes(range(200))))
    data[place % len(data)] = value
    status = Status.OK
    try:
        found = read_message(packed(bytes(data)), GZIP if pack is gzip.compress else DEFLATE, LIMIT)
    except CallError as error:
        found, status = b"", error.status
    assert status in (Status.OK, Status.INVALID_ARGUMENT, Status.RESOURCE_EXHAUSTED)
    assert len(found) <= LIMIT


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (b"2H", 7_200),
        (b"3M", 180),
        (b"99999999S", 99_999_999),
        (b"20m", 0.02),
        (b"5u", 5e-6),
        (b"7n", 7e-9),
        (None, None),
    ],
)
def test_deadlines_come_in_every_unit(said: bytes | None, seconds: float | None) -> None:
    assert read_timeout({} if said is None else {b"grpc-timeout": said}) == (
        seconds if seconds is None else pytest.approx(seconds)
    )


@pytest.mark.parametrize("said", [b"", b"1", b"S", b"1.5S", b"-1S", b"123456789S", b"1s", b"1S "])
def test_a_deadline_that_is_none_is_named(said: bytes) -> None:
    with pytest.raises(CallError, match="grpc-timeout"):
        read_timeout({b"grpc-timeout": said})


@given(st.text(max_size=300))
def test_a_status_text_comes_through_a_header(text: str) -> None:
    found = trailers_of(Status.NOT_FOUND, text).get(b"grpc-message", b"")
    assert unquote(found.decode("ascii")) == text.encode("utf-8", "replace").decode()
    assert all(0x20 <= one < 0x7F for one in found)


def test_a_status_text_is_no_longer_than_callers_take() -> None:
    said = trailers_of(Status.NOT_FOUND, "ü" * 100_000)[b"grpc-message"]
    assert len(said) < 4_096
    assert unquote(said.decode()) == "ü" * 500 + "..."


@pytest.mark.parametrize(
    ("method", "kind", "status"),
    [
        (b"POST", b"application/grpc", 0), (b"POST", b"application/grpc+proto", 0), (b"POST", b"Application/gRPC;charset=utf-8", 0),
        (b"POST", b"application/grpc+json", 415), (b"POST", b"application/grpc-web", 415), (b"POST", b"", 415), (b"GET", b"application/grpc", 405),
    ],
)  # fmt: skip
def test_what_is_no_call_gets_an_answer_of_http(method: bytes, kind: bytes, status: int) -> None:
    assert refusal(Head(method, b"/a/b", {b"content-type": kind})) == status
