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

from headwater.cli._replay_service import Service
from headwater.replay import ReplayDay, ReplayRequest

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
