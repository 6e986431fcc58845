"""Requests that can be refused before they are read: what a server without room answers must cost it next to nothing.

The head of such a request is looked at here, its body is passed over as it comes (`deeper.web.connections`), and h11,
which reads all others, never sees it. Only what is plain is taken: a POST in HTTP/1.1 whose head has come whole and whose
body has a length. Everything else goes the usual way, and is refused there where it must be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# As h11 reads them (RFC 9112, 3 and 5); whatever does not fit is left to it.
_FIRST = re.compile(rb"POST (/[!-~]*) HTTP/1\.1")
# In time that grows with the line alone: no part of a pattern matches what the next one does.
_HEADER = re.compile(rb"([-!#$%&'*+.^_`|~0-9a-zA-Z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(rb"[0-9]{1,15}")
# What says that a request is read in another way, or a connection used otherwise afterwards.
_OTHERWISE = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"connection"})


@dataclass(frozen=True, slots=True)
class Plain:
    """A request's head. `target`: with its query. `headers`: names in small letters. `size`: bytes of the whole request,
    head and body."""

    target: bytes
    headers: list[tuple[bytes, bytes]]
    size: int


def plain_post(data: bytes, most: int) -> Plain | None:
    """The request at the beginning of `data`, whose head has at most `most` bytes; None where it is not plain."""
    end = data.find(b"\r\n\r\n", 0, most)
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    found = _FIRST.fullmatch(first)
    if found is None:
        return None
    headers: list[tuple[bytes, bytes]] = []
    length: bytes | None = None
    hosts = 0
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            return None
        name, value = header[1].lower(), header[2].strip(b" \t")
        if name == b"connection" and value.lower() == b"keep-alive":
            continue  # so it is in any case
        if name in _OTHERWISE or (name == b"content-length" and length is not None):
            return None
        if name == b"content-length":
            length = value
        hosts += name == b"host"
        headers.append((name, value))
    if length is None or not _LENGTH.fullmatch(length) or hosts != 1:
        return None
    return Plain(found[1], headers, end + 4 + int(length))
