"""Two products in one process: each with its own model, log, keys and description."""

import importlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from headwater.features import OnDemandFeatures
from tests.serving.conftest import OTHER, PRODUCT, Released, publish_other
from tests.serving.http.campaign import with_disk
from tests.serving.http.conftest import ENTITY, TIME, Reply, Service
from tests.serving.http.test_keys import ask, write_keys

BOTH = (PRODUCT, OTHER)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Keys are good for all, for the first product (`toys`), and for the second (`others`)."""
    state = tmp_path_factory.mktemp("state")
    made = Released(state)
    made.model("1.0.0", slope=1)
    made.online(10)
    made.release("all-at-once", "1.0.0")
    publish_other(state)
    found = Service(state, "--keys", str(write_keys(state)))
    yield found
    found.stop()


def predict(service: Service, product: str, id: str, key: str = "all") -> Reply:
    body = {"entity": ENTITY, "time": TIME, "id": id}
    return service.ask("POST", f"/v1/{product}:predict", body, {"authorization": f"Bearer {key}"})


def test_each_product_answers_with_its_own_model_and_stands_in_its_own_log(both: Service) -> None:
    asked = [(product, f"own-{number}") for number in range(20) for product in BOTH]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda one: predict(both, *one), asked))
    assert {(reply.status, reply.json["product"]) for reply in replies} == {(200, product) for product in BOTH}
    scores = {
        product: {reply.json["score"] for reply in replies if reply.json["product"] == product} for product in BOTH
    }
    assert {len(found) for found in scores.values()} == {1}
    assert scores[PRODUCT] != scores[OTHER]
    for product in BOTH:
        records = [one for one in both.logged(product) if one.request_id.startswith("own-")]
        assert sorted(one.request_id for one in records) == sorted(id for one, id in asked if one == product)
        assert ({one.product for one in records}, {one.score for one in records}) == ({product}, scores[product])
        assert {one.features["h_value"] for one in records} == {10 if product == PRODUCT else 20}


@pytest.mark.parametrize(
    ("key", "there"), [("all", {PRODUCT, OTHER}), ("toys", {PRODUCT}), ("others", {OTHER}), ("none", set())]
)
def test_a_key_reads_of_the_products_that_it_is_good_for_and_asks_no_other(
    both: Service, key: str, there: set[str]
) -> None:
    assert {product for product in BOTH if predict(both, product, f"{key} asks", key).status == 200} == there
    assert {predict(both, product, f"{key} asks", key).status for product in set(BOTH) - there} <= {403}
    listed = ask(both, "GET", "/v1/products", key).json["products"]
    paths = ask(both, "GET", "/openapi.json", key).json["paths"]
    assert {one["product"] for one in listed} == there
    assert {product for product in BOTH if any(product in path for path in paths)} == there


def test_what_is_counted_is_counted_by_product(both: Service) -> None:
    before = {product: counted(both, product) for product in BOTH}
    predict(both, OTHER, "counted")
    assert {product: counted(both, product) - before[product] for product in BOTH} == {PRODUCT: 0, OTHER: 1}


def counted(service: Service, product: str) -> float:
    lines = ask(service, "GET", "/metrics", "all").body.decode().splitlines()
    wanted = f'headwater_requests_total{{code="200",product="{product}",version="1.0.0"}}'
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))


def test_a_module_that_raises_at_import_is_told_where_people_look_and_costs_no_other_product(
    released: Released,
    beside: Released,
    start: Callable[..., Service],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Readiness stayed 503 for all, nothing was told, and the metric of the newest look went on."""
    module = tmp_path / "features_of_other.py"
    module.write_text("def thrice(x, value):\n    return (3 * x,)\n")
    monkeypatch.syspath_prepend(tmp_path)
    thrice = importlib.import_module("features_of_other").thrice
    monkeypatch.delitem(sys.modules, "features_of_other")
    computed = OnDemandFeatures(name="thrice", function=thrice, inputs=("x", "h_value"), outputs={"thrice": pl.Int64})
    beside.model("1.1.0", slope=3, on_demand=[computed])
    beside.release("all-at-once", "1.1.0")
    module.write_text("import os\nos.environ['NO_SUCH_SETTING']\n")
    service = start(program=with_disk(tmp_path, f"import sys; sys.path.insert(0, {str(tmp_path)!r})"))
    assert service.predict().json["version"] == "1.0.0"
    for path in ("/v1/products", "/v2/health/ready"):
        reply = service.get(path)
        assert (reply.status, set(reply.json["troubles"])) == (200, {OTHER})
        assert "other@1.1.0 computes features with features_of_other:thrice" in reply.json["troubles"][OTHER]
        assert "KeyError: 'NO_SUCH_SETTING'" in reply.json["troubles"][OTHER]
    assert f'headwater_release_not_served{{product="{OTHER}"}} 1.0' in service.get("/metrics").body.decode()
    for version in ("1.1.0", "1.0.0"):  # a release, and the way back
        released.release("all-at-once", version)
        service.until(lambda version=version: service.predict().json["version"] == version)  # type: ignore[misc]
