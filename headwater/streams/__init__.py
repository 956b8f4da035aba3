"""Streams: events from a log into a lake table, each once, with event time, watermark, late and malformed ones apart."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from headwater.streams._assets import assets_of
from headwater.streams._declaration import Late, StreamSource
from headwater.streams._events import events_between, watermark_of
from headwater.streams._file_log import FileLog
from headwater.streams._ingest import Ingested, catch_up, ingest, skip_to
from headwater.streams._interface import EventLog, Limits, LogBatch, LogEvent
from headwater.streams._parsing import Reason
from headwater.streams._state import Counts, PartitionState, StreamState, read_state

if TYPE_CHECKING:
    from headwater.streams._kafka_log import KafkaLog

_LATER: Final = {"KafkaLog": "headwater.streams._kafka_log"}
"""Needs the extra `kafka`."""

__all__ = [
    "Counts",
    "EventLog",
    "FileLog",
    "Ingested",
    "KafkaLog",
    "Late",
    "Limits",
    "LogBatch",
    "LogEvent",
    "PartitionState",
    "Reason",
    "StreamSource",
    "StreamState",
    "assets_of",
    "catch_up",
    "events_between",
    "ingest",
    "read_state",
    "skip_to",
    "watermark_of",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
