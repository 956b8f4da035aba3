"""Streams: events from a log into a lake table, each once, with event time, watermark, late and malformed ones apart."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from headwater.streams._file_log import FileLog
from headwater.streams._interface import EventLog, Limits, LogBatch, LogEvent

if TYPE_CHECKING:
    from headwater.streams._kafka_log import KafkaLog

_LATER: Final = {"KafkaLog": "headwater.streams._kafka_log"}
"""Needs the extra `kafka`."""

__all__ = [
    "EventLog",
    "FileLog",
    "KafkaLog",
    "Limits",
    "LogBatch",
    "LogEvent",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
