"""How a replay asks: a real HTTP server on loopback, in place of the service."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headwater.cli._replay_service import Service, service_of
from headwater.replay import ReplayDay, ReplayRequest, asked_in
from resources.settings import load_settings
from tests.serving.conftest import PRODUCT, Released
from tests.serving.conftest import released as released
from tests.serving.http.conftest import ENTITY, logged

BEGIN = datetime(2013, 7, 1, tzinfo=UTC)


class Slow(BaseHTTPRequestHandler):
    """Answers the first of all requests after the others had time to overtake it."""

    protocol_version = "HTTP/1.1"
    answered: list[str]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["id"]
        if asked == "r0":
            time.sleep(0.3)
        self.answered.append(asked)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Slow.answered = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_first_request_of_a_day_comes_in_first_and_each_once(server: ThreadingHTTPServer, count: int) -> None:
    """Which of eight came first was chance, and moved the beginning of a watch by a quarter of an hour from play to play."""
    requests = tuple(
        ReplayRequest(id=f"r{number}", at=BEGIN + timedelta(minutes=number), entity={}) for number in range(count)
    )
    day = ReplayDay(day=date(2013, 7, 1), begin=BEGIN, end=BEGIN + timedelta(days=1), requests=requests, files={})
    with subprocess.Popen([sys.executable, "-c", ""], text=True) as process:
        taken = Service(process, server.server_address[1], "toy").ask(day)
    assert len(taken) == count
    assert Slow.answered[:1] == [request.id for request in requests[:1]]
    assert sorted(Slow.answered) == sorted(request.id for request in requests)


def test_the_service_of_a_replay_is_asked_under_the_ids_of_a_play(
    released: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other service refuses them."""
    monkeypatch.setenv("HEADWATER_STATE", str(released.folder))
    request = ReplayRequest(id=asked_in(1, "a"), at=datetime(2013, 3, 10, 7, tzinfo=UTC), entity=ENTITY)
    day = ReplayDay(day=date(2013, 3, 10), begin=request.at, end=request.at, requests=(request,), files={})
    with service_of(load_settings(), PRODUCT) as service:
        assert len(service.ask(day)) == 1
    assert [one.request_id for one in logged(released.folder)] == ["replay-1/a"]
