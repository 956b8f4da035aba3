"""What a key that is good for some products reads of the others: nothing."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from serving.grpc._proto import open_inference_pb2 as pb
from serving.http._keys import Keys, KeysError, Role
from tests.serving.conftest import PRODUCT
from tests.serving.grpc_client import Client
from tests.serving.http.conftest import ENTITY, PREDICT, Reply, Service

GOOD_FOR: Mapping[str, list[str] | None] = {"all": None, "toys": [PRODUCT], "others": ["other"], "none": []}
"""Keys, by what they are good for."""


def write_keys(folder: Path) -> Path:
    file = folder / "keys.json"
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in GOOD_FOR}
    keys: list[dict[str, Any]] = [
        {"name": name, "sha256": digests[name], "roles": ["predict", "metrics"]}
        | ({} if products is None else {"products": products})
        for name, products in GOOD_FOR.items()
    ]
    file.write_text(json.dumps(keys))
    return file


ENTRY = {"name": "partner", "sha256": "a" * 64, "roles": ["predict"], "products": ["other"]}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{**ENTRY, "product": ["other"]}], "entry 1 ('partner') has 'product', which nobody knows"),
        ([ENTRY, {**ENTRY, "sha256": "A" * 64}], "entry 2 ('partner') has the sha256 of 'partner' again"),
        *(([{**ENTRY, "products": odd}], "('partner') has products that are no list of texts")
          for odd in ("toy", None, {"toy": 1}, ["toy", 5], [""])),
        ([{**ENTRY, "roles": "predict"}], "has roles that are no list of texts"),
        ([{**ENTRY, "roles": ["predict", ["x"]]}], "has roles that are no list of texts"),
        ([{**ENTRY, "roles": []}], "has no role"),
        ([{**ENTRY, "roles": ["ask"]}], "has the role 'ask'; known are predict, metrics, review"),
        ([{**ENTRY, "name": 5}], "entry 1 has no name"),
        ([{**ENTRY, "name": "caf\udce9"}], "has a name that cannot be printed"),
        ([{**ENTRY, "sha256": "0x" + "a" * 62}], "has no sha256"),
        (["partner"], "entry 1 is no object"),
        (ENTRY, "no list"),
    ],
)  # fmt: skip
def test_an_entry_that_says_something_else_than_was_meant_is_refused_by_name(
    tmp_path: Path, entries: Any, said: str
) -> None:
    """A misspelt `products` opened every product, a text was taken as its letters, and of two equal digests the last one held."""
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(entries))
    with pytest.raises(KeysError, match=re.escape(said)):
        Keys.read(file)


def test_one_caller_may_have_a_key_and_its_successor(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("old", "new")}
    file.write_text(json.dumps([{**ENTRY, "sha256": digest} for digest in keys.values()]))
    read = Keys.read(file)
    assert {read.caller({b"x-api-key": key.encode()}, Role.PREDICT, "other") for key in keys} == {"partner"}


@pytest.fixture(scope="module")
def keyed(shared_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    keys = write_keys(tmp_path_factory.mktemp("keys"))
    found = Service(shared_state, "--keys", str(keys), "--grpc-port", "0")
    yield found
    found.stop()


def ask(service: Service, method: str, path: str, key: str) -> Reply:
    body = {"entity": ENTITY} if method == "POST" else None
    return service.ask(method, path, body, {"authorization": f"Bearer {key}"} if key else {})


@pytest.mark.parametrize("key", ["others", "none"])
def test_a_key_that_is_good_for_other_products_reads_nothing_of_this_one(keyed: Service, key: str) -> None:
    """It read policy, versions, commit and every field of a product that it was not good for."""
    assert ask(keyed, "POST", PREDICT, key).status == 403
    products, description = ask(keyed, "GET", "/v1/products", key), ask(keyed, "GET", "/openapi.json", key)
    assert (products.status, products.json["products"]) == (200, [])
    assert (description.status, [path for path in description.json["paths"] if PRODUCT in path]) == (200, [])
    for method, path in (
        ("POST", "/v1/other:predict"),
        ("POST", "/v2/models/other/infer"),
        ("GET", "/v2/models/other"),
    ):
        reply = ask(keyed, method, path, key)
        assert reply.status == (404 if key == "others" else 403)
        assert PRODUCT not in reply.json["error"]


@pytest.mark.parametrize("key", ["all", "toys"])
def test_a_key_that_is_good_for_a_product_reads_of_it(keyed: Service, key: str) -> None:
    assert [one["product"] for one in ask(keyed, "GET", "/v1/products", key).json["products"]] == [PRODUCT]
    assert PREDICT in ask(keyed, "GET", "/openapi.json", key).json["paths"]


def test_a_key_for_all_hears_what_is_served(keyed: Service) -> None:
    reply = ask(keyed, "POST", "/v1/other:predict", "all")
    assert (reply.status, f"served are {PRODUCT}" in reply.json["error"]) == (404, True)


@pytest.mark.parametrize("key", ["", "nobody"])
def test_without_a_key_that_somebody_knows_there_is_nothing_to_read(keyed: Service, key: str) -> None:
    assert {ask(keyed, "GET", path, key).status for path in ("/v1/products", "/openapi.json", "/v2")} == {401}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/:predict"), ("POST", "/v1//versions/1.0.0:predict"), ("POST", "/v2/models//infer"),
        ("GET", "/v2/models/"), ("GET", "/v2/models//versions/1.0.0/ready"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["", "others", "all"])
def test_an_empty_name_is_no_product_whoever_asks(keyed: Service, method: str, path: str, key: str) -> None:
    reply = ask(keyed, method, path, key)
    assert (reply.status, reply.json["code"]) == (404, "no_product")
    assert PRODUCT not in reply.json["error"]


def test_what_a_caller_calls_a_product_is_no_label(keyed: Service) -> None:
    for key in ("others", "all"):
        ask(keyed, "POST", "/v1/other:predict", key)
        ask(keyed, "POST", "/v1/:predict", key)
    lines = [line for line in ask(keyed, "GET", "/metrics", "all").body.decode().splitlines() if 'product="' in line]
    assert {line.split('product="')[1].split('"')[0] for line in lines} <= {PRODUCT, ""}


def test_grpc_names_no_other_product_either(keyed: Service) -> None:
    client = Client(int(keyed.first_line.rpartition("gRPC on port ")[2].rstrip(".\n")))
    calls: list[tuple[str, Any]] = [
        (name, kind)
        for asked in ("other", "", PRODUCT)
        for name, kind in (
            ("ModelInfer", pb.ModelInferRequest(model_name=asked)),
            ("ModelReady", pb.ModelReadyRequest(name=asked)),
            ("ModelMetadata", pb.ModelMetadataRequest(name=asked)),
        )
    ]
    metadata = [("x-api-key", "others")]
    for name, given in calls:
        with pytest.raises(grpc.RpcError) as caught:
            client.call(name, given, metadata=metadata)
        asked = given.model_name if isinstance(given, pb.ModelInferRequest) else given.name
        wanted = grpc.StatusCode.NOT_FOUND if asked == "other" else grpc.StatusCode.PERMISSION_DENIED
        assert caught.value.code() is wanted
        assert "served are" not in caught.value.details()
    assert client.call("ServerMetadata", pb.ServerMetadataRequest(), metadata=metadata).name == "headwater"
    client.close()
