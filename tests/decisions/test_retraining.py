"""When a model is trained again, when it is not, and what the decision says of itself."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.decisions import Action, Evidence, Retraining, RetrainingRule, Window, decide_retraining, looked_at
from headwater.decisions._retraining import RuleError

NOW = datetime(2013, 7, 10, tzinfo=UTC)
RULES = Retraining()


def window(
    number: int, *, effect: float = 0.0, high: float | None = 0.77, rows: int = 5_000, labelled: int = 5_000
) -> Window:
    start = NOW - timedelta(days=number)
    return Window(
        start=start, end=start + timedelta(days=1), rows=rows, labelled=labelled, effects={"dep_delay": effect, "wind": 0.0},
        metric=None if high is None else high - 0.01, metric_high=high,
    )  # fmt: skip


def quiet(*windows: Window) -> Evidence:
    """A model of a month ago with an AUC of 0.77."""
    return Evidence(now=NOW, windows=windows, reference=0.77, trained=NOW - timedelta(days=30))


DRIFTED = quiet(window(3, effect=0.3), window(2), window(1, effect=0.9))


def test_nothing_unusual_is_held_with_a_reason() -> None:
    found = decide_retraining(RULES, quiet(window(3), window(2), window(1)))
    assert (found.action, found.reason) == (Action.HOLD, "Nothing speaks for it.")


def test_drift_counts_in_two_of_three_windows_and_names_its_columns() -> None:
    found = decide_retraining(RULES, DRIFTED)
    assert found.action is Action.RETRAIN
    assert found.reason == "dep_delay moved by 0.25 or more in 2 of the last 3 windows."


@pytest.mark.parametrize(
    "windows",
    [
        (window(3, effect=0.3), window(2), window(1)),
        (window(5, effect=0.9), window(4, effect=0.9), window(3), window(2), window(1)),
        (window(2, effect=0.9, rows=999), window(1, effect=0.9, rows=999)),
        (window(2, effect=0.24), window(1, effect=0.24)),
        (window(2), window(1, effect=0.9), window(0, effect=0.9)),
        (),
    ],
    ids=["one of three", "long ago", "few rows", "small effects", "a window that goes on", "nothing seen"],
)
def test_drift_that_is_short_old_thin_or_small_is_no_reason(windows: tuple[Window, ...]) -> None:
    assert decide_retraining(RULES, quiet(*windows)).action is Action.HOLD


def test_a_metric_counts_when_its_whole_interval_is_too_low() -> None:
    """0.7315 is 5% below 0.77."""
    low = quiet(window(2, high=0.73), window(1, high=0.72))
    assert "more than 5% below 0.77 in 2 of the last 2 judged windows" in decide_retraining(RULES, low).reason
    wide = quiet(window(2, high=0.74), window(1, high=0.74))
    assert decide_retraining(RULES, wide).action is Action.HOLD


@pytest.mark.parametrize(
    "changed",
    [{"labelled": 4_700}, {"labelled": 900, "rows": 900}, {"high": None}],
    ids=["early labels alone", "few labels", "an undefined metric"],
)
def test_a_metric_of_early_or_few_labels_or_none_is_not_judged(changed: dict[str, Any]) -> None:
    """The first labels to come in are of flights that were not late: a bad day looks good, or a good one bad."""
    bad = {"high": 0.5, **changed}
    assert decide_retraining(RULES, quiet(window(2, **bad), window(1, **bad))).action is Action.HOLD


def test_labels_that_take_longer_than_a_window_do_not_hide_a_fall() -> None:
    """The newest windows wait for their labels: of the last three none was ever judged twice, however bad the model was."""
    late = [window(n, high=None, labelled=0) for n in (2, 1)]
    bad = [window(n, high=0.6) for n in (5, 4, 3)]
    found = decide_retraining(RULES, quiet(*bad, *late, window(0, high=None, labelled=0)))
    assert found.rule is RetrainingRule.PERFORMANCE
    assert found.unseen == ("the metric in 2 of the last 3 windows, whose labels are not known",)
    alone = decide_retraining(RULES, quiet(window(3), *late))
    assert (alone.action, alone.unseen) == (Action.HOLD, found.unseen)


def test_early_labels_and_windows_that_go_on_fill_none_of_the_windows_that_are_looked_at() -> None:
    bad = [window(n, high=0.6) for n in (4, 3)]
    early = [window(n, high=0.77, labelled=900) for n in (2, 1)]
    found = decide_retraining(RULES, quiet(*bad, *early, window(0, high=0.77)))
    assert "2 of the last 2 judged windows" in found.reasons[0]
    drifted = quiet(window(3, effect=0.9), window(2), window(1, effect=0.9), window(0))
    assert decide_retraining(RULES, drifted).rule is RetrainingRule.DRIFT


def test_an_interval_by_rows_is_certain_of_its_own_days_and_the_reason_says_so() -> None:
    bad = [replace(window(n, high=0.6), by_rows=True) for n in (2, 1)]
    assert (
        "2 judged windows, on their own days (rows taken as independent)"
        in decide_retraining(RULES, quiet(*bad)).reason
    )


def test_a_judged_window_without_an_interval_is_not_taken_for_quiet() -> None:
    vague = [replace(window(n, high=0.5), metric_high=None) for n in (2, 1)]
    said = "whether the metric fell in 2 of the last 3 judged windows, which have too few days for an interval"
    assert decide_retraining(RULES, quiet(window(3), *vague)).unseen == (said,)


@given(st.lists(st.sampled_from(["good", "bad", "late", "other", "none", "open", "drifted"]), max_size=12))
def test_what_is_looked_at_decides_as_everything_does(kinds: list[str]) -> None:
    changes = {
        "good": {}, "bad": {"high": 0.6}, "late": {"high": None, "labelled": 0}, "none": {"rows": 0, "labelled": 0, "high": None},
        "drifted": {"effect": 0.9}, "other": {"high": 0.6}, "open": {"high": 0.6},
    }  # fmt: skip
    windows = [window(len(kinds) - n, **changes[kind]) for n, kind in enumerate(kinds)]
    windows = [
        replace(one, version="9" if kind == "other" else "", end=NOW + timedelta(days=1) if kind == "open" else one.end)
        for one, kind in zip(windows, kinds, strict=True)
    ]
    everything = quiet(*windows)
    kept = looked_at(RULES, windows, now=NOW, version="")
    assert decide_retraining(RULES, replace(everything, windows=kept)) == decide_retraining(RULES, everything)
    assert len(kept) <= 2 * RULES.windows


LIVE = Evidence(now=NOW, reference=0.77, version="1.1.0", learned_until=NOW - timedelta(days=3))


def test_only_windows_of_the_live_version_count_against_its_reference() -> None:
    """Windows of a version that was replaced were compared with the reference of the new one: a training a day, for a week."""
    old, own = (replace(window(1, high=0.6), version=version) for version in ("1.0.0", "1.1.0"))
    found = decide_retraining(RULES, replace(LIVE, windows=(old, old, own)))
    assert (found.action, found.rule) == (Action.HOLD, RetrainingRule.NOTHING)
    assert "the metric in 2 of the last 3 windows, in which the live version 1.1.0 did not answer alone" in found.reason
    found = decide_retraining(RULES, replace(LIVE, windows=(old, own, own)))
    assert found.rule is RetrainingRule.PERFORMANCE
    said = "the metric of 1.1.0 is certainly more than 5% below 0.77 in 2 of the last 2 judged windows"
    assert found.reasons == (said,)
    back = decide_retraining(RULES, replace(LIVE, version="1.0.0", windows=(old, old, own)))
    assert back.rule is RetrainingRule.PERFORMANCE, "after a roll-back they count again"


def test_labels_of_other_versions_predictions_are_not_awaited() -> None:
    """Of 5,000 predictions 2,000 were the live version's, and all of these have a label."""
    shared = {"version": "1.1.0", "answered": {"1.0.0": 3_000, "1.1.0": 2_000}}
    windows = [replace(window(n, high=0.6, labelled=2_000), **shared) for n in (2, 1)]
    assert decide_retraining(RULES, replace(LIVE, windows=tuple(windows))).rule is RetrainingRule.PERFORMANCE
    few = [replace(one, labelled=1_800) for one in windows]
    assert decide_retraining(RULES, replace(LIVE, windows=tuple(few))).rule is RetrainingRule.NOTHING


def test_a_version_that_came_in_is_not_trained_again_for_what_came_before_it() -> None:
    """Two bad weeks, and a good version from day 0 on, that gets bad two weeks later."""
    begin, week, trainings = datetime(2026, 7, 6, tzinfo=UTC), timedelta(days=7), list[datetime]()
    for now in (begin + timedelta(days=day, minutes=day) for day in range(29)):
        starts = [start for start in (begin + week * k for k in range(-3, 5)) if start <= now]
        windows = tuple(
            Window(
                start=start, end=start + week, rows=6_000, labelled=6_000 if start + week <= now else 3_000,
                version="1.0.0" if start < begin else "1.1.0", metric=0.75, metric_high=0.76,
            )
            for start in starts
        )  # fmt: skip
        bad = [
            replace(one, metric=0.6, metric_high=0.61)
            if one.start in (begin - week, begin - 2 * week, begin + 2 * week, begin + 3 * week)
            else one
            for one in windows
        ]
        evidence = Evidence(
            now=now, windows=tuple(bad[-3:]), reference=0.75, trainings=tuple(trainings),
            version="1.1.0" if trainings else "1.0.0",
        )  # fmt: skip
        if decide_retraining(RULES, evidence).action is Action.RETRAIN:
            trainings.append(now)
    assert [(one - begin).days for one in trainings] == [0, 28]


def test_drift_counts_from_the_training_on_and_against_the_live_version_alone() -> None:
    """What moved before the training was a reason for it, and moved no less after it."""
    drifted = [replace(window(n, effect=0.9), compared_with="1.1.0") for n in (5, 4, 3, 2)]
    found = decide_retraining(RULES, replace(LIVE, windows=tuple(drifted[:3])))
    assert found.rule is RetrainingRule.NOTHING
    said = "which began before the training of the live version 1.1.0 or were compared with another one"
    assert found.unseen[0] == f"drift in 2 of the last 3 windows, {said}"
    assert decide_retraining(RULES, replace(LIVE, windows=tuple(drifted[1:]))).rule is RetrainingRule.DRIFT
    older = [replace(one, compared_with="1.0.0") for one in drifted]
    assert decide_retraining(RULES, replace(LIVE, windows=tuple(older[1:]))).rule is RetrainingRule.NOTHING


def test_without_a_reference_performance_is_no_reason() -> None:
    evidence = replace(quiet(window(2, high=0.1), window(1, high=0.1)), reference=None)
    assert decide_retraining(RULES, evidence).action is Action.HOLD


def test_what_could_not_be_looked_at_is_said_and_not_taken_for_quiet() -> None:
    blind = replace(window(1), no_reference="the bundle has none.")
    found = decide_retraining(RULES, replace(quiet(window(3), window(2), blind), reference=None))
    said = "Nothing speaks for it. Not looked at: drift in 1 of the last 3 windows, for want of a reference (the bundle has none)"
    assert found.reason == f"{said}; whether the metric fell, for the live version has no evaluation."
    old = decide_retraining(replace(RULES, every=timedelta(days=1)), quiet(window(3), window(2), blind))
    assert (old.action, len(old.unseen)) == (Action.RETRAIN, 1)
    assert decide_retraining(RULES, quiet(window(3), window(2), window(1))).reason == "Nothing speaks for it."
    assert decide_retraining(RULES, Evidence(now=NOW)).reason == "Nothing speaks for it."


def test_new_rows_and_age_are_reasons_when_declared() -> None:
    rules = replace(RULES, new_rows=25_000, every=timedelta(days=30))
    found = decide_retraining(rules, replace(quiet(), new_rows=25_000))
    assert len(found.reasons) == 2
    assert decide_retraining(RULES, replace(quiet(), new_rows=10**9)).action is Action.HOLD
    assert (
        decide_retraining(rules, replace(quiet(), new_rows=24_999, trained=NOW - timedelta(days=29))).action
        is Action.HOLD
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"is_stopped": True}, "somebody stopped retraining"),
        ({"is_in_flight": True}, "goes on"),
        ({"trainings": (NOW - timedelta(hours=23),)}, "have not gone by"),
        ({"trainings": (NOW - timedelta(hours=23),)}, "1 trainings in 24 hours"),
    ],
)
def test_what_holds_a_retraining_back_is_said_beside_its_reason(changed: dict[str, Any], said: str) -> None:
    found = decide_retraining(RULES, replace(DRIFTED, **changed))
    assert found.action is Action.HOLD
    assert found.reason.startswith("Held, although dep_delay moved")
    assert said in found.reason


def test_a_training_of_a_day_ago_and_one_after_now_hold_nothing_back() -> None:
    """A clock that went backwards leaves trainings in the future."""
    trainings = (NOW - timedelta(days=1), NOW + timedelta(hours=1))
    assert decide_retraining(RULES, replace(DRIFTED, trainings=trainings)).action is Action.RETRAIN


def test_the_evidence_is_kept_as_json() -> None:
    raw = json.loads(json.dumps(DRIFTED.to_json(), allow_nan=False))
    assert raw["now"] == "2013-07-10T00:00:00+00:00"
    assert raw["windows"][2]["effects"] == {"dep_delay": 0.9, "wind": 0.0}
    assert (raw["learned_until"], LIVE.to_json()["learned_until"]) == (None, "2013-07-07T00:00:00+00:00")


@given(st.lists(st.floats(0, 1), max_size=5), st.booleans(), st.booleans())
def test_it_is_never_retrained_without_a_reason_or_against_a_hold(
    effects: list[float], stopped: bool, busy: bool
) -> None:
    evidence = replace(
        quiet(*(window(9 - n, effect=e) for n, e in enumerate(effects))), is_stopped=stopped, is_in_flight=busy
    )
    found = decide_retraining(RULES, evidence)
    assert (found.action is Action.RETRAIN) == (sum(e >= 0.25 for e in effects[-3:]) >= 2 and not stopped and not busy)
    assert found.reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"windows": 0}, {"needed": 4}, {"needed": 0}, {"min_rows": 0}, {"min_coverage": 1.1}, {"effect": 0.0}, {"daily_budget": -1},
        {"performance_drop": 1.0}, {"new_rows": 0}, {"every": timedelta(0)}, {"cool_down": timedelta(-1)}, {"shifted_columns": 0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_a_rule_that_cannot_be_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(RuleError, match=next(iter(wrong))):
        Retraining(**wrong)
