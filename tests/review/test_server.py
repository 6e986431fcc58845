"""The review's server: its own page alone may decide, and only whoever holds the key sees anything."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import struct
import threading
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from deeper.errors import DatasetError, UsageError
from deeper.records import Dataset
from deeper.records.corrections import read_corrections
from deeper.review import ReviewServer, Session, open_session
from tests.patience import patient


@pytest.fixture
def server(dataset: Dataset) -> Iterator[ReviewServer]:
    with ReviewServer(open_session(dataset.path), 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Client:
    def __init__(self, server: ReviewServer) -> None:
        self.server = server
        self.cookie = ""
        status, headers, _ = self.ask("GET", f"/?key={server.key}")
        assert status == 303 and headers["Location"] == "/"
        assert "HttpOnly" in headers["Set-Cookie"] and "SameSite=Strict" in headers["Set-Cookie"]
        self.cookie = headers["Set-Cookie"].partition(";")[0]

    def ask(self, method: str, path: str, body: object = None, **changed: str | None) -> tuple[int, dict, bytes]:
        headers: dict[str, str | None] = {"Host": f"127.0.0.1:{self.server.port}", "Cookie": self.cookie}
        data = None
        if method == "POST":
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers |= {"Origin": f"http://127.0.0.1:{self.server.port}", "Content-Type": "application/json"}
            headers["Content-Length"] = str(len(data))
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=patient(10))
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        found = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        return found


DECISION = {"number": 0, "decision": "exclude", "to": None}


def test_a_decision_is_on_the_disk_when_it_is_answered(server: ReviewServer, dataset: Dataset) -> None:
    client = Client(server)
    session = json.loads(client.ask("GET", "/session")[2])
    assert session["classes"] == list(dataset.classes) and len(session["suspects"]) == 6
    assert len(session["suspects"][0]["neighbours"]) == 4
    status, _, body = client.ask("POST", "/decide", DECISION)
    assert (status, json.loads(body)) == (200, {"number": 0, "decision": {"kind": "exclude", "to": None}, "decided": 1})
    suspect = server.session.suspects[0]
    found = read_corrections(dataset.path / "corrections.csv")[suspect.id]
    assert (found.kind, found.given) == ("exclude", suspect.given)
    # To give a picture the class that it has is to keep it.
    given = dataset.classes.index(suspect.given)
    client.ask("POST", "/decide", {"number": 0, "decision": "relabel", "to": given})
    assert read_corrections(dataset.path / "corrections.csv")[suspect.id].kind == "keep"
    assert json.loads(client.ask("POST", "/undo", {})[2])["decision"] == {"kind": "exclude", "to": None}
    assert json.loads(client.ask("POST", "/undo", {})[2])["decision"] is None
    status, _, body = client.ask("POST", "/undo", {})
    assert status == 400 and "nothing to take back" in json.loads(body)["error"]


def test_pictures_are_pixels_alone(server: ReviewServer, dataset: Dataset) -> None:
    client = Client(server)
    first = json.loads(client.ask("GET", "/session")[2])["suspects"][0]
    status, headers, body = client.ask("GET", f"/picture/{first['picture']}")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(body))), dataset.split("train").picture(0))
    assert client.ask("GET", "/picture/9999")[0] == 400


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": None}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": None}, 403),
        ({"Cookie": None}, 403),
        ({"Cookie": "deeper-review=x"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": None}, 415),
        ({"Content_Length": "100000000"}, 413),
        ({"Content_Length": "-1"}, 413),
    ],
)
def test_what_other_pages_can_send_decides_nothing(
    server: ReviewServer, dataset: Dataset, changed: dict, status: int
) -> None:
    client = Client(server)
    assert client.ask("POST", "/decide", DECISION, **changed)[0] == status
    assert not (dataset.path / "corrections.csv").exists()


@pytest.mark.parametrize("path", ["/", "/session", "/picture/0", "/review.js"])
def test_nothing_is_seen_without_the_key(server: ReviewServer, path: str) -> None:
    client = Client(server)
    assert client.ask("GET", path)[0] == 200
    assert client.ask("GET", path, Cookie=None)[0] == 403
    assert client.ask("GET", "/?key=wrong", Cookie=None)[0] == 403


@pytest.mark.parametrize("path", ["/../server.py", "/%2e%2e/server.py", "/page/index.html", "/picture/-1", "/x"])
def test_there_is_nothing_else(server: ReviewServer, path: str) -> None:
    assert Client(server).ask("GET", path)[0] == 404


def test_every_answer_forbids_what_the_page_does_not_need(server: ReviewServer) -> None:
    client = Client(server)
    for path in ("/", "/nowhere", "/session"):
        headers = client.ask("GET", path)[1]
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1]",
        b"[" * 3000,
        {},
        {"number": True, "decision": "keep"},
        {"number": 99, "decision": "keep"},
        {"number": -1, "decision": "keep"},
        {"number": 0, "decision": "burn"},
        {"number": 0, "decision": "undo"},
        {"number": 0, "decision": "relabel"},
        {"number": 0, "decision": "relabel", "to": 99},
        {"number": 0, "decision": "keep", "to": 1},
    ],
)
def test_bad_requests_are_one_line_and_change_nothing(server: ReviewServer, dataset: Dataset, body: object) -> None:
    status, _, answer = Client(server).ask("POST", "/decide", body)
    assert status == 400 and "\n" not in json.loads(answer)["error"]
    assert not (dataset.path / "corrections.csv").exists()


def test_a_disk_that_cannot_be_written_is_said(server: ReviewServer, dataset: Dataset) -> None:
    (dataset.path / "corrections.csv").mkdir()
    status, _, answer = Client(server).ask("POST", "/decide", DECISION)
    assert status == 507 and "cannot write" in json.loads(answer)["error"]


def test_a_taken_port_is_passed_over(server: ReviewServer) -> None:
    with ReviewServer(server.session, server.port) as second:
        assert second.port != server.port


def test_a_review_of_nothing_is_refused(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="nothing to review"):
        Session(dataset, [])
    with pytest.raises(UsageError, match="no suspect 7"):
        open_session(dataset.path).decide(7, "keep", None)


def test_a_browser_that_leaves_is_no_news(server: ReviewServer, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as one:
            one.sendall(b"GET /session HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP")
            # Reset instead of closed.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert Client(server).ask("GET", "/session")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_port_that_cannot_be_had_is_named(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(ReviewServer, "server_bind", forbidden)
    with pytest.raises(UsageError, match="--port: 80 cannot be had"):
        ReviewServer(open_session(dataset.path), 80)
