"""Traces by OpenTelemetry: what took how long, sent to a collector after it is over. Nothing is imported before somebody asks for it.

Spans are made from measured times when they have ended, so that what is measured does nothing but look at the clock.
"""

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from headwater.errors import HeadwaterError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.trace import SpanContext

_LOG: Final = logging.getLogger("headwater.tracing")
_PATH: Final = "/v1/traces"
_TRACE: Final = re.compile(r"(?=.*[1-9a-f])[0-9a-f]{32}")
_OF_BATCH: Final = re.compile(r"#[0-9]+\Z")
_PATIENCE: Final = 5.0
"""Seconds that a collector has for a batch."""
_CLOSING: Final = 2.0
"""Seconds after which a process that ends begins no further batch: whoever stops it waits for one that is on its way, and no longer."""
MOST_LINKS: Final = 128
"""OpenTelemetry's own limit of links of a span."""


class TracingError(HeadwaterError):
    """Traces cannot be sent where a setting says."""

    def __init__(self, *, endpoint: str, problem: str, remedy: str) -> None:
        super().__init__(f"Traces cannot be sent to {endpoint!r}: {problem} {remedy}")


@dataclass(frozen=True, kw_only=True)
class Span:
    """Something that took time.

    Attributes:
        name: What it was.
        start: When it began, in nanoseconds since 1970.
        end: When it was over.
        attributes: What is known of it.
        children: What it consisted of.
        trace: Trace id, 32 hex digits; empty begins a trace.
        id: Its own id, 16 hex digits; empty takes a random one.
        parent: Id of the span of another process that asked for it, empty for none.
        is_server: Whether it answers somebody.
        links: Trace id and span id of what it continues, of other traces.
        error: What went wrong, empty when nothing did.
    """

    name: str
    start: int
    end: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    children: tuple["Span", ...] = ()
    trace: str = ""
    id: str = ""
    parent: str = ""
    is_server: bool = False
    links: tuple[tuple[str, str], ...] = ()
    error: str = ""


class Tracer:
    """Sends spans to a collector (OTLP over HTTP), in batches and from a thread. What cannot be sent is dropped, and logged."""

    def __init__(self, endpoint: str, service: str) -> None:
        """Begins the thread.

        Args:
            endpoint: The collector, such as `http://127.0.0.1:4318`.
            service: Who sends, `service.name`.

        Raises:
            TracingError: The endpoint is no address, or the packages are missing.
        """
        if not endpoint.startswith(("http://", "https://")):
            raise TracingError(
                endpoint=endpoint, problem="it is no address.", remedy="Give one such as http://127.0.0.1:4318."
            )
        try:
            self._provider, self._ids, self._exporter = _provider(endpoint.rstrip("/") + _PATH, service)
        except ImportError as error:
            raise TracingError(
                endpoint=endpoint, problem=f"{error.name} is not installed.", remedy="Install headwater[tracing]."
            ) from error
        self._tracer = self._provider.get_tracer("headwater")

    def record(self, span: Span) -> None:
        """Sends a span with its children, soon. One thread at a time."""
        from opentelemetry import context, trace

        root = context.Context()
        if span.parent:
            remote = trace.NonRecordingSpan(_context(span.trace, span.parent))
            root = trace.set_span_in_context(remote, root)
        self._record(span, root)

    def close(self) -> None:
        """Sends what waits, as far as the collector takes it soon; the rest is dropped, and logged."""
        self._exporter.until = time.monotonic() + _CLOSING
        self._provider.force_flush()
        self._exporter.until = float("inf")

    def _record(self, span: Span, parent: Any) -> None:
        from opentelemetry import trace

        self._ids.next_trace, self._ids.next_span = span.trace, span.id
        made = self._tracer.start_span(
            span.name,
            context=parent,
            kind=trace.SpanKind.SERVER if span.is_server else trace.SpanKind.INTERNAL,
            attributes={name: value for name, value in span.attributes.items() if value is not None},
            links=[trace.Link(_context(*link)) for link in span.links],
            start_time=span.start,
        )
        if span.error:
            made.set_status(trace.Status(trace.StatusCode.ERROR, span.error))
        within = trace.set_span_in_context(made, parent)
        for child in span.children:
            self._record(child, within)
        made.end(end_time=max(span.end, span.start))


@cache
def open_tracer(endpoint: str, service: str) -> Tracer | None:
    """This process's way to a collector, the same for all who ask; None without an endpoint. Raises TracingError."""
    return Tracer(endpoint, service) if endpoint else None


def new_trace() -> str:
    """A trace id that no other trace has."""
    return secrets.token_hex(16)


def span_of(product: str, request_id: str) -> str:
    """The id of the span of an answered request: found again by who has nothing but the record of the answer."""
    return hashlib.blake2b(f"{product}\0{request_id}".encode(), digest_size=8).hexdigest()


def links_of(answered: Sequence[tuple[str, str, str]]) -> Iterator[tuple[str, str]]:
    """Links to the spans of answered requests, each once: of product, request id and trace id of their records."""
    seen = set()
    for product, id, trace in answered:
        link = (trace, span_of(product, request_of(id)))
        if _TRACE.fullmatch(trace) and link not in seen:
            seen.add(link)
            yield link


def request_of(id: str) -> str:
    """The id of the request that a record's id belongs to: instance `i` of a batch is `<id>#<i>`."""
    return _OF_BATCH.sub("", id)


def _context(trace: str, span: str) -> "SpanContext":
    from opentelemetry import trace as api

    flags = api.TraceFlags(api.TraceFlags.SAMPLED)
    return api.SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=flags)


def _provider(endpoint: str, service: str) -> "tuple[TracerProvider, Any, Any]":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Gives the ids that were set for the next span, else random ones."""

        next_trace = next_span = ""

        def generate_trace_id(self) -> int:
            given, self.next_trace = self.next_trace, ""
            return int(given, 16) if given else super().generate_trace_id()

        def generate_span_id(self) -> int:
            given, self.next_span = self.next_span, ""
            return int(given, 16) if given else super().generate_span_id()

    class Exporter(OTLPSpanExporter):
        """Begins no batch after an instant: OpenTelemetry's own flush has no end of its own."""

        until = float("inf")

        def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
            if time.monotonic() > self.until:
                _LOG.warning("%d spans are dropped: the collector did not take what came before in time.", len(spans))
                return SpanExportResult.FAILURE
            return super().export(spans)

    ids, exporter = Ids(), Exporter(endpoint=endpoint, timeout=_PATIENCE)
    found = TracerProvider(resource=Resource.create({"service.name": service}), id_generator=ids)
    found.add_span_processor(BatchSpanProcessor(exporter))
    return found, ids, exporter
