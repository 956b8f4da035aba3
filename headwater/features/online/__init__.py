"""Online features: what a service looks up, from the same tables and with the same answers as the point-in-time join."""

from headwater.features.online._interface import (
    Answer,
    Lookup,
    OnlineContent,
    OnlineRow,
    OnlineStore,
    OnlineTable,
    OnlineVersion,
    OnlineView,
)
from headwater.features.online._rows import prepare, rows_from

__all__ = [
    "Answer",
    "Lookup",
    "OnlineContent",
    "OnlineRow",
    "OnlineStore",
    "OnlineTable",
    "OnlineVersion",
    "OnlineView",
    "prepare",
    "rows_from",
]
