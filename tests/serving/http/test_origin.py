"""A service without keys, and the pages that are open in a browser of the same machine."""

import json
from collections.abc import Mapping

import pytest

from tests.serving.conftest import PRODUCT
from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Service
from tests.serving.http.test_keys import ask, keyed

__all__ = ["keyed"]  # a fixture


def own(service: Service) -> str:
    return f"127.0.0.1:{service.port}"


def from_elsewhere(service: Service) -> list[Mapping[str, str]]:
    """What browsers send for pages that are not the service's: a newer one, an older one, a frame without an origin, a neighbour."""
    return [
        {"origin": "https://elsewhere.example", "sec-fetch-site": "cross-site"},
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9", "sec-fetch-site": "same-site"},
        {"origin": f"http://{own(service)}", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
    ]


def test_another_sites_page_writes_no_predictions(service: Service) -> None:
    """A form, or `fetch` without a content type, asks no leave of its browser first; its predictions stood in the log."""
    before = len(service.logged())
    for headers in from_elsewhere(service):
        connection = service.connect()
        connection.request("POST", PREDICT, json.dumps({"entity": ENTITY, "time": TIME}).encode(), headers)
        reply = connection.getresponse()
        assert (reply.status, json.loads(reply.read()).get("code")) == (403, "origin"), headers
        connection.close()
    assert len(service.logged()) == before


@pytest.mark.parametrize("path", ["/v1/products", f"/v2/models/{PRODUCT}", "/openapi.json", "/docs", "/metrics"])
def test_a_name_that_was_made_to_mean_this_machine_reads_nothing(service: Service, path: str) -> None:
    for host in ("elsewhere.example", f"elsewhere.example:{service.port}", "127.0.0.1.elsewhere.example", "[::1", ""):
        reply = service.get(path, {"host": host})
        assert (reply.status, reply.json["code"]) == (403, "host"), host
    assert service.get(path, {"sec-fetch-site": "cross-site"}).status == 200, "who follows a link may look"


@pytest.mark.parametrize("host", ["localhost", "localhost:{port}", "127.0.0.1:{port}", "127.0.0.2", "[::1]:{port}"])
def test_programs_and_pages_of_its_own_ask_by_any_name_of_this_machine(service: Service, host: str) -> None:
    host = host.format(port=service.port)
    for headers in ({}, {"origin": f"http://{host}", "sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}):
        assert service.ask("POST", PREDICT, {"entity": ENTITY}, {"host": host, **headers}).status == 200


def test_with_keys_a_proxy_may_give_it_any_name(keyed: Service) -> None:
    assert ask(keyed, "GET", "/v1/products", "all").status == 200
    headers = {"authorization": "Bearer all", "host": "models.example", "origin": "https://desk.example"}
    assert keyed.ask("POST", PREDICT, {"entity": ENTITY}, headers).status == 200
