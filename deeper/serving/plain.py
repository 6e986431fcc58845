"""`POST /predict`: a picture file in, classes out. What curl and the page use."""

from __future__ import annotations

import time
from email.parser import BytesHeaderParser
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from deeper.prediction import Prediction
from deeper.serving.asking import Asking, Pictures
from deeper.web import Refused, json_response

_MOST = 1_000
# Bytes of a header's value that is looked at. The parser's time grows with its square, and other answers wait meanwhile.
_LONGEST = 1_000


def answer_of(one: Prediction, top: int) -> dict[str, Any]:
    """A prediction in plain form."""
    return {
        "class": one.label,
        "probability": one.probability,
        "unsure": one.unsure or None,
        "top": [{"class": label, "probability": probability} for label, probability in one.top(top)],
    }


async def predict(request: Request, asking: Asking) -> Response:
    """Body: a file's bytes, or a form with the field `file`. Query: `model`, `top`."""
    name = request.query_params.get("model")
    version = asking.models.find(name) if name is not None else asking.models.only
    given = request.query_params.get("top", "5")
    if not (given.isdecimal() and given.isascii() and len(given) <= 4 and 1 <= int(given) <= _MOST):
        raise Refused(400, f"top={given[:20]!r}; wanted a number from 1 to {_MOST}")
    async with asking.body(request, version) as body:
        began = time.perf_counter()
        kind = request.headers.get("content-type", "")
        file = _file_of(body, kind) if kind.lower().startswith("multipart/form-data") else body
        if not file:
            raise Refused(400, "the body is empty; wanted a picture file (JPEG, PNG, WebP, …)")

        async def picture() -> Pictures:
            return [file]

        (one,) = await asking.answer(request, version, picture)
    return json_response(
        {
            "model": version.name,
            "version": str(version.number),
            **answer_of(one, int(given)),
            "milliseconds": round(1000 * (time.perf_counter() - began), 2),
        }
    )


def _file_of(body: bytes, content_type: str) -> bytes:
    """The field `file` of a form (RFC 7578), or its only file. Raises: Refused."""
    boundary = _parameter("content-type", content_type.encode("latin-1", "replace"), "boundary")
    if not 1 <= len(boundary) <= 200:
        raise Refused(400, "the form has no boundary")
    mark = b"--" + boundary.encode("latin-1", "replace")
    files: dict[str, bytes] = {}
    # Of a form of a million parts only the first few are looked at.
    for part in (b"\r\n" + body).split(b"\r\n" + mark, 64)[1:]:
        head, found, content = part.partition(b"\r\n\r\n")
        if found and len(head) <= 8192:
            for line in head.split(b"\r\n"):
                title, colon, value = line.partition(b":")
                if colon and title.strip().lower() == b"content-disposition":
                    files.setdefault(_parameter("content-disposition", value, "name"), content)
    files.pop("", None)
    if "file" in files:
        return files["file"]
    if len(files) == 1:
        return next(iter(files.values()))
    raise Refused(400, "the form has no field named file")


def _parameter(title: str, value: bytes, name: str) -> str:
    """A parameter of a header; empty where it is missing or cannot be read."""
    if len(value) > _LONGEST:
        return ""
    header = BytesHeaderParser().parsebytes(title.encode() + b": " + value.strip() + b"\r\n\r\n")
    try:
        found = header.get_param(name, header=title)
    # Such as a part's number of five thousand digits, or a parameter both in parts and whole (RFC 2231).
    except (ValueError, LookupError, TypeError):
        return ""
    return found if isinstance(found, str) else ""
