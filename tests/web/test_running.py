"""What a server does before it serves."""

from __future__ import annotations

import socket

from deeper.web.running import bound


def test_who_reads_the_address_may_ask_at_once() -> None:
    """`deeper serve` prints its address before the engines are warm: clients must wait then, not be refused."""
    with bound("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname(), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.recv(64).startswith(b"GET /")
