"""The description keeps its word: requests made from it, right and wrong ones, get the answers that it names."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.conftest import PRODUCT
from tests.serving.http.conftest import PREDICT, Service

CONFIG = """
[checks.not_a_server_error]
# 504 is the answer to a caller who waits a millisecond; nothing else of the kind may come.
expected-statuses = ["2xx", "3xx", "4xx", "504"]

[checks.negative_data_rejection]
# 413 is a refusal too, which schemathesis does not count as one.
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "504"]

[checks.positive_data_acceptance]
# A description cannot say which times the online features reach, nor what a product's own function refuses.
enabled = false
"""


@pytest.mark.parametrize(
    ("phases", "most", "wanted"),
    [
        ("fuzzing", 6, 25),
        pytest.param("examples,coverage,fuzzing", 2_500, 10_000, marks=[pytest.mark.heavy, pytest.mark.timeout(3_600)]),
    ],
)
def test_requests_made_from_the_description_get_the_answers_it_names(
    service: Service,
    tmp_path: Path,
    phases: str,
    most: int,
    wanted: int,
    record_property: Callable[[str, object], None],
) -> None:
    pytest.importorskip("schemathesis")
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(tmp_path / "schemathesis.toml"), "run",
        f"http://127.0.0.1:{service.port}/openapi.json", "--max-examples", str(most), "--seed", "1", "--phases", phases, "--no-shrink",
        "--continue-on-failure",
    ]  # fmt: skip
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=3_500)
    assert found.returncode == 0, found.stdout[-6_000:] + found.stderr[-2_000:]
    made = re.search(r"(\d+) generated, \1 passed", found.stdout)
    assert made is not None, found.stdout[-2_000:]
    assert int(made[1]) >= wanted
    assert not re.search(r'requests_total\{code="500".* [1-9]', service.get("/metrics").body.decode())
    assert service.get("/v2/health/ready").status == 200
    record_property("cases", int(made[1]))


def test_headers_that_an_answer_may_carry_are_described(service: Service) -> None:
    paths = service.get("/openapi.json").json["paths"]
    for path in (PREDICT, f"/v2/models/{PRODUCT}/infer"):
        assert set(paths[path]["post"]["responses"]["200"]["headers"]) == {"Deprecation", "Headwater-Logged"}
