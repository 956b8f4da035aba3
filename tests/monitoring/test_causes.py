"""What changed upstream: schema before code before data, each with its commits."""

from dataclasses import replace
from datetime import UTC, datetime

from headwater.monitoring import ChangeKind, Writing, upstream_changes

THEN = Writing(
    commit="c0", time=datetime(2013, 7, 1, tzinfo=UTC), actor="user:ada", data_version="d0", code_version="k0",
    schema={"a": "Int64", "b": "String"}, rows=10,
)  # fmt: skip


def test_what_changed_rarely_is_told_first() -> None:
    data = replace(
        THEN, commit="c1", data_version="d1", rows=12, actor="sensor:landed_data", failed=("rows_in_usual_range",)
    )
    code = replace(THEN, commit="c2", data_version="d2", code_version="k1")
    schema = replace(THEN, commit="c3", data_version="d3", schema={"a": "Float64", "c": "Int64"})
    found = upstream_changes(
        {
            "p/data": [THEN, data, replace(data, commit="c4", data_version="d4")],
            "p/code": [THEN, code],
            "p/schema": [THEN, schema],
            "p/same": [THEN],
            "p/back": [THEN, data, replace(THEN, commit="c5")],
        }
    )
    assert [(change.path, change.kinds) for change in found] == [
        ("p/schema", (ChangeKind.SCHEMA, ChangeKind.DATA)),
        ("p/code", (ChangeKind.CODE, ChangeKind.DATA)),
        ("p/data", (ChangeKind.DATA,)),
    ]
    assert found[0].columns == ("+c Int64", "-b", "a Int64 -> Float64")
    assert found[2].commits == ("c1", "c4")
    assert (found[2].rows, found[2].actors, found[2].failed) == (
        (10, 12),
        ("sensor:landed_data",),
        ("rows_in_usual_range",),
    )


def test_an_asset_that_was_not_there_is_new_data() -> None:
    nothing = Writing(commit="", time=THEN.time, actor="", data_version="", code_version="", schema={})
    (found,) = upstream_changes({"p/new": [nothing, THEN]})
    assert found.kinds == (ChangeKind.DATA,)
    assert found.rows == (None, 10)
    assert found.to_json()["kinds"] == ["data"]


def test_a_schema_that_nobody_kept_is_no_other_schema() -> None:
    collected = replace(THEN, schema=None)
    after = replace(THEN, commit="c1", data_version="d1", schema={"z": "Int64"})
    (found,) = upstream_changes({"p/a": [collected, after]})
    assert (found.kinds, found.columns, found.rows) == ((ChangeKind.DATA,), (), (10, 10))
