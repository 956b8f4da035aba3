"""The story of a replay: how well each way to run the model would have done, what was decided and why, and what it cost."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from headwater.models.evaluation_plots import drawn
from headwater.pages import heading, table, write_page

PAGE_FILE: Final = "index.html"
PLOT_FILE: Final = "auc.svg"
_FEW: Final = 0.002
"""AUC beyond which a gain is one, where no interval is known."""
_COLOURS: Final = ("#1f5f8b", "#9aa5b1", "#c2672b")


@dataclass(frozen=True, kw_only=True)
class Week:
    """One window of the story.

    Attributes:
        start: Its first instant.
        rows: Predictions whose truth is known.
        champion: AUC of what was live, as it answered; None where it is undefined.
        never: AUC of the version that was live at the beginning.
        weekly: AUC of a model that is trained anew at each week's begin on all that was known then, whatever was decided.
        cost: Business cost of a decision, of the same three; None where none is declared.
        retrained: Of the rows those that a version answered which was published since the beginning.
    """

    start: datetime
    rows: int
    champion: float | None
    never: float | None
    weekly: float | None
    cost: tuple[float | None, float | None, float | None] = (None, None, None)
    retrained: int = 0

    @property
    def answered_alike(self) -> bool:
        """Whether what was live ranked as the never retrained model, and was none that was retrained, which may rank as that one did."""
        is_same = not self.retrained or self.champion is None
        return is_same and self.champion == self.never and self.cost[0] == self.cost[1]


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happened.

    Attributes:
        title: Product and time.
        weeks: Windows in order.
        decisions: Each decision that changed something, refused something, or held back what something spoke for: when, the day on
            which it was played, kind, action, version, reason; of releases whether they `changed` what answers.
        costs: Asset to builds, CPU seconds, wall seconds and bytes.
        facts: What the replay itself took: answers, failures, seconds.
        unit: Unit of the business cost.
        intervals: 95% intervals of `gain`, `gain_of_weekly` and `saved`, by these names; one that is absent is unknown.
        training_seconds: CPU seconds that trainings and their evaluations took.
        weekly_seconds: CPU seconds that the weekly trainings took, which are no part of `costs`.
        quiet: The other decisions, which the page folds away.
    """

    title: str
    weeks: tuple[Week, ...]
    decisions: tuple[Mapping[str, Any], ...]
    costs: Mapping[str, Mapping[str, float]]
    facts: Mapping[str, Any]
    unit: str = ""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    training_seconds: float = 0.0
    weekly_seconds: float = 0.0
    quiet: tuple[Mapping[str, Any], ...] = ()

    @property
    def answered_alike(self) -> bool:
        """Whether each week what was live ranked as the never retrained model, and was none that was retrained."""
        return all(week.answered_alike for week in self.weeks)

    @property
    def gain(self) -> float | None:
        """Mean AUC of the champion less that of the never retrained model, weeks weighted by rows; None without any."""
        return _difference([(week.rows, week.champion, week.never) for week in self.weeks])

    @property
    def gain_of_weekly(self) -> float | None:
        """The same for the model that is retrained every week."""
        return _difference([(week.rows, week.weekly, week.never) for week in self.weeks])

    @property
    def saved(self) -> float | None:
        """Mean cost of a decision of the champion less that of the never retrained model; None without any."""
        return _difference([(week.rows, week.cost[0], week.cost[1]) for week in self.weeks])


def write_story(story: Story, folder: Path) -> Path:
    """Writes the page; the file to open."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PLOT_FILE).write_text(_plot(story), encoding="utf-8")
    parts = [
        f"<p class='verdict'>{html.escape(conclusion(story))}</p>",
        f"<img src='{PLOT_FILE}' alt='AUC by week'>",
        heading("Week by week"),
        _weeks(story),
        heading("Decisions"),
        _decisions(story.decisions),
        *([_folded(story.quiet)] if story.quiet else []),
        heading("What it cost"),
        _costs(story.costs),
        heading("The replay itself"),
        _facts(story.facts),
    ]
    write_page(folder / PAGE_FILE, story.title, parts)
    return folder / PAGE_FILE


def conclusion(story: Story) -> str:
    """Whether retraining paid, in a sentence or two."""
    if story.gain is None:
        return "No week has the labels it takes to say whether retraining paid."
    trained = sum(decision["action"] == "retrain" for decision in story.decisions)
    said = _ordered(trained, story.training_seconds)
    if story.answered_alike:
        said += "What was live ranked as the model that was never retrained"
    else:
        said += f"What was live ranked {_told(story, 'gain')} AUC against the model that was never retrained"
    if story.gain_of_weekly is not None:
        said += f"; a model retrained every week, {_told(story, 'gain_of_weekly')} for {story.weekly_seconds:.0f} CPU seconds"
    if story.saved is not None and not story.answered_alike:
        said += f". A decision cost {_told(story, 'saved')} {story.unit} against the never retrained model".rstrip()
    return f"{said}. {_verdict(story)} over this time."


def _ordered(trained: int, seconds: float) -> str:
    if not trained:
        return "No training was ordered. "
    one = trained == 1
    return f"{trained} training{' was' if one else 's were'} ordered, {seconds:.0f} CPU seconds with {'its evaluation' if one else 'their evaluations'}. "


def _verdict(story: Story) -> str:
    if not any(week.retrained and week.champion is not None for week in story.weeks):
        return "No retrained model answered enough to tell whether retraining paid"
    gain = story.gain or 0.0
    if "gain" not in story.intervals:
        return f"Retraining {'paid' if gain > _FEW else 'did not pay'}"
    low, high = story.intervals["gain"]
    if low > 0:
        return "Retraining ranked better, and chance does not explain it,"
    if high < 0:
        return "Retraining ranked worse, and chance does not explain it,"
    return "Retraining made no difference that chance does not explain"


def _told(story: Story, name: str) -> str:
    value = _signed(getattr(story, name))
    if name not in story.intervals:
        return value
    low, high = story.intervals[name]
    return f"{value} [{_signed(low)}, {_signed(high)}]"


def _difference(weeks: Sequence[tuple[int, float | None, float | None]]) -> float | None:
    known = [(rows, one - other) for rows, one, other in weeks if one is not None and other is not None]
    total = sum(rows for rows, _ in known)
    return sum(rows * gap for rows, gap in known) / total if total else None


def _signed(value: float) -> str:
    return f"{value:+.4f}"


def _plot(story: Story) -> str:
    def draw(axes: Any) -> None:
        series = (("what was live", "champion"), ("never retrained", "never"), ("retrained every week", "weekly"))
        for (name, attribute), colour in zip(series, _COLOURS, strict=True):
            points = [(week.start, value) for week in story.weeks if (value := getattr(week, attribute)) is not None]
            if points:
                # What was live lies on another line as long as nothing was retrained.
                above = 3 if attribute == "champion" else 2
                axes.plot(*zip(*points, strict=True), label=name, color=colour, marker="o", markersize=3, zorder=above)
        ordered = [one["decided"] for one in story.decisions if one["action"] == "retrain"]
        changed = [
            one["day"] for one in story.decisions if one["kind"] == "release" and one.get("changed") and one.get("day")
        ]
        for said, days, colour, style in (
            ("training ordered", ordered, _COLOURS[2], ":"),
            ("release changed", changed, _COLOURS[0], "--"),
        ):
            for number, day in enumerate(days):
                line = datetime.fromisoformat(day)
                axes.axvline(line, color=colour, linewidth=0.8, linestyle=style, label="" if number else said)
        axes.set_ylabel("AUC of the week")
        if story.weeks:
            axes.legend(frameon=False)

    return drawn(draw, size=(10.0, 3.6))


def _weeks(story: Story) -> str:
    priced = any(week.cost[0] is not None for week in story.weeks)
    names = ["week", "outcomes", "live", "never retrained", "retrained weekly"]
    names += [f"cost live ({story.unit})", "cost never", "cost weekly"] if priced else []
    rows = [
        [
            f"{week.start:%Y-%m-%d}",
            f"{week.rows:,}",
            *map(_number, (week.champion, week.never, week.weekly)),
            *(map(_number, week.cost) if priced else ()),
        ]
        for week in story.weeks
    ]
    return table(names, rows, numbers=True, worded=False)


def _decisions(decisions: Sequence[Mapping[str, Any]]) -> str:
    names = ("day", "kind", "action", "version", "reason")
    rows = [[str(item.get(name) or "") for name in names] for item in decisions]
    return table(names, rows)


def _folded(decisions: Sequence[Mapping[str, Any]]) -> str:
    said = f"The other {len(decisions)}, by which nothing changed"
    return f"<details><summary>{said}</summary>{_decisions(decisions)}</details>"


def _costs(costs: Mapping[str, Mapping[str, float]]) -> str:
    ordered = sorted(costs.items(), key=lambda item: -item[1]["cpu_seconds"])
    rows = [
        [name, f"{of['builds']:.0f}", f"{of['cpu_seconds']:.1f}", f"{of['wall_seconds']:.1f}"] for name, of in ordered
    ]
    total = [sum(of[name] for of in costs.values()) for name in ("builds", "cpu_seconds", "wall_seconds")]
    return table(
        ["asset", "builds", "CPU seconds", "wall seconds"],
        [*rows, ["all", f"{total[0]:.0f}", f"{total[1]:.1f}", f"{total[2]:.1f}"]],
        numbers=True,
        worded=False,
    )


def _facts(facts: Mapping[str, Any]) -> str:
    return table(["", ""], [[name, str(value)] for name, value in facts.items()])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
