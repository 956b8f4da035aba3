"""What a decision to train again looks at of a window of the performance report: the live version's own predictions, where they are told apart."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from assets._chain._performance import ANSWERED
from assets._chain._performance_page import DRAWN_BY, metric_of

if TYPE_CHECKING:
    from headwater.decisions import Window

_VERSION = "version"


def window_of(raw: Mapping[str, Any], live: str, metric: str) -> "Window":
    """A window as evidence.

    Args:
        raw: Its record in the report.
        live: The version that is live now, empty without one.
        metric: Which metric, one of which more is better.
    """
    from headwater.decisions import Window
    from headwater.monitoring import ROWS

    answered, overall = _answered(raw), raw["overall"]
    version, own = _judged(raw, live, answered)
    found = metric_of({"overall": own}, metric)
    return Window(
        start=datetime.fromisoformat(raw["start"]),
        end=datetime.fromisoformat(raw["end"]),
        rows=_awaited(overall),
        labelled=own["labelled"],
        effects=dict(raw["drift"]),
        no_reference=raw.get("no_reference", {}).get("features", ""),
        metric=found["value"] if found else None,
        metric_high=found["high"] if found else None,
        answered=answered,
        version=version,
        compared_with=raw.get("compared_with") or "",
        by_rows=own.get(DRAWN_BY, ROWS) == ROWS,
    )


def own_parts(raw: Mapping[str, Any]) -> dict[str, Mapping[str, Any] | None]:
    """By version that answered in a window what the report says of its own part; None where it does not tell the versions apart.

    Args:
        raw: The window's record in the performance report.
    """
    answered, told = _answered(raw), _by_version(raw)
    if len(answered) == 1:
        return dict.fromkeys(answered, raw["overall"])
    return {version: told.get(version) for version in answered}


def _judged(raw: Mapping[str, Any], live: str, answered: Mapping[str, int]) -> tuple[str, Mapping[str, Any]]:
    """Whose predictions count, and how they did: the only version's, else the live one's own if the report slices by version, else nobody's."""
    overall: Mapping[str, Any] = raw["overall"]
    if len(answered) == 1:
        return next(iter(answered)), overall
    own = _by_version(raw).get(live)
    return ("", overall) if own is None else (live, own)


def _answered(raw: Mapping[str, Any]) -> dict[str, int]:
    """Predictions that have or await a label, by version; a report of an older Headwater says it in its slices alone."""
    if ANSWERED in raw:
        return dict(raw[ANSWERED])
    return {version: _awaited(found) for version, found in _by_version(raw).items()}


def _by_version(raw: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {part["value"]: part["performance"] for part in raw["slices"] if part["column"] == _VERSION}


def _awaited(performance: Mapping[str, Any]) -> int:
    return int(performance["rows"] - performance["without_truth"])
