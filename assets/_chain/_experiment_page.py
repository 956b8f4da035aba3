"""An experiment as people see it: what each version did, how they compare, what is still missing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from headwater.pages import heading, paragraph, table, write_page

PAGE_FILE: Final = "experiment.html"


def write_experiment(file: Path, question: str, document: Mapping[str, Any]) -> None:
    """Writes the page of a decision's document."""
    standing = document["evidence"]["standing"]
    if standing is None:
        write_page(file, "Experiment", [paragraph(question), paragraph(document["reason"])])
        return
    title = f"{standing['kind']}: {', '.join(standing['arms'])}"
    parts = [paragraph(question), paragraph(f"{document['action']}: {document['reason']}."), *_sections(document)]
    write_page(file, title, parts)


def _sections(document: Mapping[str, Any]) -> list[str]:
    evidence = document["evidence"]
    back = evidence["standing"]["back"]
    ends = f"Versions that certainly fail or are slow more often than promised go back to {back} by themselves."
    ends = ends if back else "Nothing was live before that could be gone back to."
    return [
        *_incomplete(evidence),
        heading("Requests since it began"),
        _requests(evidence),
        paragraph(ends),
        heading("Decisions against the truth"),
        _truth(evidence),
        heading(f"Against {evidence['standing']['control']}"),
        _compared(document),
        paragraph(_how(document)),
        *_split(evidence),
        *_learned(document),
        *_test(evidence["facts"]["test"]),
    ]


def _incomplete(evidence: Mapping[str, Any]) -> Sequence[str]:
    """Which rows are gone, and what of the page is of the rest alone."""
    since = evidence.get("incomplete_since")
    if since is None:
        return ()
    said = (
        f"Since {since} requests that came in up to {evidence['dropped_until']} are no longer kept (Serving.keep). All that stands here is "
        "of those that are kept, and its intervals and the p-value of the split hold for one look only. A bandit goes on drawing from what it learned while all were there; "
        "a declared test does not end by itself. Promises are still kept watch over. Order it anew to begin again."
    )
    return heading("Not all rows are there"), paragraph(said)


def _requests(evidence: Mapping[str, Any]) -> str:
    rows = []
    for arm in evidence["arms"]:
        seen = arm["traffic"]
        asked = seen["answered"] + seen["failed"]
        rows.append([seen["version"], f"{asked:,}", _part(seen["failed"], asked), _part(seen["slow"], _timed(seen))])
    before = evidence["before"]
    asked = before["answered"] + before["failed"]
    week = ["the week before", f"{asked:,}", _part(before["failed"], asked), _part(before["slow"], _timed(before))]
    allowed = ["promised at most", "", f"{evidence['errors_allowed']:.2%}", f"{evidence['slow_allowed']:.2%}"]
    return table(["version", "requests", "failed or not scored", "slow"], [*rows, week, allowed])


def _timed(seen: Mapping[str, Any]) -> int:
    """Answers whose latency is promised: those to a single instance. A decision that stands may be one of before, which told no batches."""
    return int(seen["answered"] - seen.get("batches", 0))


def _truth(evidence: Mapping[str, Any]) -> str:
    costs, rows = evidence["facts"]["costs"], []
    for arm in evidence["arms"]:
        seen = arm["traffic"]
        loss = _mean(seen["loss"])
        cost = "" if costs is None or loss is None else f"{costs['least'] + loss * costs['span']:.4f} {costs['unit']}"
        rows.append(
            [seen["version"], _part(arm["positives"], arm.get("decisions", seen["answered"])), f"{seen['loss']['count']:,}", _number(loss),
             cost, _number(_mean(seen["wrong"])), _number(arm["auc"])]
        )  # fmt: skip
    names = [
        "version",
        "positive decisions",
        f"settled {_counted(evidence)}",
        "loss, 0 to 1",
        "cost of a decision",
        "wrong decisions",
        "AUC",
    ]
    return table(names, rows)


def _compared(document: Mapping[str, Any]) -> str:
    evidence = document["evidence"]
    costs, rows = evidence["facts"]["costs"], []
    for one in document["compared"]:
        needed = "" if one["labels_needed"] is None else f"{one['labels_needed']:,}"
        cost = "" if costs is None else _interval(one["loss"], costs["span"])
        rows.append([one["version"], _interval(one["loss"]), _interval(one["wrong"]), cost, needed])
    return table(
        [
            "version",
            "loss",
            "wrong decisions",
            "cost of a decision",
            f"{_counted(evidence)} until as narrow as the margin",
        ],
        rows,
    )


def _how(document: Mapping[str, Any]) -> str:
    evidence = document["evidence"]
    whole = evidence.get("incomplete_since") is None
    hold = "that hold at every look, also where a bandit chooses who is asked" if whole else "for one look"
    said = (
        f"Differences with intervals {hold}; all of them and all alarms share "
        f"a chance of {document['rules']['alpha']:.0%} to be wrong. {evidence['unsettled']:,} events wait for labels."
    )
    if evidence["standing"]["kind"] in ("epsilon-greedy", "thompson"):
        said += " Shares change with time: where the rewards of all versions do too, a difference may come from that."
    return said


def _counted(evidence: Mapping[str, Any]) -> str:
    duels = evidence["duels"]
    return str(duels[0]["loss"].get("counted", "labels")) if duels else "labels"


def _split(evidence: Mapping[str, Any]) -> Sequence[str]:
    if evidence["split_p"] is None:
        return ()
    rows = [[arm["traffic"]["version"], f"{arm['units']:,}", f"{arm['expected']:,.0f}"] for arm in evidence["arms"]]
    said = "the split is broken, and nothing can be compared." if evidence["mismatch"] else "the split is as declared."
    told = paragraph(f"p = {evidence['split_p']:.3g}: {said}")
    return heading("Split of what was drawn"), table(["version", "units", "expected"], rows), told


def _learned(document: Mapping[str, Any]) -> Sequence[str]:
    standing = document["evidence"]["standing"]
    part = {"epsilon-greedy": "means", "thompson": "beliefs"}.get(standing["kind"])
    if part is None:
        return ()
    newest = document["learned"]["policy"][part] if document["learned"] else {}
    rows = [
        [name, str(standing["begun"][part].get(name)), str(drawn), str(newest.get(name, "nothing yet"))]
        for name, drawn in standing["policy"][part].items()
    ]
    return heading("What is drawn from"), table(["version", "as it began", "drawn from", "learned last"], rows)


def _test(test: Mapping[str, Any] | None) -> Sequence[str]:
    if test is None:
        return ()
    rows = []
    for one in test["differences"]:
        needed = "unknown" if one["needed"] is None else " and ".join(f"{count:,}" for count in one["needed"])
        power = "unknown" if one["power"] is None else f"{one['power']:.0%}"
        rows.append([one["variant"], power, needed, one["reason"]])
    said = paragraph(
        "For one look at the end: power to find the margin, and rows of control and version for 80% of it. It decides nothing."
    )
    return heading("As a plain test"), table(["version", "power", "rows needed", "what it says"], rows), said


def _interval(found: Mapping[str, Any], scale: float = 1.0) -> str:
    estimate, low, high = (found[name] * scale for name in ("estimate", "low", "high"))
    return f"{estimate:+.4f} [{low:+.4f}, {high:+.4f}]"


def _mean(seen: Mapping[str, Any]) -> float | None:
    return seen["total"] / seen["count"] if seen["count"] else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _part(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.2%})" if whole else f"{part:,}"
