"""What a change rebuilds, and how far it moves the model's version: by real builds after real edits."""

import os

from tests.scenarios.workshop import LAST, PRODUCT, Workshop, cell

CHAIN = {
    "landing/customers", "datasets/customers", "datasets/labels", "features/calls", "dataset_cards", "training_set", "online_features",
    "model", "evaluation", "model_card", "release", "drift_report", "drift_page",
}  # fmt: skip
CHARGE = 4
TRAINED = "2024-02"  # A change in the test month alone leaves the model as it is.


def test_a_second_build_publishes_nothing_and_says_so(workshop: Workshop) -> None:
    before = workshop.head()
    said = workshop.run("build").stdout
    assert "nothing to do" in said
    assert workshop.head() == before
    assert workshop.models() == [("1.0.0", "live")]
    assert workshop.run("status").stdout.strip() == "Everything is up to date."


def test_the_same_content_landed_again_moves_nothing(workshop: Workshop) -> None:
    before, file = workshop.head(), workshop.landed()
    os.utime(file, (1, 1))
    elsewhere = workshop.state.parent / "again.csv"
    elsewhere.write_bytes(file.read_bytes())
    workshop.run("land", PRODUCT, "customers", str(elsewhere), "--partition", LAST)
    assert "nothing to do" in workshop.run("build", "--landed-only").stdout
    assert workshop.head() == before


def test_each_kind_of_change_rebuilds_what_depends_on_it_and_moves_its_part_of_the_version(workshop: Workshop) -> None:
    before, data = workshop.head(), workshop.data()
    workshop.rewrite(cell(7, CHARGE, "999.5"), TRAINED)
    workshop.run("build")
    assert workshop.models()[-1][0] == "1.0.1"
    unmoved = {"features/calls", "online_features"}
    assert workshop.published_since(before) == CHAIN - unmoved, "features read no charge"
    assert workshop.data()[f"{PRODUCT}/features/calls"] == data[f"{PRODUCT}/features/calls"]
    months = workshop.json("lake", "show", "--path", f"{PRODUCT}/datasets/customers")["assets"][0]["partitions"]
    past = workshop.json("lake", "show", before, "--path", f"{PRODUCT}/datasets/customers")["assets"][0]["partitions"]
    assert {month for month in months if months[month] != past[month]} == {TRAINED}

    before = workshop.head()
    workshop.edit("assets.py", "cum_count()", "cum_count().cast(pl.Float64).sqrt()")
    workshop.run("build")
    assert workshop.models()[-1][0] == "1.1.0"
    unread = {"landing/customers", "datasets/customers", "datasets/labels", "dataset_cards"}
    assert workshop.published_since(before) == CHAIN - unread

    before = workshop.head()
    workshop.edit("product.py", '"charge", "calls_last", "calls_mean")', '"calls_last", "calls_mean")')
    workshop.run("build")
    assert [version for version, _ in workshop.models()] == ["1.0.0", "1.0.1", "1.1.0", "2.0.0"]
    assert "model" in workshop.published_since(before)
    assert not workshop.published_since(before) & (unread | unmoved)
