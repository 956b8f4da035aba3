"""Traces as a collector receives them: a real one, over HTTP, that decodes what it is sent."""

import gzip
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from headwater import tracing
from headwater.tracing import Span, TracingError, open_tracer, span_of
from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.campaign import BROKEN, with_disk
from tests.serving.http.conftest import ENTITY, PREDICT, ROOT, TIME, Service

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Takes spans over OTLP/HTTP and remembers them."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        received = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                assert self.path == "/v1/traces"
                message = ExportTraceServiceRequest.FromString(body)
                for resource in message.resource_spans:
                    received.services |= {
                        one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
                    }
                    received.spans += [span for scope in resource.scope_spans for span in scope.spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def of(self, trace: str) -> list[Any]:
        return [span for span in self.spans if span.trace_id.hex() == trace]

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.server.shutdown()
    found.server.server_close()


def facts(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def test_a_request_is_a_span_in_the_callers_trace_with_a_step_for_all_that_took_time(
    released: Released, start: Callable[..., Service], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_TRACES", collector.address)
    service = start()
    said = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "r1"}
    body = {"entity": ENTITY, "time": TIME}
    assert service.ask("POST", PREDICT, body, said).status == 200
    assert service.ask("POST", PREDICT, {"entity": {}}, said | {"x-request-id": "wrong"}).status == 422
    assert service.ask("POST", PREDICT, {"instances": [body, body], "id": "b"}).status == 200
    unsampled = {"traceparent": f"00-{'a' * 32}-{PARENT}-00"}
    assert service.ask("POST", PREDICT, body, unsampled).status == 200
    service.stop()
    wrong, root = sorted(
        (span for span in collector.of(TRACE) if span.parent_span_id.hex() == PARENT),
        key=lambda s: -facts(s)["http.response.status_code"],
    )
    told = facts(root)
    assert collector.services == {"headwater-serve"}
    assert (told["headwater.product"], told["headwater.version"], told["http.response.status_code"]) == (
        PRODUCT,
        "1.0.0",
        200,
    )
    assert told["headwater.commit"] == released.lake.resolve("main").id
    assert (
        told["headwater.online_features"] == released.lake.at("main").entry(f"{PRODUCT}/online_features").data_version
    )
    assert (told["headwater.request_id"], root.span_id.hex()) == ("r1", span_of(PRODUCT, "r1"))
    steps = [span for span in collector.of(TRACE) if span.parent_span_id == root.span_id]
    assert [span.name for span in sorted(steps, key=lambda span: span.start_time_unix_nano)] == [
        "features",
        "score",
        "log",
    ]
    assert all(
        root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano <= root.end_time_unix_nano
        for span in steps
    )
    assert facts(wrong)["http.response.status_code"] == 422
    assert collector.of("a" * 32) == []  # whose caller records nothing
    records = {record.request_id: record for record in service.logged()}
    assert records["r1"].trace == TRACE
    (batch,) = [span for span in collector.spans if span.span_id.hex() == span_of(PRODUCT, "b")]
    assert {records["b#0"].trace, records["b#1"].trace} == {
        batch.trace_id.hex()
    }  # a trace of our own stands in the record
    assert facts(batch)["headwater.instances"] == 2


def test_a_collector_that_is_away_costs_no_answer(
    released: Released, start: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_TRACES", "http://127.0.0.1:9")
    service = start()
    assert [service.predict().status for _ in range(20)] == [200] * 20
    assert service.stop()[0] == 0


def test_who_ends_waits_for_no_more_of_a_collector_that_hangs_than_one_batch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "_PATIENCE", 5.0)  # longer than it takes to record the spans
    monkeypatch.setattr(tracing, "_CLOSING", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        tracer = tracing.Tracer(f"http://127.0.0.1:{deaf.getsockname()[1]}", "test")
        for place in range(2_000):
            tracer.record(Span(name=str(place), start=1, end=2))
        tracer.close()
    dropped = [one for one in caplog.messages if "spans are dropped" in one]
    assert len(dropped) >= 3, "of four batches one may be on its way"


def test_without_the_setting_nothing_is_traced_and_nothing_of_it_is_loaded(
    released: Released, start: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADWATER_TRACES", raising=False)
    service = start()
    assert service.predict(id="plain").status == 200
    assert [record.trace for record in service.logged()] == [""]
    assert open_tracer("", "headwater-serve") is None
    code = "import sys, serving.http._server, serving.http._app; sys.exit(any(n.startswith('opentelemetry') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_an_address_that_is_none_is_said_at_once() -> None:
    with pytest.raises(TracingError, match="no address"):
        open_tracer("collector", "headwater-serve")


def test_the_log_is_json_and_names_the_request_and_the_trace_that_a_fault_cost(
    released: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start(program=with_disk(tmp_path, BROKEN))
    said = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "unlucky"}
    assert service.ask("POST", PREDICT, {"entity": ENTITY, "time": TIME}, said).status == 500
    lines = [json.loads(line) for line in service.stop()[1].splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    (line,) = [line for line in lines if line["message"] == "a request failed"]
    assert (line["request_id"], line["trace"], line["product"], line["level"]) == ("unlucky", TRACE, PRODUCT, "error")
    assert any("planted" in one.get("exception", "") for one in lines)
