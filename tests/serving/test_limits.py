"""What a server must stand: slow, many, huge, hostile and impatient clients; and being told to end."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gzip
import io
import json
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeper.images import encode_png
from tests.patience import patient, slowness
from tests.serving.conftest import serving
from tests.serving.test_protocols import ask


def raw(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def resident(process) -> int:
    """Bytes of memory of a process."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * 4096


def peak(process) -> int:
    """The most bytes of memory that a process has had."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def test_dribbling_clients_are_cut_off(address) -> None:
    sockets = [raw(address) for _ in range(50)]
    began = time.monotonic()
    for number, one in enumerate(sockets):
        one.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + b"Content-Length: 1000\r\n\r\nab" * (number % 2))

    def dribble() -> None:
        while time.monotonic() - began < 12:
            for one in sockets:
                with contextlib.suppress(OSError):
                    one.sendall(b"x")
            time.sleep(0.5)

    dribbler = threading.Thread(target=dribble)
    dribbler.start()
    closed = 0
    for one in sockets:
        one.settimeout(max(0.1, began + 11 - time.monotonic()))
        try:
            while one.recv(1000):
                pass
            closed += 1
        except ConnectionError:
            closed += 1
        except TimeoutError:
            pass
    assert ask(f"{address}/livez")[0] == 200
    dribbler.join()
    for one in sockets:
        one.close()
    assert closed == 50


def test_too_large_is_refused_before_it_is_read(address) -> None:
    with raw(address) as one:
        one.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n")
        assert one.recv(200).startswith(b"HTTP/1.1 413")
    # Without a length: while it comes.
    with raw(address) as one:
        one.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        part = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        for _ in range(40):
            one.sendall(part)
        assert one.recv(200).startswith(b"HTTP/1.1 413")
    # Packed: after its expansion, which is not waited for.
    for packed, name in ((gzip.compress(bytes(200 << 20), 9), "gzip"), (zlib.compress(bytes(200 << 20), 9), "deflate")):
        assert len(packed) < 1 << 20
        assert ask(f"{address}/v1/models/digits:predict", packed, {"Content-Encoding": name})[0] == 413
    assert ask(f"{address}/predict", b"x", {"Content-Encoding": "br"})[0] == 415
    assert ask(f"{address}/predict", gzip.compress(b"x" * 1000)[:-10], {"Content-Encoding": "gzip"})[0] == 400
    # Behind the end of what is packed, for ever.
    with raw(address) as one:
        head = (
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        packed = gzip.compress(b"x" * 100)
        one.sendall(head + f"{len(packed):x}\r\n".encode() + packed + b"\r\n" + part)
        assert one.recv(200).startswith(b"HTTP/1.1 400")
    with raw(address) as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n")
        assert one.recv(200).startswith(b"HTTP/1.1 400")


def test_packed_requests_are_understood(address, pictures, wanted) -> None:
    body = gzip.compress(json.dumps({"instances": pictures[:2].tolist()}).encode())
    status, plain = ask(f"{address}/v1/models/digits:predict", body, {"Content-Encoding": "gzip"})
    assert status == 200 and [one["class"] for one in plain["predictions"]] == [one.label for one in wanted[:2]]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A sound PNG of black, hundreds of times smaller than its pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    packer, row = zlib.compressobj(1), bytes(1 + 3 * side)
    body = b"".join([packer.compress(row) for _ in range(side)]) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def claims(side: int) -> bytes:
    """A JPEG of a few pixels whose header says that it has many."""
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    where = data.index(b"\xff\xc0") + 5
    data[where : where + 4] = struct.pack(">HH", side, side)
    return bytes(data)


def icon(inner: bytes) -> bytes:
    """An icon that says 256 pixels of a PNG, whatever that holds."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(inner), 22) + inner


def twice(side: int) -> bytes:
    """A PNG of one pixel by its first header, and of many by its second."""
    data = bomb(side)
    small = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return data[:8] + small + data[8:]


def test_bombs_and_huge_pictures_are_refused_and_cost_nothing(served_run, pictures) -> None:
    good = encode_png(pictures[0])
    with serving(served_run, "--timeout", 120) as (address, process):
        assert ask(f"{address}/predict", good)[0] == 200
        before = peak(process)
        # 30,000 × 30,000; 179 megapixels, which Pillow itself would unpack; a little above the limit of 50.
        for data in (claims(30_000), bomb(13_377), bomb(7_100)):
            began = time.monotonic()
            status, plain = ask(f"{address}/predict", data)
            assert status == 400 and "at most 50 megapixels" in plain["error"]
            assert time.monotonic() - began < slowness()
        more = "an icon with a picture of more"
        for data, why in ((icon(bomb(7_000)), more), (icon(twice(7_000)), more), (twice(7_000), "damaged PNG")):
            status, plain = ask(f"{address}/predict", data)
            assert status == 400 and why in plain["error"]
        assert peak(process) - before < 40 << 20
        # Those within the limit are unpacked, but never more than two of the largest side by side.
        allowed = bomb(7_000)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: ask(f"{address}/predict", allowed)[0], range(4)))
        assert set(found) == {200}
        assert peak(process) - before < 1400 << 20
        assert ask(f"{address}/predict", good)[0] == 200
    with serving(served_run, "--max-pixels", 0.0005) as (address, _):
        status, plain = ask(f"{address}/predict", good)
        assert status == 400 and "28×28 pixels" in plain["error"]


def test_no_path_leaves_the_page(address) -> None:
    for path in ("/page/../application.py", "/page/%2e%2e%2fapplication.py", "/page/..%5capplication.py", "/page/%00"):
        with raw(address) as one:
            one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: one.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 404") and b"import" not in answer


def _overload(served_run, pictures, clients: int, seconds: float) -> None:
    body = np.ascontiguousarray(np.tile(pictures, (2, 1, 1, 1))[:100])
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "images",
                    "datatype": "UINT8",
                    "shape": list(body.shape),
                    "parameters": {"binary_data_size": body.nbytes},
                }
            ],
            "outputs": [{"name": "class"}],
        }
    ).encode()
    sent = head + body.tobytes()
    with serving(served_run, "--queue", 200, "--engine", "torch") as (address, process):
        stop = time.monotonic() + seconds
        statuses: dict[int, int] = {}
        lock = threading.Lock()

        def client() -> None:
            while time.monotonic() < stop:
                status, _ = ask(
                    f"{address}/v2/models/digits/infer", sent, {"Inference-Header-Content-Length": str(len(head))}
                )
                with lock:
                    statuses[status] = statuses.get(status, 0) + 1

        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            running = [pool.submit(client) for _ in range(clients)]
            queued, alive, memory = [], [], []
            while time.monotonic() < stop:
                began = time.monotonic()
                assert ask(f"{address}/livez")[0] == 200
                alive.append(time.monotonic() - began)
                with urllib.request.urlopen(f"{address}/metrics") as answer:
                    lines = [
                        one for one in answer.read().decode().splitlines() if one.startswith("deeper_queued_pictures{")
                    ]
                queued.append(float(lines[0].split()[-1]))
                memory.append(resident(process))
                time.sleep(0.05)
            for one in running:
                one.result()
        assert set(statuses) == {200, 503}, statuses
        assert max(queued) <= 200
        if seconds > 60:  # a soak: by a third of it all is warm
            assert memory[-1] - memory[len(memory) // 3] < 60 << 20
        assert sorted(alive)[len(alive) // 2] < 0.5 * slowness()
        assert process.poll() is None


def test_overload_is_refused_at_once(served_run, pictures) -> None:
    _overload(served_run, pictures, 12, 4)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("clients", [8, 20, 40])
def test_overload_for_minutes(served_run, pictures, clients) -> None:
    _overload(served_run, pictures, clients, 120)


def test_what_was_taken_is_answered_when_it_ends(served_run, pictures) -> None:
    picture = encode_png(pictures[0])
    with serving(served_run) as (address, process):
        opened = [raw(address) for _ in range(20)]
        request = (
            f"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
            + picture
        )
        for one in opened:
            one.sendall(request)
        # Whoever comes after them is answered: by then the server has read what they asked.
        with urllib.request.urlopen(f"{address}/livez", timeout=patient(30)):
            pass
        process.send_signal(signal.SIGTERM)
        answers = []
        for one in opened:
            with one:
                answers.append(b"".join(iter(lambda one=one: one.recv(65536), b"")))
        assert process.wait(patient(30)) in (0, -signal.SIGTERM, 143)
        taken = [answer for answer in answers if answer]
        assert len(taken) == 20 and all(answer.startswith(b"HTTP/1.1 200") for answer in taken)


def test_the_log_is_json_to_its_end(served_run, pictures, tmp_path) -> None:
    """Also where a large body was parsed, which a process of its own does."""
    body = json.dumps({"instances": np.concatenate([pictures] * 3)[:60].tolist()}).encode()
    assert len(body) > 64 << 10
    with serving(served_run, log=tmp_path / "log") as (address, process):
        name = served_run.name
        with urllib.request.urlopen(f"{address}/v1/models/{name}:predict", body, timeout=patient(60)) as answer:
            assert len(json.load(answer)["predictions"]) == 60
        process.send_signal(signal.SIGTERM)
        assert process.wait(patient(30)) in (0, -signal.SIGTERM, 143)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)


def test_what_cannot_be_served_is_one_line(run_deeper, served_run, tmp_path) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "random").write_bytes(bytes(range(128, 160)))
    (tmp_path / "lines").write_text("one\ntwo\n")
    for words, code, said in (
        (("serve",), 2, "name at least one run"),
        (("serve", tmp_path / "nowhere"), 6, "does not exist"),
        (("serve", served_run, served_run), 2, "two models are named"),
        (("serve", served_run, "--port", "99999"), 2, "cannot listen"),
        (("serve", served_run, "--token-file", tmp_path / "empty"), 2, "is empty"),
        (("serve", served_run, "--token-file", tmp_path / "random"), 2, "wanted one line of plain letters"),
        (("serve", served_run, "--token-file", tmp_path / "lines"), 2, "wanted one line of plain letters"),
        (("serve", served_run, "--queue", "0"), 2, "--queue: wanted at least 1, got 0"),
        (("serve", served_run, "--bodies", "1"), 2, "must not be below largest_body"),
        (("serve", served_run, "--max-pixels", "nan"), 2, "--max-pixels: wanted millions, above 0, got nan"),
        (("serve", served_run, "--timeout", "nan"), 2, "--timeout: wanted seconds above 0, got nan"),
        (("serve", served_run, "--allow-origin", "photos.example"), 2, "wanted scheme and name"),
        (("serve", served_run, "--allow-host", "http://photos.example"), 2, "wanted a name or an address alone"),
        (("serve", f"a/b={served_run}"), 2, "a model cannot be named 'a/b'"),
    ):
        ran = run_deeper(*words)
        assert ran.returncode == code and said in ran.stderr and len(ran.stderr.strip().splitlines()) == 1, ran.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = run_deeper("serve", served_run, "--port", taken.getsockname()[1])
    assert ran.returncode == 2 and "address already in use" in ran.stderr


def test_a_served_export_needs_no_torch(served_run, pictures, tmp_path) -> None:
    from deeper.export import export

    run = shutil.copytree(served_run, tmp_path / "run")
    export(run, ["openvino"])
    with serving(run) as (address, process):
        assert ask(f"{address}/api/models")[1]["models"][0]["engine"] == "openvino"
        assert ask(f"{address}/predict", encode_png(pictures[0]))[0] == 200
        assert "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text()


def _answers_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _answers_ipv6(), reason="this machine has no ::1")
def test_an_address_in_a_longer_form_is_told_and_answered_as_clients_write_it(served_run) -> None:
    """They shorten it, and so does the Host header that they send."""
    words = [sys.executable, "-m", "deeper", "serve", str(served_run), "--host", "0:0:0:0:0:0:0:1", "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        address = next((line.split()[2] for line in process.stdout if "http://" in line), "")
        try:
            assert "http://[::1]:" in address
            with urllib.request.urlopen(f"{address.rstrip('/')}/livez", timeout=patient(30)) as answer:
                assert answer.status == 200
        finally:
            process.terminate()
