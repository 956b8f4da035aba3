"""What the performance report says of the newest window in service: whether its inputs, its scores or their calibration moved."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from assets._chain._performance_history import end_of, is_judged
from headwater.product import Audit, Check, Severity, Verdict

IN_SERVICE: Final = "in_service"
"""In the report and among its facts."""
SCORE_SHIFTED: Final = "score_shifted"
"""In a window: whether its scores lie beyond the limits of drift; null where they were compared with nothing."""
COMPARED: Final = "compared_with"
"""In a window's calibration: the version whose evaluation it is compared with; null where other versions answered, too."""
_Window = Mapping[str, Any]


def in_service(windows: Sequence[_Window], *, now: datetime, version: str | None) -> dict[str, Any]:
    """What moved since the live version learned and was judged, each of the newest window that is over and says it.

    Args:
        windows: Of the report, oldest first.
        now: As of when.
        version: The live version, None without one. What was compared with another one's reference says nothing of it.

    Returns:
        `version`; of `features` the `shifted` columns with their effects and how many `columns` were compared; of `scores` the `effect`
        and whether they `shifted`; of `calibration` what `calibration_changes` gives, and whether it is `lost`. Each with its `window`
        (null where nothing was compared) and a `reason`.
    """
    over = [window for window in reversed(windows) if end_of(window) <= now]
    return {
        "version": version,
        "features": _features(over, version),
        "scores": _scores(over, version),
        "calibration": _calibration(over, version),
    }


def calibration_changes(calibration: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """By how much the calibration error and the bias of a window differ from those of the evaluation; empty without a reference.

    Args:
        calibration: Of a window of the report; None of one that is not judged.

    Returns:
        Of `error` and `bias` the `value`, `low` and `high`, the latter two null where too few groups were there. The reference counts
        as exact. The error has no sign: which way scores moved, the bias says.
    """
    if calibration is None or calibration["reference"] is None or calibration["error"]["value"] is None:
        return {}
    return {name: _less(calibration[name], calibration["reference"][name]) for name in ("error", "bias")}


def shown_changes(changes: Mapping[str, Mapping[str, Any]]) -> str:
    """Differences with their intervals, as people read them."""
    return ", ".join(f"{name} {one['value']:+.3f}{_between(one)}" for name, one in changes.items())


def _less(found: Mapping[str, Any], before: float) -> dict[str, Any]:
    return {end: None if found[end] is None else round(found[end] - before, 6) for end in ("value", "low", "high")}


def _between(one: Mapping[str, Any]) -> str:
    return "" if one["low"] is None else f" [{one['low']:+.3f}, {one['high']:+.3f}]"


def checks_in_service() -> tuple[Check, ...]:
    """Claims about the newest window in service. They warn: what to do is for decisions and people."""
    return (
        _warning(
            "no_served_column_shifted",
            _no_column_shifted,
            "No watched column of what was predicted in the newest window that is over lies beyond the declared limits.",
        ),
        _warning(
            "served_scores_did_not_shift",
            _scores_did_not_shift,
            "The live version's scores in the newest window that is over lie within the declared limits of those of its evaluation.",
        ),
        _warning(
            "calibration_holds",
            _calibration_holds,
            "In the newest judged window that the live version answered alone its scores are as good probabilities as in its evaluation.",
        ),
    )


def _warning(name: str, judge: Any, description: str) -> Check:
    return Check(name=name, judge=judge, blocking=False, severity=Severity.WARN, description=description)


def _features(over: Sequence[_Window], version: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"window": None, "shifted": {}, "columns": 0}
    for window in over:
        if why := _no_reference(window, "features"):
            return {**told, "reason": why}
        if window.get("drift") and "shifted" in window and window.get("compared_with") == version:
            effects = window["drift"]
            shifted = {name: effects[name] for name in window["shifted"]}
            return {"window": window["start"], "shifted": shifted, "columns": len(effects), "reason": ""}
    return {**told, "reason": "no window that is over has enough predictions beside the live version's training"}


def _scores(over: Sequence[_Window], version: str | None) -> dict[str, Any]:
    told = {"window": None, "effect": None, "shifted": False}
    for window in over:
        if why := _no_reference(window, "scores"):
            return {**told, "reason": why}
        if window.get(SCORE_SHIFTED) is not None and window.get("compared_with") == version:
            effect, shifted = window["score_drift"], window[SCORE_SHIFTED]
            return {"window": window["start"], "effect": effect, "shifted": shifted, "reason": ""}
    return {**told, "reason": "the live version did not answer enough in any window that is over"}


def _no_reference(window: _Window, what: str) -> str:
    """Why a window with predictions was compared with nothing; empty where it was, or had none."""
    return str(window.get("no_reference", {}).get(what, "")) if window["overall"]["rows"] else ""


def _calibration(over: Sequence[_Window], version: str | None) -> dict[str, Any]:
    for window in over:
        found = window.get("calibration")
        if found is None or not is_judged(window) or _calibrated_by(window) != version or version is None:
            continue
        changes = calibration_changes(found)
        return {"window": window["start"], "lost": found["lost"], "changes": changes, "reason": found["reason"]}
    reason = "no window that the live version answered alone has its labels"
    return {"window": None, "lost": False, "changes": {}, "reason": reason}


def _calibrated_by(window: _Window) -> str | None:
    """The version that a window's calibration is compared with; a report of an older Headwater says it of the drift alone."""
    found = window["calibration"]
    older = window.get("compared_with") if found["reference"] else None
    said: str | None = found.get(COMPARED, older)
    return said


def _no_column_shifted(audit: Audit) -> Verdict:
    found = _of(audit, "features")
    moved = sorted(found["shifted"].items(), key=lambda one: (-one[1], one[0]))
    if not moved:
        return Verdict(passed=True, facts=found, description=_unseen(found))
    named = ", ".join(f"{name} ({effect:.2f})" for name, effect in moved[:5])
    more = f" and {len(moved) - 5} more" if len(moved) > 5 else ""
    said = f"Of {found['columns']} columns {len(moved)} shifted in the window of {_day(found)}, by PSI above chance: {named}{more}."
    return Verdict(passed=False, facts=found, description=said)


def _scores_did_not_shift(audit: Audit) -> Verdict:
    found = _of(audit, "scores")
    if not found["shifted"]:
        return Verdict(passed=True, facts=found, description=_unseen(found))
    said = f"The scores in the window of {_day(found)} shifted by {found['effect']:.2f} (PSI above chance) from those of the evaluation."
    return Verdict(passed=False, facts=found, description=said)


def _calibration_holds(audit: Audit) -> Verdict:
    found = _of(audit, "calibration")
    if not found["lost"]:
        return Verdict(passed=True, facts=found, description=_unseen(found))
    beside = f" ({shown_changes(found['changes'])} from the evaluation's)" if found["changes"] else ""
    said = f"The calibration is lost in the window of {_day(found)}{beside}. {found['reason']}"
    return Verdict(passed=False, facts=found, description=said)


def _of(audit: Audit, what: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = audit.facts[IN_SERVICE][what]
    return found


def _unseen(found: Mapping[str, Any]) -> str:
    """That nothing was compared is another thing than that all is well."""
    return f"Nothing was compared: {found['reason']}." if found["window"] is None else ""


def _day(found: Mapping[str, Any]) -> str:
    return str(found["window"])[:10]
