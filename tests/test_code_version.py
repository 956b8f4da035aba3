"""Code versions: what counts as a change of code, and what does not."""

from functools import partial

import polars as pl

from headwater.code_version import code_version, compute_version
from headwater.lake import Kind
from headwater.product import Asset, Audit, Check, Inputs, Verdict

LIMIT = 3


def helper(x: int) -> int:
    return x + LIMIT


def plain(inputs: Inputs) -> pl.DataFrame:
    return pl.DataFrame({"x": [helper(1)]})


def with_comment(inputs: Inputs) -> pl.DataFrame:
    """A docstring is no code."""
    # nor is a comment
    return pl.DataFrame({"x": [helper(1)]})


def holds(audit: Audit) -> Verdict:
    return Verdict(passed=True)


def asset(compute: object, **more: object) -> Asset:
    return Asset(path="toy/a", kind=Kind.TABLE, compute=compute, **more)  # type: ignore[arg-type]


def test_the_same_code_has_the_same_version() -> None:
    assert code_version(asset(plain)) == code_version(asset(plain))


def test_a_changed_constant_three_calls_away_changes_the_version() -> None:
    before = code_version(asset(plain))
    globals()["LIMIT"] = 4
    try:
        assert code_version(asset(plain)) != before
    finally:
        globals()["LIMIT"] = 3
    assert code_version(asset(plain)) == before


def test_declaration_and_bound_arguments_count() -> None:
    def scaled(inputs: Inputs, factor: int) -> pl.DataFrame:
        return pl.DataFrame({"x": [factor]})

    versions = {
        code_version(asset(partial(scaled, factor=1))),
        code_version(asset(partial(scaled, factor=2))),
        code_version(asset(partial(scaled, factor=1), declaration={"a": 1})),
    }
    assert len(versions) == 3


def test_a_check_changes_the_code_version_but_not_what_makes_the_data() -> None:
    checked = asset(plain, checks=(Check(name="holds", judge=holds),))
    assert code_version(checked) != code_version(asset(plain))
    assert compute_version(checked) == compute_version(asset(plain))


def test_a_checks_limit_counts() -> None:
    def limited(limit: int) -> Check:
        def judge(audit: Audit) -> Verdict:
            return Verdict(passed=limit > 0)

        return Check(name="limited", judge=judge)

    one, two = (code_version(asset(plain, checks=(limited(n),))) for n in (1, 2))
    assert one != two
