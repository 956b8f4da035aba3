"""What the workflow runs exists, and Dagster's own commands work from a checkout as its documentation says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.scenarios.workshop import LAST, PRODUCT, ROOT, Workshop

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
NUMBER = "${{ github.event.number }}"


def lines() -> list[str]:
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    return [line for step in steps for line in step.get("run", "").splitlines() if line]


def test_every_line_of_the_workflow_names_what_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {word for line in lines() if line.startswith("make ") for word in line.split()[1:]}
    assert asked == {"install", "lint", "types", "test", "run"}
    assert asked <= targets
    tools = {name for line in lines() for name in re.findall(r"\.venv/bin/(\w+)", line)}
    assert tools == {"dagster", "dg", "headwater"}
    for tool in tools:
        assert Path(sys.executable).with_name(tool).exists()


@pytest.mark.parametrize(("number", "branch"), [("17", "pr-17"), ("", "main")])
def test_the_lake_branch_is_named_after_the_pull_request(tmp_path: Path, number: str, branch: str) -> None:
    (line,) = [line for line in lines() if "HEADWATER_BRANCH=" in line]
    file = tmp_path / "env"
    subprocess.run(["bash", "-ec", line.replace(NUMBER, number)], env={"GITHUB_ENV": str(file)}, check=True)
    assert file.read_text() == f"HEADWATER_BRANCH={branch}\n"


def dagster(workshop: Workshop, program: str, *words: str) -> str:
    workshop.home.mkdir(exist_ok=True)
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *words],
        cwd=workshop.checkout,
        env=workshop.variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        ("dagster", ("definitions", "validate"), "All code locations passed validation"),
        pytest.param("dagster", ("asset", "list", "-m", "headwater.definitions"), f"{PRODUCT}/model", marks=pytest.mark.heavy),
        pytest.param("dg", ("check", "defs"), "All definitions loaded successfully", marks=pytest.mark.heavy),
        pytest.param("dg", ("list", "defs"), f"{PRODUCT}/model", marks=pytest.mark.heavy),
    ],
)  # fmt: skip
def test_dagster_reads_the_definitions(workshop: Workshop, program: str, words: tuple[str, ...], said: str) -> None:
    assert said in dagster(workshop, program, *words)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("dagster", ("asset", "materialize", "-m", "headwater.definitions", "--select")),
        pytest.param("dg", ("launch", "--assets"), marks=pytest.mark.heavy),
    ],
)
def test_dagster_builds_one_partition(workshop: Workshop, program: str, words: tuple[str, ...]) -> None:
    before = workshop.head()
    workshop.rewrite(lambda rows: rows[:-1])
    dagster(workshop, program, *words, f"{PRODUCT}/landing/customers", "--partition", LAST)
    assert workshop.published_since(before) == {"landing/customers"}


def test_a_build_on_a_branch_leaves_main_alone(workshop: Workshop) -> None:
    main = workshop.head()
    workshop.rewrite(lambda rows: rows[:-1])
    said = workshop.run("build", "--landed-only", HEADWATER_BRANCH="pr-17")
    assert "published" in said.stdout
    assert workshop.head() == main
    changed = {row["path"] for row in workshop.json("lake", "diff", "main..pr-17")["changes"]}
    assert f"{PRODUCT}/landing/customers" in changed
    assert f"{PRODUCT}/datasets/customers" in changed
    assert "nothing to do" in workshop.run("build", "--landed-only", HEADWATER_BRANCH="pr-17").stdout
