"""What is decided about a test of versions: each rule alone, and over whole simulated tests how often it is wrong."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy import special

from headwater.decisions import (
    Arm,
    Duel,
    ExperimentAction,
    ExperimentDecision,
    ExperimentEvidence,
    ExperimentRule,
    ExperimentStanding,
    Release,
    Rollout,
    RolloutError,
    RolloutKind,
    RolloutRules,
    RolloutStep,
    RunningMean,
    StepAction,
    Traffic,
    Versus,
    chances_of_best,
    decide_experiment,
    learned_policy,
    policy_shares,
    same_experiment,
)
from headwater.decisions._release import _step
from headwater.monitoring import sample_ratio
from serving.policies import assign, from_json

LIVE, NEW = "1.0.0", "1.1.0"
START = datetime(2026, 5, 1, tzinfo=UTC)
AB = {"kind": "ab-test", "shares": {LIVE: 0.5, NEW: 0.5}, "salt": "s"}
THOMPSON = {"kind": "thompson", "beliefs": {LIVE: [1.0, 1.0], NEW: [1.0, 1.0]}, "salt": "s"}
GREEDY = {"kind": "epsilon-greedy", "means": {LIVE: 1.0, NEW: 0.0}, "epsilon": 0.1, "salt": "s"}
RULES = RolloutRules()


def seen(count: int, wrong: float) -> RunningMean:
    return RunningMean(count=count, total=wrong, squares=wrong)


def standing(policy: dict[str, Any] = AB, **more: Any) -> ExperimentStanding:
    usual: dict[str, Any] = {"policy": policy, "begun": policy, "control": LIVE, "back": LIVE}
    return ExperimentStanding(**{**usual, "since": START, "since_commit": "c" * 64, "order": "o1", **more})


def evidence(
    losses: dict[str, RunningMean], *, of: ExperimentStanding | None = None, traffic: Any = None, **more: Any
) -> ExperimentEvidence:
    """Two versions with as many answers as labels."""
    arms = tuple(
        Arm(traffic=Traffic(version=name, answered=one.count, wrong=one, loss=one, **(traffic or {}).get(name, {})))
        for name, one in losses.items()
    )
    versus = Versus(is_paired=False, candidate=losses[NEW], other=losses[LIVE])
    duels = (Duel(version=NEW, loss=versus, wrong=versus),)
    usual: dict[str, Any] = {"now": START + timedelta(days=2), "first": START, "arms": arms, "duels": duels}
    return ExperimentEvidence(standing=of or standing(), **{**usual, **more})


def decided(found: ExperimentEvidence, rules: RolloutRules = RULES) -> ExperimentDecision:
    decision = decide_experiment(rules, found)
    json.dumps({**decision.to_json(), "evidence": found.to_json()}, allow_nan=False)
    assert decide_experiment(rules, found) == decision
    return decision


EVEN = {LIVE: seen(1_000, 200), NEW: seen(1_000, 200)}
BETTER = {LIVE: seen(5_000, 1_500), NEW: seen(5_000, 500)}


def test_before_anything_is_known_it_stands() -> None:
    found = decided(evidence({LIVE: seen(0, 0), NEW: seen(0, 0)}))
    assert (found.action, found.rule) == (ExperimentAction.WAIT, ExperimentRule.OPEN)
    assert "0 settled labels each, 100 are needed" in found.reason
    assert found.compared[0].labels_needed is None


def test_an_ordered_test_says_who_is_better_and_goes_on() -> None:
    found = decided(evidence(BETTER))
    assert (found.action, found.rule) == (ExperimentAction.WAIT, ExperimentRule.OPEN)
    assert "certainly less than 1.0.0" in found.reason


def test_a_declared_test_ends_with_the_better_version_unless_the_split_is_broken_or_labels_are_few() -> None:
    declared = standing(candidate=NEW, order=None)
    assert decided(evidence(BETTER, of=declared)).action is ExperimentAction.ADVANCE
    swapped = {LIVE: BETTER[NEW], NEW: BETTER[LIVE]}
    worse = decided(evidence(swapped, of=declared))
    assert (worse.action, worse.culprit) == (ExperimentAction.ABORT, NEW)
    broken = decided(evidence(BETTER, of=declared, mismatch=True, split_p=1e-9))
    assert (broken.action, broken.rule) == (ExperimentAction.WAIT, ExperimentRule.SAMPLE_RATIO)
    assert decided(evidence(BETTER, of=declared), RolloutRules(min_labels=6_000)).action is ExperimentAction.WAIT
    late = evidence(EVEN, of=declared, now=START + timedelta(days=15))
    assert decided(late).rule is ExperimentRule.OVERDUE


GONE = {"dropped_until": START + timedelta(days=1), "incomplete_since": START + timedelta(days=31)}


def test_a_declared_test_does_not_end_by_what_is_left_of_its_rows() -> None:
    """Intervals that hold at every look are of a growing sample: over a sliding one each look is a new chance to be wrong."""
    declared = standing(candidate=NEW, order=None)
    for losses in (BETTER, {LIVE: BETTER[NEW], NEW: BETTER[LIVE]}):
        found = decided(evidence(losses, of=declared, **GONE))
        assert (found.action, found.rule) == (ExperimentAction.WAIT, ExperimentRule.INCOMPLETE)
    said = "since 2026-06-01T00:00:00+00:00 requests that came in up to 2026-05-02T00:00:00+00:00 are no longer kept (Serving.keep)"
    assert said in found.reason
    assert "it does not end by itself" in found.reason
    assert "certainly" not in found.reason
    late = decided(evidence(EVEN, of=declared, now=START + timedelta(days=15), **GONE))
    assert late.rule is ExperimentRule.OVERDUE
    assert said in late.reason
    failing = decided(evidence(EVEN, of=declared, traffic={NEW: {"failed": 100}}, **GONE))
    assert failing.action is ExperimentAction.ABORT, "promises protect as before"


@pytest.mark.parametrize("policy", [THOMPSON, GREEDY])
def test_a_bandit_that_lost_rows_keeps_what_it_learned(policy: dict[str, Any]) -> None:
    """Learned from the rows that were left, a version that nobody had asked for a while was as unknown as in the beginning."""
    few = {LIVE: seen(5_000, 500), NEW: seen(20, 10)}
    drawn = learned_policy(policy, {LIVE: seen(5_000, 500), NEW: seen(800, 400)}, least=200)
    stood = replace(standing(policy), policy=drawn)
    assert decided(evidence(few, of=stood)).action is ExperimentAction.LEARN
    found = decided(evidence(few, of=stood, **GONE))
    assert (found.action, found.rule, found.policy) == (ExperimentAction.WAIT, ExperimentRule.INCOMPLETE, None)
    assert "it learns nothing more" in found.reason


def test_failures_end_it_only_when_the_service_was_not_so_before() -> None:
    failing = {NEW: {"failed": 100}}
    found = decided(evidence(EVEN, traffic=failing))
    assert (found.action, found.rule, found.culprit) == (ExperimentAction.ABORT, ExperimentRule.ERRORS, NEW)
    before = Traffic(answered=9_000, failed=1_000)
    assert decided(evidence(EVEN, traffic=failing, before=before)).action is ExperimentAction.WAIT
    slow = decided(evidence(EVEN, traffic={NEW: {"slow": 300}}))
    assert slow.rule is ExperimentRule.LATENCY
    nowhere = decided(evidence(EVEN, traffic=failing, of=standing(back=None)))
    assert (nowhere.action, nowhere.rule) == (ExperimentAction.WAIT, ExperimentRule.ERRORS)
    assert "somebody has to promote" in nowhere.reason


@pytest.mark.parametrize("policy", [AB, THOMPSON, GREEDY])
@pytest.mark.parametrize(("bad", "rule"), [("slow", "latency"), ("failed", "errors")])
def test_what_is_bad_for_everybody_at_the_same_time_ends_no_test(policy: dict[str, Any], bad: str, rule: str) -> None:
    """Compared with the promise and the week before alone, a disk that stalled ended it."""
    every = {name: {bad: 400} for name in (LIVE, NEW)}
    assert decided(evidence(EVEN, of=standing(policy), traffic=every)).rule.value != rule
    of_nobody = standing(policy, back="0.9.0", control=LIVE)
    assert decided(evidence(EVEN, of=of_nobody, traffic=every)).rule.value != rule, "the control least of all"
    for culprit in (LIVE, NEW):
        more = {**every, culprit: {bad: 700}}
        found = decided(evidence(EVEN, of=of_nobody, traffic=more))
        assert (found.action, found.rule.value, found.culprit) == (ExperimentAction.ABORT, rule, culprit)


@pytest.mark.parametrize("policy", [THOMPSON, GREEDY])
def test_a_bandit_that_turned_to_another_version_compares_with_whom_it_drew_before(policy: dict[str, Any]) -> None:
    """By the shares of today nearly all requests had gone to it against the draw, so that the control, as slow, excused nothing."""
    part = "means" if policy is GREEDY else "beliefs"
    turned = {**policy, part: {LIVE: 0.8, NEW: 0.7} if policy is GREEDY else {LIVE: [800, 200], NEW: [700, 300]}}
    found = evidence(
        {LIVE: seen(100, 20), NEW: seen(1_900, 380)}, of=standing(turned, back="0.9.0", begun=policy),
        traffic={LIVE: {"slow": 10}, NEW: {"slow": 190}},
    )  # fmt: skip
    drawn = {LIVE: 100.0, NEW: 1_900.0}
    arms = tuple(replace(arm, units=20, expected=10.0, drawn=drawn[arm.traffic.version]) for arm in found.arms)
    assert decided(replace(found, arms=arms)).action is not ExperimentAction.ABORT
    against = tuple(replace(arm, drawn=2_000.0 - drawn[arm.traffic.version]) for arm in arms)
    assert decided(replace(found, arms=against)).rule is ExperimentRule.LATENCY, (
        "against the draw the promise alone counts"
    )


def test_faults_of_the_champion_end_no_test_of_its_challengers() -> None:
    shadow = standing({"kind": "shadow", "live": LIVE, "shadows": [NEW]})
    for timed_out, action in ((0, ExperimentAction.WAIT), (100, ExperimentAction.ABORT)):
        failing = {LIVE: {"failed": 100, "timed_out": timed_out}}
        assert decided(evidence(EVEN, of=shadow, traffic=failing)).action is action
    unscored = decided(evidence(EVEN, of=shadow, traffic={NEW: {"failed": 100}}))
    assert (unscored.action, unscored.culprit) == (ExperimentAction.ABORT, NEW)


def test_labels_that_are_still_needed_make_the_interval_as_narrow_as_the_margin() -> None:
    needed = decided(evidence({LIVE: seen(150, 30), NEW: seen(150, 30)})).compared[0].labels_needed
    assert needed is not None
    enough = {name: seen(needed, needed * 0.2) for name in (LIVE, NEW)}
    (compared,) = decided(evidence(enough)).compared
    assert compared.loss.high - compared.loss.low == pytest.approx(2 * RULES.canary_margin, rel=0.05)


def test_what_was_learned_counts_from_where_the_policy_began() -> None:
    losses = {LIVE: seen(300, 60.5), NEW: seen(100, 10)}
    begun = {**THOMPSON, "beliefs": {LIVE: [3, 1], NEW: [1, 1]}}
    assert learned_policy(begun, losses, least=200)["beliefs"] == {LIVE: [242.5, 61.5], NEW: [91, 11]}
    assert learned_policy(GREEDY, losses, least=200)["means"] == {LIVE: 0.798333, NEW: 0.0}, "100 labels are too few"
    assert learned_policy(AB, losses, least=200) == AB


def test_a_bandit_learns_at_most_once_an_interval_and_says_the_same_until_it_is_taken() -> None:
    of, newest = standing(THOMPSON), START + timedelta(days=2)
    first = decided(evidence(EVEN, of=of))
    assert (first.action, first.rule) == (ExperimentAction.LEARN, ExperimentRule.LEARNED)
    just = evidence(EVEN, of=of, learned=newest, pending={})
    assert decided(just).action is ExperimentAction.WAIT
    again = decided(replace(just, pending=first.policy))
    assert first.step(of) == again.step(of), "until the release has taken it"
    assert decided(replace(just, learned=newest - RULES.learn_every)).action is ExperimentAction.LEARN
    assert first.policy is not None
    taken = standing(dict(first.policy), begun=THOMPSON)
    assert decided(evidence(EVEN, of=taken)).action is ExperimentAction.WAIT, "nothing new was learned"


def test_a_bandit_of_one_version_learns_without_anybody_to_compare() -> None:
    alone = {**THOMPSON, "beliefs": {LIVE: [1.0, 1.0]}}
    of = standing(alone)
    found = decided(evidence(EVEN, of=of, duels=(), arms=(Arm(traffic=Traffic(version=LIVE, loss=EVEN[LIVE])),)))
    step = found.step(of)
    assert step is not None
    assert (step.candidate, step.policy) == (LIVE, {**alone, "beliefs": {LIVE: [801, 201]}})


def release(policy: dict[str, Any] = THOMPSON, **more: Any) -> Release:
    usual: dict[str, Any] = {"version": LIVE, "policy": policy, "reason": "r", "order": "o1", "before": (LIVE,)}
    return Release(**{**usual, "actor": "user:ada", "is_ordered": True, **more})


def test_a_release_takes_what_was_learned_once_and_of_its_own_experiment_alone() -> None:
    step = decided(evidence(EVEN, of=standing(THOMPSON))).step(standing(THOMPSON))
    assert step is not None
    assert RolloutStep.from_json(json.loads(json.dumps(step.to_json()))) == step
    now = release()
    after = _step(now, step)
    assert (after.policy, after.step) == (step.policy, step.id)
    assert (after.actor, after.reason, after.order, after.is_ordered) == ("user:ada", "r", "o1", True)
    assert _step(after, step) is after
    assert _step(replace(now, held="ada holds it"), step).policy == THOMPSON
    for other in (release(order="o2"), release({**THOMPSON, "salt": "t"}), release(AB)):
        assert _step(other, step).policy == other.policy


def test_two_policies_are_one_experiment_when_only_what_was_learned_differs() -> None:
    learned = learned_policy(THOMPSON, EVEN, least=1)
    assert learned != THOMPSON
    assert same_experiment(learned, THOMPSON)
    assert not same_experiment(learned, {**THOMPSON, "beliefs": {LIVE: [1, 1], "1.2.0": [1, 1]}})
    assert not same_experiment(AB, {**AB, "shares": {LIVE: 0.4, NEW: 0.6}})
    assert same_experiment("all-at-once", "all-at-once")


@pytest.mark.parametrize("policy", [AB, GREEDY, THOMPSON, {**THOMPSON, "beliefs": {LIVE: [30, 10], NEW: [9.5, 4.5]}}])
def test_the_shares_that_a_split_is_judged_by_are_those_that_the_service_draws(policy: dict[str, Any]) -> None:
    expected = policy_shares(policy)
    drawn = [assign(from_json(policy), f"key {number}") for number in range(8_000)]
    for name, share in expected.items():
        assert sum(one.variant == name for one in drawn) / 8_000 == pytest.approx(share, abs=0.02)
        assert all(one.propensity == pytest.approx(share) for one in drawn if one.variant == name)
    assert sum(expected.values()) == pytest.approx(1)


def test_the_chance_to_be_best_is_known_where_it_has_a_closed_form() -> None:
    assert chances_of_best({"a": (2, 1), "b": (1, 2)}) == pytest.approx({"a": 5 / 6, "b": 1 / 6}, abs=1e-3)
    assert chances_of_best(dict.fromkeys("abc", (4.0, 2.0))) == pytest.approx(dict.fromkeys("abc", 1 / 3))
    assert chances_of_best({"a": (5e6, 4e6), "b": (1, 1)}) == pytest.approx({"a": 5 / 9, "b": 4 / 9}, abs=1e-3)
    assert chances_of_best({"a": (3, 2)}) == {"a": 1}


SHARP_BESIDE_FRESH = {"a": (400_000.0, 100_000.0), "b": (400_500.0, 99_500.0), "c": (1.0, 1.0)}


@pytest.mark.parametrize(
    "beliefs",
    [
        SHARP_BESIDE_FRESH,
        {"a": (0.1, 0.1), "b": (8.0, 2.0)},
        {"a": (0.1, 0.1), "b": (0.1, 0.2), "c": (1.0, 1.0)},
        {"a": (0.1, 1_000.0), "b": (0.2, 1_000.0), "c": (0.1, 0.1)},
        {"a": (30.0, 99_970.0), "b": (50.0, 99_950.0), "c": (1.0, 1.0)},
    ],
)
def test_the_chance_to_be_best_is_known_for_sharp_beliefs_beside_fresh_ones_and_for_beliefs_below_one(
    beliefs: dict[str, tuple[float, float]],
) -> None:
    """A thousand even cells over all of them told 0.116 where 0.084 were drawn, and a fair split was called broken."""
    draws = np.linspace(-36, 36, 1_441)
    low, high = special.expit(draws[:-1, None]), special.expit(draws[1:, None])
    at, weights = np.polynomial.legendre.leggauss(20)
    ranks = (low + high) / 2 + (high - low) / 2 * at
    told = chances_of_best(beliefs)
    for name, (a, b) in beliefs.items():
        values = special.betaincinv(a, b, ranks)
        rest = [special.betainc(*other, values) for others, other in beliefs.items() if others != name]
        expected = float((np.prod(rest, axis=0) * weights * (high - low) / 2).sum())
        assert told[name] == pytest.approx(expected, abs=2e-4), name


def test_a_bandit_that_knows_two_versions_well_and_one_not_splits_as_it_says() -> None:
    policy = {"kind": "thompson", "beliefs": SHARP_BESIDE_FRESH, "salt": "s"}
    drawn = Counter(assign(from_json(policy), f"key {number}").variant for number in range(6_000))
    assert not sample_ratio(drawn, policy_shares(policy)).mismatch


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"kind": "ensemble"}, "an ensemble is ordered"),
        ({"kind": "lottery"}, "one of all-at-once, shadow, canary, ab-test"),
        ({"kind": "ab-test", "share": 1.0}, "share is 1.0; it must be between 0 and 1"),
        ({"kind": "epsilon-greedy", "epsilon": 0.0}, "nothing is explored"),
        ({"kind": "champion-challengers", "challengers": 0}, "1 or more"),
        ({"kind": "thompson", "shadow_first": True}, "has no shadow before it"),
    ],
)
def test_a_way_in_that_cannot_be_says_what_is_wrong(more: dict[str, Any], said: str) -> None:
    with pytest.raises(RolloutError, match=said):
        Rollout(**more)


@pytest.mark.parametrize("kind", RolloutKind)
def test_every_way_in_comes_back_from_json(kind: RolloutKind) -> None:
    rollout = Rollout(kind=kind, share=0.3, epsilon=0.2, challengers=2)
    assert Rollout.from_json(json.loads(json.dumps(rollout.to_json()))) == rollout
    assert {StepAction(action.value) for action in ExperimentAction if action is not ExperimentAction.WAIT} == set(
        StepAction
    )


def false_alarms(runs: int, *, alpha: float, looks: int = 20, each: int = 150) -> float:
    """Share of declared tests of two equal versions in which any look says that one is better, or breaks a promise."""
    rules, of = RolloutRules(alpha=alpha, max_wait=timedelta(days=999)), standing(candidate=NEW, order=None)
    draw, wrong = np.random.default_rng(20_130_701), 0
    for _ in range(runs):
        losses = {LIVE: seen(0, 0), NEW: seen(0, 0)}
        slow = failed = 0
        for _look in range(looks):
            losses = {name: one + seen(each, float(draw.binomial(each, 0.2))) for name, one in losses.items()}
            slow, failed = slow + int(draw.binomial(each, 0.05)), failed + int(draw.binomial(each, 0.01))
            found = evidence(losses, of=of, traffic={NEW: {"slow": slow, "failed": failed}})
            if decide_experiment(rules, found).action is not ExperimentAction.WAIT:
                wrong += 1
                break
    return wrong / runs


def bandit(seed: int, *, rewards: dict[str, float], days: int = 8, daily: int = 250) -> dict[str, int]:
    """Answers by version of the last day, where labels come a day late and the policy learns after each day."""
    draw, begun = np.random.default_rng(seed), {**THOMPSON, "salt": f"s{seed}"}
    policy = begun
    losses = {name: seen(0, 0) for name in rewards}
    waiting = dict(losses)
    for day in range(days):
        drawn = from_json(policy)
        names = [assign(drawn, f"{day} {number}").variant for number in range(daily)]
        counts = {name: names.count(name) for name in rewards}
        losses = {name: losses[name] + waiting[name] for name in rewards}
        waiting = {name: seen(n, float(draw.binomial(n, 1 - rewards[name]))) for name, n in counts.items()}
        decision = decide_experiment(RULES, evidence(losses, of=standing(policy, begun=begun)))
        policy = dict(decision.policy) if decision.policy is not None else policy
    return counts


def test_looking_often_at_two_equal_versions_seldom_ends_a_test() -> None:
    assert false_alarms(60, alpha=0.05) <= 0.10


def test_thompson_sampling_moves_traffic_to_the_better_version() -> None:
    for seed in range(3):
        found = bandit(seed, rewards={LIVE: 0.7, NEW: 0.85})
        assert found[NEW] > 0.85 * sum(found.values())
        found = bandit(seed, rewards={LIVE: 0.85, NEW: 0.7})
        assert found[LIVE] > 0.85 * sum(found.values())


@pytest.mark.heavy
def test_over_ten_thousand_tests_false_alarms_stay_within_alpha() -> None:
    assert false_alarms(10_000, alpha=0.05) <= 0.05


@pytest.mark.heavy
def test_of_two_hundred_bandits_nearly_all_find_the_better_version() -> None:
    shares = [bandit(seed, rewards={LIVE: 0.75, NEW: 0.8}, days=20)[NEW] / 250 for seed in range(200)]
    assert np.mean(np.array(shares) > 0.5) > 0.9


def test_a_challenger_is_certainly_worse_when_days_agree() -> None:
    """Both scored the same requests: one day's weather is not the version's."""
    policy = {"kind": "shadow", "live": LIVE, "shadows": [NEW]}
    differences = RunningMean(count=2_000, total=1_050, squares=577.5)  # +0.05, of 10% that differ

    def told(windows: tuple[float, ...]) -> str:
        versus = Versus(is_paired=True, differences=differences, windows=windows)
        duels = (Duel(version=NEW, loss=versus, wrong=versus),)
        return decided(evidence(EVEN, of=standing(policy), duels=duels)).reason

    assert "against 1.0.0: +0.0500" in told((0.05,))
    assert "against 1.0.0: +0.0500" in told((0.21, -0.03, -0.01, 0.03))
    assert "certainly more than 1.0.0: +0.0500" in told((0.05, 0.052, 0.047, 0.051))
