"""A bad file lands: the build ends with 1 and names the check, main keeps what it had, the next good file mends it."""

from collections.abc import Callable

import pytest

from tests.scenarios.workshop import PRODUCT, Row, Workshop, cell

CUSTOMERS = f"{PRODUCT}/datasets/customers"
LANDING = f"{PRODUCT}/landing/customers"
Change = Callable[[list[Row]], list[Row]]


def refused(workshop: Workshop, check: str, path: str, *more: str) -> str:
    """Builds, and looks at what was refused; returns the branch that stayed."""
    data = workshop.data()
    said = workshop.run("build", "--landed-only", code=1).stdout
    for word in (check, path, *more):
        assert word in said, said
    assert workshop.data()[path] == data[path]
    (branch,) = workshop.branches()
    assert f"lake diff main..{branch}" in said
    checks = workshop.json("lake", "show", branch)["provenance"]["checks"]
    assert check in [found["name"] for found in checks if not found["passed"]]
    return branch


def recovers(workshop: Workshop, file: bytes) -> None:
    workshop.landed().write_bytes(file)
    workshop.run("build", "--landed-only")
    assert workshop.run("status").stdout.strip() == "Everything is up to date."


def test_a_wrong_cell_is_named_and_kept_on_the_branch(workshop: Workshop) -> None:
    good, data = workshop.landed().read_bytes(), workshop.data()
    workshop.rewrite(cell(3, 4, "abc"))
    branch = refused(workshop, "inputs_are_usable", CUSTOMERS)
    changes = workshop.json("lake", "diff", f"main..{branch}")["changes"]
    assert [(row["path"], row["after"]["rows"]) for row in changes] == [(f"{CUSTOMERS}.rejected", 1)]
    recovers(workshop, good)
    assert workshop.data() == data
    assert workshop.models() == [("1.0.0", "live")]


def test_a_row_that_came_twice_is_refused(workshop: Workshop) -> None:
    workshop.rewrite(lambda rows: [*rows, rows[1]])
    branch = refused(workshop, "keys_are_unique", CUSTOMERS)
    changes = workshop.json("lake", "diff", f"main..{branch}")["changes"]
    assert [row["path"] for row in changes] == [CUSTOMERS]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("change", "check", "path"),
    [
        pytest.param(lambda rows: rows[:1], "not_empty", LANDING, id="a header alone"),
        pytest.param(
            lambda rows: [rows[0], *([*row[:-1], ""] for row in rows[1:])],
            "inputs_are_usable",
            CUSTOMERS,
            id="no label",
        ),
        pytest.param(
            lambda rows: [*rows[:-1], [*rows[-1][:1], "2024-05-01T00:00:"]],
            "inputs_are_usable",
            CUSTOMERS,
            id="cut off",
        ),
    ],
)
def test_a_bad_month_is_refused(workshop: Workshop, change: Change, check: str, path: str) -> None:
    good = workshop.landed().read_bytes()
    workshop.rewrite(change)
    refused(workshop, check, path)
    recovers(workshop, good)


def test_an_empty_file_is_refused(workshop: Workshop) -> None:
    workshop.landed().write_bytes(b"")
    refused(workshop, "inputs_are_usable", LANDING)


@pytest.mark.heavy
def test_a_missing_column_reaches_nothing(workshop: Workshop) -> None:
    good, data = workshop.landed().read_bytes(), workshop.data()
    workshop.rewrite(lambda rows: [[*row[:4], *row[5:]] for row in rows])
    branch = refused(workshop, "inputs_are_usable", LANDING)
    (check,) = (found for found in workshop.json("lake", "show", branch)["provenance"]["checks"] if not found["passed"])
    assert "missing ['charge']" in check["facts"]["problem"]
    assert workshop.data() == data
    recovers(workshop, good)


@pytest.mark.heavy
def test_labels_of_one_class_train_nothing(workshop: Workshop) -> None:
    for month in ("2024-01", "2024-02", "2024-03", "2024-04", "2024-05"):
        workshop.rewrite(lambda rows: [rows[0], *([*row[:-1], "0"] for row in rows[1:])], month)
    refused(workshop, "labels_have_both_classes", f"{PRODUCT}/training_set")
    assert workshop.models() == [("1.0.0", "live")]
