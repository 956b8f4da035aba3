"""Online features: what a service looks up, from the same tables and with the same answers as the point-in-time join."""

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from headwater.features.online._refresh import Refreshed, ViewRefreshed, refresh_online

_LATER = ("Refreshed", "ViewRefreshed", "refresh_online")
"""They read the lake and its streams; who looks up needs neither."""

__all__ = [
    "Answer",
    "Lookup",
    "OnlineContent",
    "OnlineRow",
    "OnlineStore",
    "OnlineTable",
    "OnlineVersion",
    "OnlineView",
    "Refreshed",
    "ViewRefreshed",
    "prepare",
    "refresh_online",
    "rows_from",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from headwater.features.online import _refresh

    return getattr(_refresh, name)
