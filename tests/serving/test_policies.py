"""Who answers: uniform, stable, whole, and refused where it cannot be."""

import collections
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.policies import (
    ABTest,
    AllAtOnce,
    Canary,
    Ensemble,
    EpsilonGreedy,
    Policy,
    PolicyError,
    Shadow,
    Thompson,
    assign,
    draws,
    from_json,
    to_json,
    uniform,
    versions,
)

KEYS = [f"UA-{number}" for number in range(20_000)]
ALL: list[Policy] = [
    AllAtOnce(live="1.0.0"),
    Shadow(live="1.0.0", shadows=("1.1.0", "2.0.0")),
    Canary(live="1.0.0", candidate="1.1.0", share=0.25, salt="s"),
    ABTest(shares={"1.0.0": 0.2, "1.1.0": 0.3, "2.0.0": 0.5}, salt="winter"),
    EpsilonGreedy(means={"1.0.0": 0.4, "1.1.0": 0.6}, epsilon=0.1),
    Thompson(beliefs={"1.0.0": (3.0, 7.0), "1.1.0": (7.0, 3.0)}),
    Ensemble(weights={"1.0.0": 0.25, "1.1.0": 0.75}),
]


def shares(policy: Policy, keys: list[str] = KEYS) -> dict[str, float]:
    counts = collections.Counter(assign(policy, key).variant for key in keys)
    return {name: count / len(keys) for name, count in counts.items()}


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.kind)
def test_a_policy_comes_back_from_json_and_assigns_as_before(policy: Policy) -> None:
    again = from_json(json.loads(json.dumps(to_json(policy), sort_keys=True)))
    assert again == policy
    for key in KEYS[:200]:
        first = assign(policy, key)
        assert assign(again, key) == first
        assert {*first.weights, *first.shadows} <= set(versions(policy))
        assert math.isclose(sum(first.weights.values()), 1)


def test_keys_are_spread_uniformly_and_salts_are_independent() -> None:
    """Chi-squared over 100 cells, 99 degrees of freedom: above 160 once in ten thousand."""
    for salt in ("", "a", "a much longer salt, with words, " * 9):
        cells = collections.Counter(int(uniform(salt, key) * 100) for key in KEYS)
        assert set(cells) == set(range(100))
        assert sum((cells[cell] - 200) ** 2 / 200 for cell in range(100)) < 160
    both = [(uniform("a", key) < 0.5, uniform("b", key) < 0.5) for key in KEYS]
    assert abs(both.count((True, True)) / len(KEYS) - 0.25) < 0.015


def test_an_assignment_is_that_of_every_other_release_of_headwater() -> None:
    """A change of these numbers would move people between variants in the middle of a test."""
    assert [round(uniform("winter", key), 6) for key in ("UA-1", "UA-2", "")] == [0.425363, 0.586657, 0.880973]


@given(st.text(max_size=20), st.text(max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_who_is_in_a_canary_stays_in_every_larger_one(salt: str, key: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    told = [assign(Canary(live="a", candidate="b", share=s, salt=salt), key).variant for s in (small, large)]
    assert told != ["b", "a"]


def test_shares_are_kept_and_named_as_propensity() -> None:
    test = ALL[3]
    for name, share in shares(test).items():
        assert share == pytest.approx({"1.0.0": 0.2, "1.1.0": 0.3, "2.0.0": 0.5}[name], abs=0.015)
    assert {assign(test, key).propensity for key in KEYS[:500]} == {0.2, 0.3, 0.5}
    assert shares(Canary(live="a", candidate="b", share=0)) == {"a": 1}
    assert shares(Canary(live="a", candidate="b", share=1)) == {"b": 1}
    assert shares(ABTest(shares={"a": 0.0, "b": 1.0}, salt="s")) == {"b": 1}


def test_the_order_of_names_moves_nobody() -> None:
    left = ABTest(shares={"a": 0.3, "b": 0.7}, salt="s")
    right = ABTest(shares={"b": 0.7, "a": 0.3}, salt="s")
    assert [assign(left, key).variant for key in KEYS[:500]] == [assign(right, key).variant for key in KEYS[:500]]


def test_the_greedy_one_explores_as_little_as_it_says() -> None:
    policy = EpsilonGreedy(means={"a": 0.1, "b": 0.9, "c": 0.2, "d": 0.3}, epsilon=0.2)
    found = shares(policy)
    assert found["b"] == pytest.approx(0.85, abs=0.01)
    assert all(found[name] == pytest.approx(0.05, abs=0.008) for name in "acd")
    told = {assign(policy, key).variant: assign(policy, key).propensity for key in KEYS}
    assert told == {"a": 0.05, "b": pytest.approx(0.85), "c": 0.05, "d": 0.05}
    assert shares(EpsilonGreedy(means={"a": 0.1, "b": 0.9}, epsilon=0)) == {"b": 1}


def test_thompson_answers_as_often_as_a_version_is_likely_to_be_the_best() -> None:
    """For Beta(2, 1) against Beta(1, 2) the chance is 5/6."""
    found = shares(Thompson(beliefs={"a": (2, 1), "b": (1, 2)}))
    assert found["a"] == pytest.approx(5 / 6, abs=0.012)


def test_shadows_score_and_never_answer() -> None:
    told = assign(ALL[1], "UA-1")
    assert (told.variant, told.shadows) == ("1.0.0", ("1.1.0", "2.0.0"))


def test_an_ensemble_asks_all_members() -> None:
    told = assign(ALL[6], "UA-1")
    assert (told.variant, dict(told.weights)) == ("ensemble", {"1.0.0": 0.25, "1.1.0": 0.75})


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"kind": "lottery"}, "Known are all-at-once"),
        ({}, "nobody knows it"),
        ({"kind": "all-at-once"}, "live"),
        ({"kind": "all-at-once", "live": ""}, "names no version"),
        ({"kind": "all-at-once", "live": "1.0.0", "share": 1}, "share"),
        ({"kind": "shadow", "live": "1.0.0", "shadows": []}, "nothing is in the shadow"),
        ({"kind": "shadow", "live": "1.0.0", "shadows": ["1.0.0"]}, "names 1.0.0 twice"),
        ({"kind": "canary", "live": "a", "candidate": "b", "share": 1.2}, "share is 1.2"),
        ({"kind": "canary", "live": "a", "candidate": "b", "share": float("nan")}, "share is nan"),
        ({"kind": "ab-test", "shares": {"a": 0.5, "b": 0.6}, "salt": "s"}, r"a 0\.5 \+ b 0\.6, together 1\.1"),
        ({"kind": "ab-test", "shares": {}, "salt": "s"}, "names no version"),
        ({"kind": "ab-test", "shares": {"a": 1.5, "b": -0.5}, "salt": "s"}, "share of a is 1.5"),
        ({"kind": "epsilon-greedy", "means": {"a": float("nan")}, "epsilon": 0.1}, "mean of a"),
        ({"kind": "epsilon-greedy", "means": {"a": 0.5}, "epsilon": 2}, "epsilon is 2"),
        ({"kind": "thompson", "beliefs": {"a": [0, 1]}}, r"Beta\(0, 1\)"),
        ({"kind": "thompson", "beliefs": {"a": [1]}}, "thompson"),
        ({"kind": "all-at-once", "live": "\ud800"}, "no text"),
        ({"kind": "ab-test", "shares": {"a": 0.5, "\ud800": 0.5}, "salt": "s"}, "no text"),
        ({"kind": "ensemble", "weights": {"a": 0.9}}, "together 0.9"),
        ({"kind": "epsilon-greedy", "means": {"a": 10**400}, "epsilon": 0.1}, "epsilon-greedy"),
    ],
)
def test_a_policy_that_cannot_be_says_what_is_wrong(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        from_json(raw)


@pytest.mark.parametrize("salt", [2026, 1.5, None, True, ["x"], {"x": 1}, "\ud800"], ids=repr)
@pytest.mark.parametrize("policy", [policy for policy in ALL if draws(policy)], ids=lambda policy: policy.kind)
def test_a_salt_that_is_no_text_is_refused_before_anybody_is_drawn(policy: Policy, salt: object) -> None:
    """It was taken, and the draw of every request raised; half a character drew well, and no list of products could be told."""
    with pytest.raises(PolicyError, match=f"{policy.kind}.*no text"):
        from_json({**to_json(policy), "salt": salt})
