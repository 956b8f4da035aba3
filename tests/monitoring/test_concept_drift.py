"""Detectors find what is planted, tell rises from falls, and say nothing about a quiet stream. `benchmarks/concept_drift.py` measures them."""

import json
from typing import Any

import numpy as np
import pytest

from benchmarks.concept_drift import CONTENDERS, KINDS, judge, measure, stream
from headwater.monitoring import (
    Adwin,
    BadValuesError,
    Ddm,
    Detector,
    MonitoringRuleError,
    PageHinkley,
    concept_alarms,
)

DETECTORS = [Adwin(), PageHinkley(), Ddm()]


def stretches(*parts: tuple[float, int], seed: int = 1) -> np.ndarray:
    """Errors with these rates, each for so many rows."""
    draw = np.random.default_rng(seed)
    return np.concatenate([draw.random(rows) < rate for rate, rows in parts])


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.name)
def test_a_rise_is_found_soon_and_shown_with_both_rates(detector: Detector) -> None:
    found = concept_alarms(stretches((0.2, 4_000), (0.5, 4_000)), detector=detector)
    (alarm,) = found.alarms
    assert 4_000 <= alarm.at < 4_600
    assert alarm.before == pytest.approx(0.2, abs=0.05)
    assert alarm.after > 0.25
    assert json.loads(json.dumps(found.to_json()))["detector"] == detector.name


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.name)
def test_a_model_that_becomes_better_raises_no_alarm(detector: Detector) -> None:
    found = concept_alarms(stretches((0.5, 4_000), (0.2, 4_000)), detector=detector)
    assert found.alarms == ()
    assert found.falls == (1 if isinstance(detector, Adwin) else 0)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.name)
@pytest.mark.parametrize("errors", [np.empty(0), np.zeros(3_000), np.ones(3_000), np.arange(3_000) % 2])
def test_a_stream_without_change_raises_none(detector: Detector, errors: np.ndarray) -> None:
    found = concept_alarms(errors, detector=detector)
    assert (found.rows, found.alarms) == (len(errors), ())


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.name)
def test_the_same_stream_gives_the_same_alarms_as_bits_or_as_numbers(detector: Detector) -> None:
    errors = stretches((0.1, 2_000), (0.4, 2_000))
    assert concept_alarms(errors, detector=detector) == concept_alarms(errors.astype(np.int8), detector=detector)


def test_what_is_not_seen_yet_changes_no_alarm() -> None:
    errors = stretches((0.2, 3_000), (0.4, 3_000), (0.6, 2_000))
    for detector in DETECTORS:
        whole = concept_alarms(errors, detector=detector).alarms
        for end in (3_500, 6_000):
            part = concept_alarms(errors[:end], detector=detector).alarms
            assert part == tuple(alarm for alarm in whole if alarm.at < end)


def test_a_good_model_is_not_alarmed_about_by_its_first_error() -> None:
    """As published, DDM begins after 30 rows: none of them wrong, and the lowest rate seen is 0, beside which 1 error is a rise."""
    errors = np.concatenate([np.zeros(60), stretches((0.01, 6_000))])
    assert len(concept_alarms(errors, detector=Ddm(warm_up=30, deviations=3)).alarms) >= 1
    assert concept_alarms(errors, detector=Ddm()).alarms == ()


@pytest.mark.parametrize("errors", [[0.5], [float("nan")], [2], [-1]])
def test_what_is_no_error_is_refused(errors: list[float]) -> None:
    with pytest.raises(BadValuesError, match="neither 0 nor 1"):
        concept_alarms(np.array(errors), detector=Adwin())


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Ddm, {"warm_up": 5}), (Ddm, {"deviations": 0.0}), (PageHinkley, {"tolerated": -0.1}),
        (PageHinkley, {"threshold": 0.0}), (PageHinkley, {"warm_up": 0}), (Adwin, {"delta": 0.0}), (Adwin, {"every": 0}),
    ],
)  # fmt: skip
def test_detectors_that_cannot_be_are_refused(kind: Any, change: dict[str, float]) -> None:
    with pytest.raises(MonitoringRuleError, match=f"{kind.__name__}.*{next(iter(change))}"):
        kind(**change)


def test_a_stretch_of_nothing_is_refused() -> None:
    with pytest.raises(MonitoringRuleError, match="stretch"):
        concept_alarms(np.zeros(3), detector=Adwin(), stretch=0)


def test_the_benchmark_counts_delays_and_false_alarms() -> None:
    one = stream("recurring", 1)
    assert one.rises == ((2_000, 4_000), (6_000, 8_000))
    # Too early; in time; a second one of the same rise; just after the fall, which is forgiven; long after it.
    assert judge(one, [1_999, 2_300, 2_900, 4_400, 5_000]) == ([300, None], 2)
    assert judge(stream("none", 1), [0, 9_999]) == ([], 2)
    assert stream("gradual", 3).errors.tolist() == stream("gradual", 3).errors.tolist()
    assert stream("gradual", 3).errors.tolist() != stream("gradual", 4).errors.tolist()


@pytest.mark.parametrize("streams", [8, pytest.param(200, marks=pytest.mark.heavy)])
def test_adwin_and_page_hinkley_find_rises_and_keep_quiet_otherwise(streams: int) -> None:
    for name in ("ADWIN", "Page-Hinkley"):
        sudden, none = (measure(name, kind, streams) for kind in ("sudden", "none"))
        assert sudden["found"] >= 0.95
        assert sudden["median_delay"] <= 1_000
        assert none["false_per_100k"] <= 2


def test_every_contender_runs_on_every_kind() -> None:
    assert set(CONTENDERS) >= {"ADWIN", "DDM", "Page-Hinkley"}
    for kind in KINDS:
        assert measure("2 of 3 windows of 1,000", kind, 2)["false_per_100k"] >= 0
