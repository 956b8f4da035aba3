"""How often a view's features read as their defaults, beside the training."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.monitoring import BadValuesError, MissingColumnsError, served_views

PLANE, ROUTE = "plane", "route"


def rows(*parts: tuple[str, dict[str, str], int]) -> pl.DataFrame:
    """So many answers of a version with these reasons."""
    found = [{"version": version, "reasons": json.dumps(said)} for version, said, count in parts for _ in range(count)]
    return pl.DataFrame(found, schema={"version": pl.String, "reasons": pl.String})


def test_a_share_as_in_training_is_no_problem_and_one_far_above_is() -> None:
    trained = {"1.0.0": {PLANE: 0.15, ROUTE: 0.0}}
    as_ever = served_views(rows(("1.0.0", {PLANE: "stale"}, 150), ("1.0.0", {}, 850)), trained=trained)
    assert [(one.view, one.share, one.problem) for one in as_ever] == [(PLANE, 0.15, ""), (ROUTE, 0.0, "")]
    away = served_views(
        rows(("1.0.0", {PLANE: "stale"}, 260), ("1.0.0", {PLANE: "unknown"}, 40), ("1.0.0", {}, 700)), trained=trained
    )
    assert away[0].problem == "30.0% of 1,000 answers read nothing but defaults, 15.0% of the training's rows did"
    assert dict(away[0].reasons) == {"stale": 260, "unknown": 40}
    assert away[1].problem == ""


def test_a_null_in_a_row_that_was_found_is_told_and_is_not_all_of_the_view() -> None:
    (one,) = served_views(rows(("1.0.0", {PLANE: "missing"}, 900), ("1.0.0", {}, 100)), trained={"1.0.0": {PLANE: 0.0}})
    assert (one.share, dict(one.reasons), one.problem) == (0.0, {"missing": 900}, "")


def test_versions_are_held_to_their_own_training() -> None:
    used, spoilt = served_views(
        rows(
            ("1.0.0", {PLANE: "unknown"}, 400),
            ("1.0.0", {}, 600),
            ("1.1.0", {PLANE: "unknown"}, 400),
            ("1.1.0", {}, 600),
        ),
        trained={"1.0.0": {PLANE: 0.4}, "1.1.0": {PLANE: 0.1}},
    )
    assert (used.version, used.problem, spoilt.version) == ("1.0.0", "", "1.1.0")
    assert "10.0% of the training's rows did" in spoilt.problem


def test_few_answers_and_unknown_trainings_are_told_and_not_judged() -> None:
    few = served_views(rows(("1.0.0", {PLANE: "stale"}, 50)), trained={"1.0.0": {PLANE: 0.0}}, min_answers=100)
    (unknown,) = served_views(rows(("0.9.0", {PLANE: "stale"}, 500)), trained={})
    assert [(one.share, one.problem) for one in (*few, unknown)] == [(1.0, ""), (1.0, "")]
    assert unknown.trained is None
    assert served_views(rows(), trained={"1.0.0": {PLANE: 0.0}}) == ()


@given(st.lists(st.sampled_from(["stale", "unknown", "missing", ""]), min_size=1, max_size=60))
def test_what_is_counted_is_what_was_said(said: list[str]) -> None:
    frame = rows(*(("1.0.0", {PLANE: reason} if reason else {}, 1) for reason in said))
    (one,) = served_views(frame, trained={"1.0.0": {PLANE: 0.0}})
    assert dict(one.reasons) == {reason: said.count(reason) for reason in sorted(set(said) - {""})}
    assert one.share == pytest.approx((said.count("stale") + said.count("unknown")) / len(said))
    assert one.answers == len(said)


@pytest.mark.parametrize("text", ["no JSON", "[]", '"stale"'])
def test_reasons_that_are_none_are_refused_by_name(text: str) -> None:
    frame = pl.DataFrame({"version": ["1.0.0"], "reasons": [text]})
    with pytest.raises(BadValuesError, match="reasons"):
        served_views(frame, trained={})


def test_columns_that_are_absent_are_named() -> None:
    with pytest.raises(MissingColumnsError, match="reasons"):
        served_views(pl.DataFrame({"version": ["1.0.0"]}), trained={})
