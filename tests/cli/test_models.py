"""`headwater model ...`: versions, and their reproduction, from the lake alone."""

import shutil

from tests.scenarios.workshop import PRODUCT, Workshop

NAME = f"{PRODUCT}@1.0.0"


def test_list_and_show_have_the_promised_fields(built: Workshop) -> None:
    (row,) = built.json("model", "list")
    assert {"product", "version", "data_version", "commit", "metrics", "state"} <= row.keys()
    assert (row["product"], row["version"], row["state"]) == (PRODUCT, "1.0.0", "live")
    assert 0.5 < row["metrics"]["auc"]["low"] < row["metrics"]["auc"]["value"] < row["metrics"]["auc"]["high"] < 1
    assert row["data_version"] == built.data(row["commit"])[f"{PRODUCT}/model"]
    shown = built.json("model", "show", NAME)
    assert shown["inputs"][0]["data_version"] == built.data(shown["input_commit"])[f"{PRODUCT}/training_set"]
    assert "held   bundle_predicts" in built.run("model", "show", NAME).stdout


def test_a_version_is_reproduced_without_the_databases(workshop: Workshop) -> None:
    (row,) = workshop.json("model", "list")
    for name in ("dagster", "mlflow"):
        shutil.rmtree(workshop.state / name, ignore_errors=True)
    lines = workshop.run("model", "reproduce", NAME).stdout.split("\n")
    assert lines[0] == f"{NAME}: identical"
    assert [line.split() for line in lines[1:3]] == [
        ["published", row["data_version"]],
        ["rebuilt", row["data_version"]],
    ]


def test_other_code_reproduces_nothing_and_says_which(workshop: Workshop) -> None:
    workshop.edit("product.py", "rounds=20", "rounds=21")
    assert "was built by code version" in workshop.run("model", "reproduce", NAME, code=2).stderr
