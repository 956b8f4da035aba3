"""The decision about a rollout as people see it: what it says, how the versions compare, what is still missing."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

PAGE_FILE: Final = "rollout.html"
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1f24}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}"
    "th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #d8dee4}"
    "th:first-child,td:first-child{text-align:left}h2{font-size:1.1rem;margin-top:2rem}"
    ".said{padding:.6rem 1rem;border-left:4px solid #57606a;background:#f6f8fa}"
    ".advance{border-color:#1a7f37}.abort{border-color:#cf222e}.axis{stroke:#8c959f}.limit{stroke:#cf222e;stroke-dasharray:3}"
)
_WIDTH: Final = 560


def write_page(file: Path, question: str, document: Mapping[str, Any]) -> None:
    """Writes the page of a decision's document."""
    title = "Rollout"
    if document["candidate"] is not None:
        title = f"Rollout of {document['candidate']}: {document['where']}"
    parts = [
        f"<h1>{html.escape(title)}</h1><p>{html.escape(question)}</p>",
        f"<p class='said {document['action']}'><b>{html.escape(document['action'])}</b>: {html.escape(document['reason'])}</p>",
    ]
    if document["evidence"]["standing"] is not None:
        parts += _sections(document)
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    file.write_text(f"{head}{''.join(parts)}</html>", encoding="utf-8")


def _sections(document: Mapping[str, Any]) -> list[str]:
    evidence = document["evidence"]
    facts = evidence["facts"]
    return [
        "<h2>Requests since the stage began</h2>",
        _requests(evidence),
        "<h2>Decisions against the truth</h2>",
        _losses(document),
        _split(facts.get("split")),
        _test(facts.get("test")),
        _before(facts.get("before_rollout")),
    ]


def _requests(evidence: Mapping[str, Any]) -> str:
    standing = evidence["standing"]
    rows = []
    for role, side in (
        ("candidate", evidence["candidate"]),
        ("other", evidence["other"]),
        ("before", evidence["before"]),
    ):
        asked = side["answered"] + side["failed"]
        timed = side["answered"] - side.get(
            "batches", 0
        )  # a decision that stands may be one of before, which told none
        name = f"{standing[role]} ({role})" if role != "before" else "the week before the rollout"
        rows.append([name, f"{asked:,}", _share(side["failed"], asked), _share(side["slow"], timed)])
    allowed = ["promised at most", "", f"{evidence['errors_allowed']:.2%}", f"{evidence['slow_allowed']:.2%}"]
    return _table(["version", "requests", "failed or not scored", "slow"], [*rows, allowed])


def _losses(document: Mapping[str, Any]) -> str:
    evidence, rules, loss = document["evidence"], document["rules"], document["loss"]
    facts = evidence["facts"]
    if loss is None or not facts:
        return "<p>Nothing is compared yet.</p>"
    is_paired = evidence["versus"]["is_paired"]
    margin = rules["margin"] if is_paired else rules["canary_margin"]
    rows = [["loss, 0 to 1 (decides)", *_sides(evidence["versus"]), _interval(loss)]]
    wrong = facts["wrong"]
    rows.append(
        ["wrong decisions", _percent(wrong["candidate_share"]), _percent(wrong["other_share"]), _interval(wrong)]
    )
    if (business := facts["business"]) is not None:
        scaled = {name: loss[name] * business["span"] for name in ("estimate", "low", "high")}
        unit = f"cost of a decision{', ' + business['unit'] if business['unit'] else ''}"
        rows.append([unit, _number(business["candidate"]), _number(business["other"]), _interval({**loss, **scaled})])
    needed, counted = document["labels_needed"], evidence["versus"].get("counted", "labels")
    how = "the same requests" if is_paired else "requests of its own"
    goes_on = f"It goes on when the interval of the loss lies below {margin:g}"
    if needed:
        goes_on += f", at about {needed:,} {counted} if all stays as it looks"
    if evidence["standing"]["is_watch"]:
        goes_on = "It stays when its time has passed"
    said = (
        f"On {how}: {loss['candidate']:,} {counted} of the candidate, {loss['live']:,} of the other version; {evidence['unsettled']:,} events "
        f"wait. {goes_on}; it goes back when the wider one, {_interval(document['alarm'])}, "
        "lies above 0: all alarms of the rollout share one chance of a false one. The intervals hold at every look."
    )
    said += _by_window(document, margin)
    table = _table(["", "candidate", "other", "difference"], rows)
    return f"{_drawing(loss, document['alarm'], margin)}{table}<p>{html.escape(said)}</p>"


def _by_window(document: Mapping[str, Any], margin: float) -> str:
    """What windows say of the same requests; nothing where there are none, as in decisions before windows had a say."""
    loss, alarm = document.get("loss_by_window"), document.get("alarm_by_window")
    if loss is None or alarm is None:
        return ""
    count = f"over {loss['windows']} whole windows"
    return (
        f" Windows have to agree, of which three are needed: {count} the difference is {_interval(loss)}, to go on below {margin:g}; "
        f"{_interval(alarm)} to go back above 0."
    )


def _sides(versus: Mapping[str, Any]) -> list[str]:
    sides = [versus["candidate"], versus["other"]]
    return [_number(side["total"] / side["count"] if side["count"] else None) for side in sides]


def _drawing(loss: Mapping[str, Any], alarm: Mapping[str, Any], margin: float) -> str:
    """The intervals of the difference, between what sends back and what lets go on."""
    most = max(abs(alarm["low"]), abs(alarm["high"]), margin) * 1.1

    def x(value: float) -> float:
        return (value / most + 1) / 2 * _WIDTH

    lines = [
        f"<line class='axis' x1='{x(0):.1f}' x2='{x(0):.1f}' y1='4' y2='40'/><text x='{x(0) + 4:.1f}' y='54' font-size='12'>as good</text>",
        f"<line class='limit' x1='{x(margin):.1f}' x2='{x(margin):.1f}' y1='4' y2='40'/>"
        f"<text x='{x(margin) + 4:.1f}' y='68' font-size='12' fill='#cf222e'>margin {margin:g}</text>",
        f"<line x1='{x(alarm['low']):.1f}' x2='{x(alarm['high']):.1f}' y1='22' y2='22' stroke='#54aeff' stroke-width='2'/>",
        f"<line x1='{x(loss['low']):.1f}' x2='{x(loss['high']):.1f}' y1='22' y2='22' stroke='#0969da' stroke-width='4'/>",
        f"<circle cx='{x(loss['estimate']):.1f}' cy='22' r='5' fill='#0969da'/>",
    ]
    return f"<svg width='{_WIDTH}' height='74' role='img' aria-label='Difference of the losses with its interval'>{''.join(lines)}</svg>"


def _split(split: Mapping[str, Any] | None) -> str:
    if split is None:
        return ""
    rows = [[name, f"{split['observed'][name]:,}", f"{expected:,.0f}"] for name, expected in split["expected"].items()]
    said = "None yet." if split["p_value"] is None else f"p = {split['p_value']:.3g}: "
    if split["p_value"] is not None:
        said += (
            "the split is broken, and nothing can be compared." if split["mismatch"] else "the split is as declared."
        )
    return f"<h2>Split of what was drawn</h2>{_table(['version', 'units', 'expected'], rows)}<p>{html.escape(said)}</p>"


def _test(test: Mapping[str, Any] | None) -> str:
    if test is None or not test["differences"]:
        return ""
    found = test["differences"][0]
    power = "unknown" if found["power"] is None else f"{found['power']:.0%}"
    needed = "unknown" if found["needed"] is None else " and ".join(f"{count:,}" for count in found["needed"])
    rows = [
        ["right decisions, candidate less other", _interval(_as_effect(found["correct"]))],
        ["cost of a decision", _interval(_as_effect(found["cost"]))],
        ["power for the declared margin, with the rows so far", power],
        ["rows of the other version and of the candidate for 80% power", needed],
    ]
    said = f"{found['reason']}. These intervals hold for one look at the end; they decide nothing here."
    return f"<h2>As a test of two versions</h2>{_table(['', ''], rows)}<p>{html.escape(said)}</p>"


def _before(before: Mapping[str, Any] | None) -> str:
    if before is None:
        return ""
    rows = [
        [one["name"], _interval({"estimate": one["value"], "low": one["low"], "high": one["high"]})]
        for one in before["differences"]
    ]
    said = f"{before['candidate']} less {before['against']} on the {before['rows']:,} newest labelled rows, before anybody was answered."
    return f"<h2>Before the rollout</h2>{_table(['metric', 'difference'], rows)}<p>{html.escape(said)}</p>"


def _as_effect(estimate: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if estimate is None else {**estimate, "estimate": estimate["value"]}


def _interval(found: Mapping[str, Any] | None) -> str:
    if found is None or found["estimate"] is None:
        return ""
    if found["low"] is None or found["high"] is None:
        return f"{found['estimate']:+.4f}"
    return f"{found['estimate']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.2%})" if whole else f"{part:,}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
