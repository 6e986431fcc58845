"""Requests that were good once, changed at random in every part: nothing breaks, nothing is answered with 500."""

from __future__ import annotations

import concurrent.futures
import gzip
import json
import random
import re
import select
import socket
import time
import zlib
from collections import Counter

import pytest

from deeper.images import encode_png
from tests.patience import slowness
from tests.serving.conftest import serving
from tests.serving.test_limits import raw, resident
from tests.serving.test_protocols import ask

CRLF = b"\r\n"
# Clients that throw side by side. Some requests lack their end: the server waits for it, and so does the client a moment.
CLIENTS = 16
BITS = (b"\r\n", b"\0", b"-1", b"99999999999999999999", b"[[[[", b'"', b"%00", b"NaN", b"\\ud800", b"1e999", b"{}")
ORIGINS = (b"http://[", b"null", b"http://localhost", b"//", b"http://evil.example", b"\xff", b"http://localhost:x")


def requests(picture: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Path, headers and body of good ones."""
    files = {"inputs": [{"name": "files", "datatype": "BYTES", "shape": [1], "data": ["aGk="]}], "id": "x"}
    pixels = {"name": "images", "datatype": "UINT8", "shape": [1, 28, 28, 1], "parameters": {"binary_data_size": 784}}
    binary = json.dumps({"inputs": [pixels]}).encode()
    form = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + picture + b"\r\n--b--\r\n"
    return [
        (b"/predict", b"", picture),
        (b"/predict?top=3", b"Content-Type: multipart/form-data; boundary=b\r\n", form),
        (b"/v2/models/digits/infer", b"", json.dumps(files).encode()),
        (
            b"/v2/models/digits/infer",
            b"Inference-Header-Content-Length: %d\r\n" % len(binary),
            binary + bytes(784),
        ),
        (b"/v1/models/digits/versions/1:predict", b"", b'{"instances": [{"b64": "aGk="}]}'),
        (b"/v1/models/digits:predict", b"", json.dumps({"instances": [[0] * 784]}).encode()),
    ]


def scratched(draws: random.Random, part: bytes) -> bytes:
    """A byte changed, some taken out, some put in."""
    data = bytearray(part)
    for _ in range(draws.randint(1, 5)):
        where = draws.randrange(len(data) + 1)
        kind = draws.randrange(4)
        if kind == 0 and where < len(data):
            data[where] = draws.randrange(256)
        elif kind == 1:
            del data[where : where + draws.randint(1, 40)]
        elif kind == 2:
            data[where:where] = draws.randbytes(draws.randint(1, 20))
        else:
            data[where:where] = draws.choice(BITS)
    return bytes(data)


def chunked(draws: random.Random, body: bytes) -> bytes:
    parts, position = [], 0
    while position < len(body):
        size = draws.randint(1, 400)
        piece = body[position : position + size]
        parts.append(b"%x\r\n" % len(piece) + piece + CRLF)
        position += size
    return b"".join([*parts, b"0\r\n\r\n"])


def mutated(draws: random.Random, picture: bytes) -> bytes:
    """One request with one to three of its parts changed: line, headers, length, packing, chunks, origin, body."""
    path, headers, body = draws.choice(requests(picture))
    head = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers
    changes = set(draws.choices(["head", "body", "length", "packing", "chunks", "origin"], (3, 6, 1, 2, 2, 1), k=2))
    if "origin" in changes:
        head += b"Origin: " + draws.choice(ORIGINS) + CRLF
    if "body" in changes:
        body = scratched(draws, body)
    if "packing" in changes:
        pack, name = draws.choice([(gzip.compress, b"gzip"), (zlib.compress, b"deflate"), (bytes, b"gzip")])
        body = pack(body)
        head += b"Content-Encoding: " + name + CRLF
        if draws.random() < 0.5:
            body = scratched(draws, body)
    if "head" in changes:
        head = scratched(draws, head)
    if "chunks" in changes:
        body = chunked(draws, body)
        body = scratched(draws, body) if draws.random() < 0.5 else body
        head += b"Transfer-Encoding: chunked\r\n"
    else:
        # Rarely longer than the body: such a request never ends.
        length = len(body) + (draws.choice([-1, -30, -len(body), 1]) if "length" in changes else 0)
        told = b"%d" % max(0, length)
        if "length" in changes and draws.random() < 0.5:
            told = draws.choice([b"-1", b"x", b"", b"1, 2", b"9" * 30, b"0x10", b"1\r\nContent-Length: 2", b"\xb2"])
        head += b"Content-Length: " + told + CRLF
    whole = head + CRLF + body
    return whole[: draws.randint(1, len(whole))] if draws.random() < 0.02 else whole


def whole(answer: bytes) -> bool:
    """Whether the first answer is there: the connection may stay open, where the wish to close it was scratched out."""
    head, found, body = answer.partition(CRLF + CRLF)
    length = re.search(rb"content-length: (\d+)", head)
    return bool(found and length and len(body) >= int(length[1]))


def answer_to(address: str, request: bytes, wait: float) -> bytes:
    """What came back, where it began within `wait` seconds; nothing where the server waits for more, or closed without a word."""
    with raw(address) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = b""
        try:
            one.sendall(request)
            # An answer may take its time, but where none has begun, the server waits for the rest of the request.
            if not select.select([one], [], [], wait)[0]:
                return b""
            while not whole(answer) and (part := one.recv(65536)):
                answer += part
        except ConnectionError:
            pass
        return answer


def thrown(address: str, seed: int, count: int, picture: bytes, wait: float) -> Counter[str]:
    """Statuses of the answers to `count` mutated requests."""
    draws, seen = random.Random(seed), Counter[str]()
    for _ in range(count):
        request = mutated(draws, picture)
        answer = answer_to(address, request, wait)
        status = answer[9:12].decode("latin-1")
        assert b"Traceback" not in answer
        assert not status.startswith("5") or status in ("501", "503"), (request, answer)
        body = answer.partition(CRLF + CRLF)[2]
        # Pipelined by a length that was too short, a second answer may follow.
        if status.startswith("4") and b"HTTP/1.1" not in body:
            assert set(json.loads(body)) == {"error"}, (request, answer)
        seen[status or "none"] += 1
    return seen


def mutations(served_run, pictures, wanted, count: int, wait: float) -> Counter[str]:
    """`wait`: seconds within which an answer begins. One in ten requests never ends and waits that long."""
    picture = encode_png(pictures[0])
    wait = wait if slowness() < 2 else max(2.0, 3 * wait)
    with serving(served_run, "--timeout", 60, "--queue", 64) as (address, process):
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            warm = max(60, count // 20) // CLIENTS
            list(pool.map(lambda seed: thrown(address, seed, warm, picture, wait), range(CLIENTS)))
            before = resident(process)
            seeds = range(100, 100 + CLIENTS)
            seen: Counter[str] = sum(
                pool.map(lambda seed: thrown(address, seed, count // CLIENTS, picture, wait), seeds), Counter()
            )
        assert process.poll() is None
        assert seen["200"] > count / 50 and seen["400"] > count / 4, seen
        assert seen["none"] < count / 8, seen
        assert resident(process) - before < 80 << 20
        assert ask(f"{address}/predict", picture)[1]["class"] == wanted[0].label
    return seen


def test_mutated_requests_break_nothing(served_run, pictures, wanted) -> None:
    mutations(served_run, pictures, wanted, 480, wait=1.0)


@pytest.mark.long
@pytest.mark.timeout(5000)
def test_a_hundred_thousand_mutated_requests(served_run, pictures, wanted) -> None:
    began = time.monotonic()
    seen = mutations(served_run, pictures, wanted, 100_000, wait=0.15)
    print(f"\n{seen.total():,} requests in {time.monotonic() - began:.0f} s: {dict(seen.most_common())}")
