"""`headwater model ...`: versions, and their reproduction, from the lake alone."""

import shutil
import subprocess

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


def test_a_version_that_comes_out_otherwise_ends_with_1_and_the_first_difference(workshop: Workshop) -> None:
    adapter = workshop.checkout / "headwater" / "models" / "lightgbm_adapter.py"
    hidden = '"learning_rate": float(__import__("os").environ.get("HIDDEN", "0.06")),\n        "objective": "binary",'
    adapter.write_text(adapter.read_text().replace('"objective": "binary",', hidden))
    workshop.run("build", "--landed-only")
    newest = f"{PRODUCT}@{workshop.models()[-1][0]}"
    assert newest != NAME
    assert "identical" in workshop.run("model", "reproduce", newest).stdout
    said = workshop.run("model", "reproduce", newest, code=1, HIDDEN="0.2").stdout
    assert f"{newest}: different" in said
    assert "line " in said


def test_code_that_went_on_is_taken_back_from_git_for_the_reproduction(workshop: Workshop) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=ada", "-c", "user.email=ada@example.com"]
        subprocess.run(["git", *identity, *words], cwd=workshop.checkout, check=True, capture_output=True)

    workshop.edit("product.py", "rounds=20", "rounds=21")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "Twenty-one rounds")
    workshop.run("build", "--landed-only")
    assert workshop.models()[-1][0] == "1.1.0"
    workshop.edit("product.py", "rounds=21", "rounds=22")
    assert f"{PRODUCT}@1.1.0: identical" in workshop.run("model", "reproduce", f"{PRODUCT}@1.1.0").stdout
    assert "rounds=22" in (workshop.product / "product.py").read_text()
