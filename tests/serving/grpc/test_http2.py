"""What a caller over HTTP/2 may do, and what becomes of one who does something else: bytes in, bytes out, no socket."""

import contextlib
import random
import struct
from typing import Any

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.grpc._frames import PREFACE, Code, Kind, frame
from serving.grpc._heads import BlockError, HeadReader, MalformedHeadError, literal
from serving.grpc._http2 import MOST_STREAMS, Connection, Gone, Request

LIMIT = 100_000
ACK, ENDS, WHOLE, PADDED = 1, 1, 4, 8
FIELDS = {b":method": b"POST", b":scheme": b"http", b":path": b"/a/b", b":authority": b"x", b"te": b"trailers"}
BLOCK = literal(FIELDS)
OPENING = PREFACE + frame(Kind.SETTINGS, 0, 0, b"")


def number(value: int) -> bytes:
    return struct.pack(">I", value)


def head(stream: int, flags: int = WHOLE, block: bytes = BLOCK) -> bytes:
    return frame(Kind.HEADERS, flags, stream, block)


def data(stream: int, body: bytes, flags: int = 0) -> bytes:
    return frame(Kind.DATA, flags, stream, body)


def call(stream: int, body: bytes = b"body") -> bytes:
    return head(stream) + data(stream, body, ENDS)


def frames(out: bytes) -> list[tuple[Kind, int, int, bytes]]:
    found = []
    while out:
        size = int.from_bytes(out[:3])
        found.append((Kind(out[3]), out[4], int.from_bytes(out[5:9]), out[9 : 9 + size]))
        assert len(out) >= 9 + size
        out = out[9 + size :]
    return found


def opened(limit: int = LIMIT) -> Connection:
    found = Connection(limit)
    assert found.receive(OPENING) == []
    assert [one[:2] for one in frames(found.take())] == [(Kind.SETTINGS, 0), (Kind.WINDOW, 0), (Kind.SETTINGS, ACK)]
    return found


def code_of(out: bytes, kind: Kind) -> Code:
    (payload,) = [one[3] for one in frames(out) if one[0] is kind]
    return Code(int.from_bytes(payload[-4:]))


def test_a_request_is_the_same_in_whatever_pieces_it_comes() -> None:
    whole = (
        OPENING + call(1) + head(3, ENDS | WHOLE) + head(5) + data(5, b"one ") + data(5, b"two") + head(5, ENDS | WHOLE)
    )
    for size in (1, 2, 9, 10, len(whole)):
        connection = Connection(LIMIT)
        found: list[Any] = []
        for place in range(0, len(whole), size):
            found += connection.receive(whole[place : place + size])
        assert [(one.stream, one.body) for one in found] == [(1, b"body"), (3, b""), (5, b"one two")]
        assert found[0].head == (b"POST", b"/a/b", {b"te": b"trailers"})
        assert not connection.is_within


def test_padding_priority_and_continuations_are_no_part_of_a_request() -> None:
    connection = opened()
    first = frame(Kind.HEADERS, PADDED | 0x20, 1, b"\x03" + b"\0\0\0\0\x10" + BLOCK[:7] + b"\0\0\0")
    rest = frame(Kind.CONTINUATION, 0, 1, BLOCK[7:20]) + frame(Kind.CONTINUATION, WHOLE, 1, BLOCK[20:])
    priority, unknown = frame(Kind.PRIORITY, 0, 1, b"\0\0\0\0\x10"), frame(0x77, 0xFF, 1, b"whatever")
    (found,) = connection.receive(first + rest + priority + unknown + data(1, b"\x02body\0\0", PADDED | ENDS))
    assert isinstance(found, Request)
    assert (found.head.path, found.body) == (b"/a/b", b"body")


def test_an_answer_goes_in_one_piece() -> None:
    connection = opened()
    connection.receive(call(1))
    connection.answer(1, literal({b":status": b"200"}), b"answer", literal({b"grpc-status": b"0"}))
    kinds = [one[:3] for one in frames(connection.take())]
    assert kinds == [(Kind.HEADERS, WHOLE, 1), (Kind.DATA, 0, 1), (Kind.HEADERS, WHOLE | ENDS, 1)]
    assert connection.under_way == 0


@pytest.mark.parametrize("window", [1, 1_000, 16_384, 65_535])
def test_an_answer_larger_than_the_callers_windows_goes_as_they_open(window: int) -> None:
    connection, body = opened(), random.Random(1).randbytes(70_000)
    connection.receive(frame(Kind.SETTINGS, 0, 0, struct.pack(">HI", 4, window)) + call(1))
    connection.answer(1, b"\x88", body, b"\x88")
    connection.answer(3, b"\x88", body, b"\x88")  # of nobody
    assert connection.waiting() == {1}
    found, turns = frames(connection.take()), 0
    while connection.under_way:
        turns += 1
        assert len(b"".join(one[3] for one in found if one[0] is Kind.DATA)) <= window * turns
        connection.receive(
            frame(Kind.WINDOW, 0, 1, number(max(window, 5_000))) + frame(Kind.WINDOW, 0, 0, number(70_000))
        )
        window = max(window, 5_000)
        found += frames(connection.take())
    assert b"".join(one[3] for one in found if one[0] is Kind.DATA) == body
    assert found[-1][:3] == (Kind.HEADERS, WHOLE | ENDS, 1)
    assert all(len(one[3]) <= 16_384 for one in found)


def test_a_window_that_shrinks_below_nothing_holds_the_answer_until_it_is_open_again() -> None:
    connection = opened()
    connection.receive(frame(Kind.SETTINGS, 0, 0, struct.pack(">HI", 4, 1_000)) + call(1))
    connection.answer(1, b"\x88", b"x" * 1_500, b"\x88")
    connection.receive(frame(Kind.SETTINGS, 0, 0, struct.pack(">HI", 4, 100)))
    connection.take()
    connection.receive(frame(Kind.WINDOW, 0, 1, number(900)))
    assert connection.take() == b""
    connection.receive(frame(Kind.SETTINGS, 0, 0, struct.pack(">HI", 4, 600)))
    assert [len(one[3]) for one in frames(connection.take()) if one[0] is Kind.DATA] == [500]


def test_a_connection_takes_requests_for_ever() -> None:
    connection, body = opened(), b"x" * 16_384
    for stream in range(1, 40_001, 2):
        nothing = (
            frame(Kind.PING, 0, 0, b"12345678") * 2 + frame(Kind.WINDOW, 0, 0, number(5)) * 2
        )  # as gRPC's own clients do
        found = connection.receive(nothing + call(stream, body if stream % 16 == 1 else b"x"))
        assert len(found) == 1
        connection.answer(stream, b"\x88", b"", b"\x88")
        assert frames(connection.take())[-1][:3] == (Kind.HEADERS, WHOLE | ENDS, stream)
    assert connection.under_way == 0


def test_a_body_over_the_limit_is_not_kept_and_its_caller_is_told_to_stop() -> None:
    connection = opened()
    connection.receive(head(1))
    found = []
    while not found:
        found = connection.receive(data(1, b"x" * 16_384))
    assert isinstance(found[0], Request)
    assert found[0].body is None
    connection.answer(1, b"\x88", b"", b"")
    out = frames(connection.take())
    assert [one[:2] for one in out[-2:]] == [(Kind.HEADERS, WHOLE | ENDS), (Kind.RESET, 0)]
    assert out[-1][3] == number(Code.NO_ERROR)
    assert connection.receive(data(1, b"on its way") + data(1, b"", ENDS) + call(3)) != []


def test_bodies_half_sent_are_bounded_together() -> None:
    connection, found = opened(), []
    for stream in range(1, 101, 2):
        connection.receive(head(stream))
        for _ in range(5):
            found += connection.receive(data(stream, b"x" * 16_384))
    assert len(found) > 10
    assert {one.body for one in found if isinstance(one, Request)} == {None}


def test_requests_over_the_most_are_refused_before_they_begin() -> None:
    connection = opened()
    for stream in range(1, 2 * MOST_STREAMS, 2):
        assert connection.receive(call(stream)) != []
    assert connection.receive(call(2 * MOST_STREAMS + 1)) == []
    assert code_of(connection.take(), Kind.RESET) is Code.REFUSED
    connection.answer(1, b"\x88", b"", b"\x88")
    assert connection.receive(call(2 * MOST_STREAMS + 3)) != []


def test_who_is_told_to_go_has_answered_what_was_sent_before_it_heard() -> None:
    connection = opened()
    connection.receive(call(1))
    connection.go()
    goaway, ping = frames(connection.take())
    assert goaway[3] == number(2**31 - 1) + number(0)
    assert connection.receive(call(3)) != []
    connection.receive(frame(Kind.PING, ACK, 0, ping[3]))
    assert [one[3] for one in frames(connection.take())] == [number(3) + number(0)]
    assert connection.receive(call(5) + data(5, b"more")) == []
    assert not connection.has_gone
    for stream in (1, 3):
        connection.answer(stream, b"\x88", b"", b"\x88")
    assert connection.has_gone


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(Kind.DATA, 0, 0, b""), Code.PROTOCOL), (data(1, b""), Code.PROTOCOL), (head(2), Code.PROTOCOL), (head(0), Code.PROTOCOL),
        (frame(Kind.RESET, 0, 1, number(0)), Code.PROTOCOL), (frame(Kind.WINDOW, 0, 1, number(1)), Code.PROTOCOL),
        (frame(Kind.RESET, 0, 1, b""), Code.FRAME_SIZE), (frame(Kind.PUSH, WHOLE, 1, b"\0\0\0\2"), Code.PROTOCOL),
        (frame(Kind.SETTINGS, 0, 1, b""), Code.PROTOCOL), (frame(Kind.SETTINGS, 0, 0, b"\0"), Code.FRAME_SIZE),
        (frame(Kind.SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31)), Code.FLOW_CONTROL), (frame(Kind.SETTINGS, 0, 0, struct.pack(">HI", 5, 1)), Code.PROTOCOL),
        (frame(Kind.SETTINGS, 0, 0, struct.pack(">HI", 2, 2)), Code.PROTOCOL), (frame(Kind.SETTINGS, ACK, 0, b"\0" * 6), Code.FRAME_SIZE),
        (frame(Kind.PING, 0, 1, b"\0" * 8), Code.PROTOCOL), (frame(Kind.PING, 0, 0, b"\0"), Code.FRAME_SIZE),
        (frame(Kind.GOAWAY, 0, 1, b"\0" * 8), Code.PROTOCOL), (frame(Kind.PRIORITY, 0, 1, b""), Code.FRAME_SIZE),
        (frame(Kind.WINDOW, 0, 0, number(0)), Code.PROTOCOL), (frame(Kind.WINDOW, 0, 0, number(2**31 - 1)), Code.FLOW_CONTROL),
        (frame(Kind.CONTINUATION, WHOLE, 1, b""), Code.PROTOCOL), (head(1, 0) + call(3), Code.PROTOCOL),
        (frame(Kind.HEADERS, WHOLE | PADDED, 1, b""), Code.FRAME_SIZE), (frame(Kind.HEADERS, WHOLE | PADDED, 1, b"\x05abcd"), Code.PROTOCOL),
        (frame(Kind.HEADERS, WHOLE | 0x20, 1, b"abcd"), Code.FRAME_SIZE), (head(1, WHOLE, b"\xff\xff\xff"), Code.COMPRESSION),
        (head(1, WHOLE, b"\x40\x01x\x7f\x81\x1e" + b"y" * 3_968 + b"\xbe" * 30), Code.CALM),
        (head(1, 0) + frame(Kind.CONTINUATION, 0, 1, b"") * 20, Code.CALM), (frame(Kind.PING, 0, 0, b"\0" * 8) * 60_000, Code.CALM),
        (head(1) + data(1, b"") * 60_000, Code.CALM), (head(1, WHOLE, literal({b"x": b"y" * 16_360})), Code.CALM), (b"\xff" * 9, Code.FRAME_SIZE),
    ],
)  # fmt: skip
def test_a_caller_who_breaks_the_rules_is_told_which_and_heard_no_more(sent: bytes, code: Code) -> None:
    connection = opened()
    connection.receive(sent)
    assert code_of(connection.take(), Kind.GOAWAY) is code
    assert connection.has_gone
    assert connection.receive(call(99)) == []
    assert connection.take() == b""


def test_a_connection_may_ping_for_days() -> None:
    connection = opened()
    for _ in range(50):
        connection.receive(frame(Kind.PING, 0, 0, b"12345678") * 3_000)
        assert len(frames(connection.take())) == 3_000
        connection.forgive()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({**FIELDS, b"Upper": b"x"}, "upper case"), ({**FIELDS, b"connection": b"close"}, "of HTTP/1.1"), ({b"a": b"b", **FIELDS}, "not in front"),
        ({**FIELDS, b":status": b"200"}, "an answer's"), ({name: value for name, value in FIELDS.items() if name != b":path"}, "no path"),
        ({**FIELDS, b"x": b"a\r\nb"}, "a line's end"), ({**FIELDS, b"": b"x"}, "no name"),
    ],
)  # fmt: skip
def test_a_malformed_head_ends_its_stream_alone(fields: dict[bytes, bytes], why: str) -> None:
    connection = opened()
    assert connection.receive(head(1, WHOLE, literal(fields)) + data(1, b"x", ENDS)) == [], why
    assert code_of(connection.take(), Kind.RESET) is Code.PROTOCOL
    assert connection.receive(call(3)) != []


def test_a_stream_that_goes_on_after_its_end_is_gone() -> None:
    connection = opened()
    assert [type(one) for one in connection.receive(call(1) + data(1, b"more"))] == [Request, Gone]
    assert code_of(connection.take(), Kind.RESET) is Code.STREAM_CLOSED
    assert connection.receive(head(3) + frame(Kind.RESET, 0, 3, number(8))) == [Gone(3)]
    assert connection.under_way == 0


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\x01", b"\0" * 50])
def test_who_speaks_something_else_is_heard_no_further(sent: bytes) -> None:
    connection = Connection(LIMIT)
    connection.receive(sent)
    assert connection.is_closed
    assert not connection.has_opened
    assert connection.take() == b""


NAMES = st.text("abcdefghij-", min_size=1, max_size=8).map(lambda text: f"x-{text}".encode())
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40).map(str.encode)


@given(
    st.lists(st.tuples(st.dictionaries(NAMES, VALUES, max_size=6), st.booleans()), max_size=25), st.integers(0, 4_096)
)
def test_heads_are_read_as_they_were_written_whatever_the_table_holds(
    given: list[tuple[dict[bytes, bytes], bool]], size: int
) -> None:
    writer, reader = hpack.Encoder(), HeadReader()
    for place, (headers, huffman) in enumerate(given + given):
        if place == len(given):
            writer.header_table_size = size
        block = writer.encode([*FIELDS.items(), *headers.items()], huffman=huffman)
        assert reader.read(block).headers == {b"te": b"trailers", **headers}
        assert reader.read(BLOCK).headers == {b"te": b"trailers"}


@given(st.dictionaries(NAMES, VALUES), st.integers(0, 20_000))
def test_what_goes_is_read_by_others(fields: dict[bytes, bytes], size: int) -> None:
    fields[b"long"] = b"x" * size
    assert dict(hpack.Decoder().decode(literal(fields), raw=True)) == fields


@given(st.binary(max_size=200))
def test_no_block_breaks_its_reader(block: bytes) -> None:
    with contextlib.suppress(BlockError, MalformedHeadError):
        HeadReader().read(block)


def _anything(rng: random.Random) -> bytes:
    """A frame as a caller might send it, or nearly so."""
    stream = rng.choice((0, 1, 1, 1, 3, 3, 5, 7, 2, 2**31 - 1, rng.randrange(20)))
    kind = rng.choice((*Kind, Kind.HEADERS, Kind.HEADERS, Kind.HEADERS, Kind.DATA, Kind.DATA, 11, 255))
    flags = rng.choice((0, ENDS, WHOLE, WHOLE | ENDS, PADDED, 0x2C, rng.randrange(256)))
    block = bytearray(BLOCK)
    if rng.random() < 0.3:
        block[rng.randrange(len(block))] = rng.randrange(256)
    payloads = {
        Kind.HEADERS: bytes(block), Kind.CONTINUATION: bytes(block[: rng.randrange(len(block))]), Kind.SETTINGS: struct.pack(">HI", rng.randrange(8),
        rng.choice((0, 1, 100, 16_384, 65_535, 2**31 - 1, 2**31, rng.randrange(2**32)))), Kind.WINDOW: number(rng.choice((0, 1, 1_000, 2**31 - 1, rng.randrange(2**32)))),
        Kind.PING: b"going.. ", Kind.RESET: number(8), Kind.PRIORITY: b"12345", Kind.GOAWAY: b"12345678",
    }  # fmt: skip
    payload = (
        payloads.get(Kind(kind), b"") if kind in list(Kind) and rng.random() < 0.9 else rng.randbytes(rng.randrange(40))
    )
    if kind == Kind.DATA:
        payload = rng.randbytes(rng.choice((0, 1, 20, 2_000, 16_384, 16_385)))
    return frame(kind, flags, stream, payload)


@pytest.mark.parametrize("runs", [1_500, pytest.param(150_000, marks=[pytest.mark.heavy, pytest.mark.timeout(3_600)])])
def test_no_frames_break_a_connection(runs: int) -> None:
    answered = ended = 0
    for seed in range(runs):
        rng, connection = random.Random(seed), Connection(20_000)
        sent = bytearray(
            OPENING
            + b"".join(
                call(rng.randrange(1, 30) | 1) if rng.random() < 0.8 else _anything(rng)
                for _ in range(rng.randrange(1, 20))
            )
        )
        for _ in range(rng.choice((0, 0, 1, 4))):
            sent[rng.randrange(len(sent))] = rng.randrange(256)
        place = 0
        while place < len(sent):
            size = rng.choice((1, 9, 100, 70_000, 70_000))
            for one in connection.receive(bytes(sent[place : place + size])):
                answered += 1
                if isinstance(one, Request) and rng.random() < 0.7:
                    connection.answer(
                        one.stream, b"\x88", rng.randbytes(rng.choice((0, 10, 70_000))), rng.choice((b"", b"\x88"))
                    )
            if rng.random() < 0.05:
                rng.choice((connection.go, connection.refuse_more))()
            place += size
            frames(connection.take())
        assert connection.under_way <= 20
        ended += connection.is_closed
    assert answered > runs / 2
    assert runs / 3 < ended < runs
