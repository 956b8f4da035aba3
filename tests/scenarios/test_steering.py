"""Orders beside real builds: what a person said stands through them."""

from tests.scenarios.workshop import PRODUCT, Workshop, cell

CHARGE = 4


def test_a_roll_back_stands_through_builds_until_a_later_version_comes(workshop: Workshop) -> None:
    workshop.rewrite(cell(7, CHARGE, "999.5"), "2024-02")
    workshop.run("build")
    assert workshop.models() == [("1.0.0", "superseded"), ("1.0.1", "live")]
    workshop.run("release", "rollback", PRODUCT, "--reason", "errors at night")
    assert workshop.models() == [("1.0.0", "live"), ("1.0.1", "barred")]
    assert "nothing to do" in workshop.run("build").stdout
    assert workshop.run("status").stdout.strip() == "Everything is up to date."
    workshop.rewrite(cell(8, CHARGE, "888.5"), "2024-02")
    workshop.run("build")
    assert workshop.models() == [("1.0.0", "superseded"), ("1.0.1", "barred"), ("1.0.2", "live")]
    rows = workshop.json("release", "history", PRODUCT)
    assert [row["version"] for row in rows] == ["1.0.0", "1.0.1", "1.0.0", "1.0.2"]
