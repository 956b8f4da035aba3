"""A lake that neither answers nor fails: the service says so, and everything else goes on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.campaign import with_disk
from tests.serving.http.conftest import Service
from tests.serving.http.test_failures import BROKEN_WITH_13, written

Start = Callable[..., Service]
HANGING = """
    import os, time
    from headwater.lake import EmbeddedLake
    plain_resolve = EmbeddedLake.resolve
    def resolve(self, ref):
        while os.path.exists({flag!r}):
            time.sleep(0.02)
        return plain_resolve(self, ref)
    EmbeddedLake.resolve = resolve
"""


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """While it is there, the lake hangs."""
    return tmp_path / "hangs"


@pytest.fixture
def program(tmp_path: Path, flag: Path) -> list[str]:
    return with_disk(tmp_path, HANGING.format(flag=str(flag)) + BROKEN_WITH_13)


def metrics(service: Service) -> dict[str, float]:
    lines = service.get("/metrics").body.decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_a_lake_that_hangs_is_told_and_holds_nothing_up(
    released: Released, start: Start, program: list[str], flag: Path
) -> None:
    """No alert fired, the failures that decide about releases were not written, and the metrics stood still."""
    service = start(program=program)
    flag.touch()
    service.until(lambda: metrics(service)["headwater_lake_away"] == 1)
    assert "has not answered" in service.get("/v1/products").json["lake"]
    looked = metrics(service)["headwater_refreshed_timestamp_seconds"]
    assert service.predict({"x": 13}).status != 200
    folder = released.folder / "serving" / "failures" / PRODUCT
    service.until(lambda: [one.count for one in written(folder)] == [1])
    assert service.predict().status == 200
    assert metrics(service)["headwater_refreshed_timestamp_seconds"] == looked, "nobody has looked"
    released.release("all-at-once", "1.1.0")
    flag.unlink()
    service.until(lambda: service.predict().json["version"] == "1.1.0")
    service.until(lambda: metrics(service)["headwater_lake_away"] == 0)
    assert "lake" not in service.get("/v1/products").json


def test_a_lake_that_hangs_at_the_start_leaves_a_service_that_is_ready_and_says_so(
    start: Start, program: list[str], flag: Path
) -> None:
    """Health said ready while the metric did not, so that somebody was called for nothing."""
    start().stop()
    flag.touch()
    service = start(program=program)
    assert service.predict().status == 200
    service.until(lambda: metrics(service)["headwater_lake_away"] == 1)
    found = metrics(service)
    assert found["headwater_ready"] == 1
    assert f'headwater_slow_requests_total{{product="{PRODUCT}"}}' in found
    assert any(name.startswith("headwater_deployment_info{") for name in found)
    flag.unlink()
    service.until(lambda: metrics(service)["headwater_lake_away"] == 0)


FAULT = """
    import os
    from serving.live import LiveProducts
    plain = LiveProducts.refresh
    def refresh(self):
        if os.path.exists({flag!r}):
            raise ZeroDivisionError("nobody foresaw it")
        return plain(self)
    LiveProducts.refresh = refresh
"""


def test_a_look_that_ends_in_a_fault_is_none_and_leaves_the_copies_to_be_served(
    released: Released, start: Start, tmp_path: Path, flag: Path
) -> None:
    """It counted as a look, so that nobody saw that no release was followed, and after a restart nothing was served."""
    program = with_disk(tmp_path, FAULT.format(flag=str(flag)))
    start(program=program).stop()
    flag.touch()
    service = start(program=program)
    assert service.predict().status == 200
    assert metrics(service)["headwater_refreshed_timestamp_seconds"] == 0
    released.release("all-at-once", "1.1.0")
    flag.unlink()
    service.until(lambda: service.predict().json["version"] == "1.1.0")
    service.until(lambda: metrics(service)["headwater_refreshed_timestamp_seconds"] > 0)
