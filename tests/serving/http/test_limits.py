"""What a caller can send that no client library would: bytes over a socket, and values that grow."""

import json
import socket
import threading
from typing import Any

import pytest

from tests.serving.conftest import PRODUCT
from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Service

V2 = f"/v2/models/{PRODUCT}/infer"
BODY = json.dumps({"entity": ENTITY, "time": TIME}).encode()


def raw(service: Service, data: bytes, *, answers: int = 1) -> bytes:
    """What comes back until so many answers are there, or the connection is closed."""
    found = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        try:
            connection.sendall(data)
            while found.count(b"HTTP/1.1 ") < answers or not found.endswith((b"}", b"\r\n\r\n")):
                if not (part := connection.recv(65_536)):
                    return found + b"<closed>"
                found += part
        except ConnectionError:
            return found + b"<closed>"
    return found


def post(*headers: str, body: bytes = BODY, length: bool = True) -> bytes:
    lines = [f"POST {PREDICT} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_requests_sent_at_once_are_answered_in_their_order(service: Service) -> None:
    found = raw(service, b"".join(post(f"X-Request-Id: pipe-{n}") for n in range(5)), answers=5)
    places = [found.index(b'"id":"pipe-%d"' % n) for n in range(5)]
    assert places == sorted(places)


def test_a_head_alone_and_a_connection_that_ends_are_answered_whole(service: Service) -> None:
    head = raw(service, b"HEAD /v2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert head.endswith((b"\r\n\r\n", b"\r\n\r\n<closed>"))
    assert b'"score"' in raw(service, post("Connection: close"))
    old = post().replace(b"HTTP/1.1", b"HTTP/1.0")
    assert b'"score"' in raw(service, old)


def test_who_waits_for_leave_to_send_gets_it_or_the_connection_ends(service: Service) -> None:
    """After a refusal the connection went on, and the next request was taken for the body of the first."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(post("Expect: 100-continue", body=b"").replace(b"Length: 0", b"Length: %d" % len(BODY)))
        assert connection.recv(1_000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert b'"score"' in connection.recv(10_000)
    huge = (
        b"POST "
        + PREDICT.encode()
        + b" HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    )
    found = raw(service, huge)
    assert found.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in found


@pytest.mark.parametrize("headers", [["X: " + "a" * 1_000] * 2_000, ["X: " + "a" * 2_000_000]])
def test_headers_without_end_are_not_kept(service: Service, headers: list[str]) -> None:
    found = raw(service, post(*headers))
    assert found == b"<closed>" or found.startswith(b"HTTP/1.1 431")
    assert service.predict().status == 200


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_a_request_that_would_be_upgraded_is_answered_as_it_is(service: Service, protocol: str) -> None:
    """Java's client asks for HTTP/2 so, and its body was lost."""
    assert b'"score"' in raw(service, post("Connection: Upgrade", f"Upgrade: {protocol}"))


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_body_in_chunks_is_read_and_limited(service: Service, size: int) -> None:
    padded = BODY + b" " * size
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (padded[:7], padded[7:])) + b"0\r\n\r\n"
    assert b'"score"' in raw(service, post("Transfer-Encoding: chunked", body=chunks, length=False))
    many = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    found = raw(service, post("Transfer-Encoding: chunked", body=many * 70, length=False))
    assert b"413 " in found or found == b"<closed>"
    assert service.predict().status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", b"GET /v2 HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http_is_refused_and_the_service_goes_on(service: Service, data: bytes) -> None:
    assert b" 400 " in raw(service, data)
    assert service.get("/v2/health/live").status == 200


@pytest.mark.parametrize(
    "body",
    [
        {"entity": {f"wh{n}": 0 for n in range(100_000)}}, {f"wh{n}": 0 for n in range(100_000)}, {"entity": ENTITY, "id": "x" * 10**6},
        {"entity": ENTITY, "time": "x" * 10**6}, {"entity": ENTITY, "explain": ["x"] * 10**5}, {"entity": {**ENTITY, "x": "x" * 10**6}},
        {"entity": {"x" * 10**6: 1}}, {"x" * 10**6: 1},
    ],
)  # fmt: skip
def test_a_refusal_does_not_grow_with_what_was_sent(service: Service, body: Any) -> None:
    """Four megabytes of unknown fields made an answer of twenty, and seconds in which nobody else was answered."""
    reply = service.ask("POST", PREDICT, body)
    assert reply.status == 422
    assert len(reply.body) < 6_000


def test_a_timeout_with_thousands_of_digits_is_refused(service: Service) -> None:
    assert raw(service, post("X-Request-Timeout-Ms: " + "9" * 5_000)).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "path", ["/v1/%ff%00:predict", "/v1/..%2f..%2fetc:predict", "/v2/models/%2e%2e/infer", "/v1/:predict"]
)
def test_odd_names_of_products_are_not_found_and_make_no_label(service: Service, path: str) -> None:
    assert service.ask("POST", path, {"entity": ENTITY}).status == 404
    said = service.get("/metrics").body.decode()
    assert {line.split('product="')[1].split('"')[0] for line in said.splitlines() if "requests_total{" in line} <= {
        PRODUCT,
        "",
    }


def test_an_id_that_looks_like_that_of_a_batch_is_refused(service: Service) -> None:
    """`b#0` and the first instance of the batch `b` were one in the log, and compaction kept one answer of the two."""
    assert service.predict(id="b#0").status == 422
    assert service.predict(id="b#x").status == 200


def test_an_id_that_looks_like_that_of_a_replay_is_refused(service: Service) -> None:
    """One such request took the place of every play's predictions from its time on."""
    v2 = {"inputs": [{"name": "who", "datatype": "BYTES", "shape": [1], "data": ["ann"]}], "id": "replay-1/x"}
    header = service.ask("POST", PREDICT, {"entity": ENTITY, "time": TIME}, {"x-request-id": "replay-1/x"})
    for reply in (service.predict(id="replay-999999999/x"), header, service.ask("POST", V2, v2)):
        assert (reply.status, reply.json["code"], set(reply.json["fields"])) == (422, "invalid", {"id"})
    assert service.predict(id="my replay-1/x").status == 200


ODD_INSTANCES: list[tuple[Any, str]] = [
    ({"entity": {**ENTITY, "x": "three"}, "time": TIME}, ".x"),
    ({"entity": ENTITY, "time": "1900"}, ".time"),
    ({"entity": ENTITY, "time": "2199-01-01T00:00:00Z"}, ".time"),
    ({"time": TIME}, ".entity"),
    ({"entity": ENTITY, "id": "own"}, ".id"),
    (5, ""),
]


@pytest.mark.parametrize(("odd", "field"), ODD_INSTANCES)
def test_what_is_wrong_in_a_batch_is_said_with_its_place(service: Service, odd: Any, field: str) -> None:
    """A caller of a thousand instances was told of a field, and not whose."""
    good = {"entity": ENTITY, "time": TIME}
    reply = service.ask("POST", PREDICT, {"instances": [good, good, odd, good]})
    assert (reply.status, list(reply.json["fields"])) == (422, [f"instances[2]{field}"])
    assert reply.json["error"].startswith("Instance 2")


def test_what_is_wrong_with_the_only_instance_needs_no_place(service: Service) -> None:
    odd, _ = ODD_INSTANCES[0]
    assert list(service.ask("POST", PREDICT, {"instances": [odd]}).json["fields"]) == ["x"]


def test_tensors_are_told_the_place_too(service: Service) -> None:
    columns = {"who": ("BYTES", ["ann"] * 2), "x": ("INT64", [3, "q"]), "kind": ("BYTES", ["a"] * 2)}
    inputs = [{"name": name, "datatype": of, "shape": [2], "data": data} for name, (of, data) in columns.items()]
    reply = service.ask("POST", V2, {"inputs": inputs})
    assert (reply.status, list(reply.json["fields"])) == (422, ["instances[1].x"])


@pytest.mark.parametrize(("datatype", "value"), [("INT8", 300), ("INT16", -40_000), ("UINT32", 2**32), ("UINT64", -1)])
def test_an_element_that_its_datatype_cannot_have_is_refused(service: Service, datatype: str, value: int) -> None:
    inputs = [{"name": "x", "datatype": datatype, "shape": [2], "data": [3, value]}]
    reply = service.ask("POST", V2, {"inputs": inputs})
    assert (reply.status, reply.json["fields"]) == (400, {"x": f"has element 1, {value}, which is no {datatype}"})


def test_a_path_is_not_repeated_at_any_length(service: Service) -> None:
    long = "a" * 50_000
    paths = [f"/v1/{long}:predict", f"/v1/{PRODUCT}/versions/{long}:predict", f"/v2/models/{long}/infer"]
    for path in paths:
        reply = service.ask("POST", path, {"entity": ENTITY, "time": TIME})
        assert (reply.status, len(reply.body) < 1_000) == (404, True)
    wrong = service.ask("GET", paths[0])
    assert (wrong.status, len(wrong.body) < 1_000) == (405, True)


def test_the_same_request_at_once_is_recorded_once(service: Service) -> None:
    """Two that came in one turn were both answered, and stood in the log twice."""
    with (
        socket.create_connection(("127.0.0.1", service.port)) as one,
        socket.create_connection(("127.0.0.1", service.port)) as two,
    ):
        for connection in (one, two):
            connection.sendall(post("X-Request-Id: together"))
        found = [connection.recv(10_000).partition(b"\r\n\r\n")[2] for connection in (one, two)]
    assert found[0] == found[1]
    replies: list[tuple[int, bytes]] = []
    batch = {"instances": [{"entity": ENTITY, "time": TIME}] * 200, "id": "at-once"}

    def ask() -> None:
        reply = service.ask("POST", PREDICT, batch)
        replies.append((reply.status, reply.body))

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(set(replies)) == 1
    ids = [one.request_id for one in service.logged()]
    assert ids.count("together") == ids.count("at-once#7") == 1


def test_tensors_are_given_as_they_were_asked_for(service: Service) -> None:
    """An explanation was computed and not given, and every output came whatever was asked for."""
    inputs = [
        {"name": name, "shape": [1], "datatype": "INT64" if isinstance(value, int) else "BYTES", "data": [value]}
        for name, value in {**ENTITY, "time": TIME}.items()
    ]
    body = {"inputs": inputs, "outputs": [{"name": "score"}], "parameters": {"explain": True}}
    found = service.ask("POST", f"/v2/models/{PRODUCT}/infer", body).json
    assert [tensor["name"] for tensor in found["outputs"]] == ["score"]
    assert found["parameters"]["explanations"]["0"]["contributions"]["x"]


def test_the_schemes_case_says_nothing() -> None:
    from serving.http._keys import _bearer

    assert [_bearer(header) for header in (b"bearer k", b"BEARER  k ", b"Basic k", b"k")] == [b"k", b"k", b"", b""]
