"""Two products in one process: each with its own model, log, keys and description."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serving.conftest import OTHER, PRODUCT, Released, publish_other
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
