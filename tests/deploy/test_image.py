"""The service's image. No Docker runs here: what its file says is read, and the service runs with nothing but what it installs."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.cli._serve import serve
from tests.deploy.dockerfile import Instruction, read
from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.conftest import Service

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROGRAM = Path(__file__).with_name("only_the_image.py")


def of(name: str, stage: int = 1) -> list[Instruction]:
    return [one for one in read(FILE) if (one.name, one.stage) == (name, stage)]


def extras() -> str:
    (found,) = of("ARG", stage=0)
    return found.text.removeprefix("EXTRAS=")


def test_it_is_built_from_the_lock_and_the_packages_of_the_project() -> None:
    (run,) = of("RUN", stage=0)
    assert '--constraint constraints.txt ".[${EXTRAS}]"' in run.text
    copied = [word for one in of("COPY", stage=0) for word in one.text.split()[:-1]]
    assert {*PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]} <= {*copied}
    assert {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], "constraints.txt"} <= {*copied}
    assert all((ROOT / word).exists() for word in copied)
    kept = {line[1:] for line in (FILE.parent / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert kept == {*copied}
    assert {*extras().split(",")} <= {*PROJECT["project"]["optional-dependencies"]}


def test_it_has_no_build_tools_runs_as_nobody_special_and_one_python() -> None:
    assert {one.text.split()[0] for stage in (0, 1) for one in of("FROM", stage)} == {"python:3.11-slim-bookworm"}
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.12"
    assert [one.text for one in of("COPY")] == ["--from=build /opt/headwater /opt/headwater"]
    (run,) = of("RUN")
    added = run.text.partition("apt-get install")[2].partition("&&")[0].split()
    assert [word for word in added if not word.startswith("-")] == ["libgomp1"]
    (user,) = of("USER")
    assert int(user.text) > 0
    assert f"--uid {user.text}" in run.text
    names = [one.name for one in read(FILE)]
    assert names.index("USER") < names.index("ENTRYPOINT")


def test_what_it_starts_is_a_command_of_this_headwater() -> None:
    (entry,), (usual,) = of("ENTRYPOINT"), of("CMD")
    assert entry.words[:2] == ["headwater", "serve"]
    context = serve.make_context("serve", [*entry.words[2:], *usual.words])
    assert (context.params["host"], context.params["keys"]) == ("0.0.0.0", Path(usual.words[-1]))
    (exposed,) = of("EXPOSE")
    assert int(exposed.text) == context.params["port"]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    """A service that can import nothing but what the image has, and the file that will say what it used."""
    state = tmp_path_factory.mktemp("state")
    released = Released(state)
    released.model("1.0.0", slope=1)
    released.online(10)
    released.release("all-at-once", "1.0.0")
    file = state / "used"
    service = Service(state, "--grpc-port", "0", program=[sys.executable, str(PROGRAM), str(file), extras()])
    yield service, file
    service.stop()


def test_its_health_check_tells_ready_from_not(used: tuple[Service, Path]) -> None:
    (check,) = of("HEALTHCHECK")
    interpreter, *words = check.words
    assert interpreter == "python"
    for port, holds in ((used[0].port, True), (1, False)):
        command = [sys.executable, *(word.replace(":8080/", f":{port}/") for word in words)]
        assert (subprocess.run(command, capture_output=True, check=False).returncode == 0) is holds


def test_the_service_needs_nothing_but_what_the_image_installs(used: tuple[Service, Path]) -> None:
    service, file = used
    assert service.predict().status == service.predict(explain=True).status == 200
    assert service.get(f"/v2/models/{PRODUCT}").status == service.get("/docs").status == 200
    assert service.get("/metrics").status == 200
    code, said = service.stop()
    assert code == 0, said
    assert "Traceback" not in said
    found = set(file.read_text().split())
    assert {"uvicorn", "polars", "lmdb", "msgspec", "hpack"} <= found
    assert not found & {
        "dagster",
        "grpcio",
        "mlflow",
        "pandas",
        "torch",
        "dbt-core",
        "scikit-learn",
        "matplotlib",
        "duckdb",
    }
