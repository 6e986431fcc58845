"""Open Inference Protocol v2 over REST, with Triton's binary tensors and classification (FACTS §5).

Inputs, one of: `images`, UINT8, N × H × W × C (or one picture, H × W × C) at the model's size; `files`, BYTES, N: whole
JPEG or PNG files (in JSON as base64). Outputs: `logits` and `probabilities` FP32 N × K, `class` and `unsure` BYTES N.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from deeper.prediction import Prediction
from deeper.serving.asking import Asking, Pictures
from deeper.serving.hosted import Version
from deeper.serving.parsing import parse_json, picture_shapes, unpacked_base64, whole_numbers
from deeper.web import Refused, json_response

LENGTH = "inference-header-content-length"
_OUTPUTS = ("logits", "probabilities", "class", "unsure")
_LONGEST_ID = 1000


@dataclass(frozen=True)
class Output:
    """An output that is asked for. `classification`: as so many ranked texts, score:index:class."""

    name: str
    binary: bool = False
    classification: int | None = None


@dataclass(frozen=True)
class Wanted:
    """What a request asks for: each output once, and the id that it wants back."""

    outputs: tuple[Output, ...]
    id: str | None = None


EVERYTHING = Wanted(tuple(Output(name) for name in _OUTPUTS))


def server_metadata(version: str) -> dict[str, Any]:
    """For GET /v2."""
    return {"name": "deeper", "version": version, "extensions": ["binary_tensor_data", "classification"]}


def model_metadata(version: Version) -> dict[str, Any]:
    """For GET /v2/models/NAME."""
    fit, count = version.classifier.preprocess, len(version.classifier.classes)
    return {
        "name": version.name,
        "versions": [str(one.number) for one in version.hosted.versions],
        "platform": f"deeper_{version.classifier.engine}",
        "inputs": [
            {"name": "images", "datatype": "UINT8", "shape": [-1, fit.height, fit.width, fit.channels]},
            {"name": "files", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [
            {"name": "logits", "datatype": "FP32", "shape": [-1, count]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, count]},
            {"name": "class", "datatype": "BYTES", "shape": [-1]},
            {"name": "unsure", "datatype": "BYTES", "shape": [-1]},
        ],
        "parameters": {"classes": list(version.classifier.classes)},
    }


async def infer(request: Request, asking: Asking, version: Version) -> Response:
    """POST /v2/models/NAME/infer."""
    async with asking.body(request, version) as body:
        length = _header_length(request.headers.get(LENGTH), body)
        wanted = EVERYTHING

        async def pictures() -> Pictures:
            nonlocal wanted
            # The whole body is one raw tensor: what lets curl post a JPEG.
            if length == 0:
                return [body]
            fit = version.classifier.preprocess
            size = (fit.height, fit.width, fit.channels)
            wanted, given = await asking.parser(length, read, body, length, size, asking.largest_request)
            return given

        predictions = await asking.answer(request, version, pictures)
    return await asking.written(predictions, lambda by_pieces: _respond(predictions, wanted, version, by_pieces))


def _header_length(given: str | None, body: bytes) -> int:
    """How many bytes of the body are JSON. Raises: Refused."""
    if given is None:
        return len(body) or 1  # an empty body is no picture but JSON that is missing
    if not (given.isdecimal() and given.isascii()) or len(given) > 12 or int(given) > len(body):
        raise Refused(400, f"{LENGTH}: {given[:20]!r}; wanted a number from 0 to the body's {len(body)} bytes")
    return int(given)


def read(body: bytes, length: int, size: tuple[int, ...], most: int) -> tuple[Wanted, Pictures]:
    """A body whose first `length` bytes are JSON → what to answer, and pixels or files. `size`: the model's. `most`:
    pictures. Nothing else of the JSON leaves the process that parses it. Raises: Refused."""
    described, binary = parse_json(body[:length]), body[length:]
    wanted = _wanted(described)
    inputs = described.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Refused(400, "wanted one input: images (UINT8) or files (BYTES)")
    one: dict[str, Any] = inputs[0]
    name, kind, shape = one.get("name"), one.get("datatype"), one.get("shape")
    kinds = {"images": "UINT8", "files": "BYTES"}
    if not isinstance(name, str) or name not in kinds:
        raise Refused(400, f"no input {str(name)[:40]!r}; wanted images (UINT8) or files (BYTES)")
    if kind != kinds[name]:
        raise Refused(400, f"input {name} has datatype {str(kind)[:20]!r}; wanted {kinds[name]}")
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= 4
        or any(isinstance(axis, bool) or not isinstance(axis, int) or not 0 <= axis < 1 << 32 for axis in shape)
    ):
        raise Refused(400, f"input {name}: shape must be a list of whole numbers")
    parameters = one.get("parameters", {})
    told = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if told is not None:
        if isinstance(told, bool) or not isinstance(told, int) or told != len(binary):
            raise Refused(400, f"binary_data_size is {str(told)[:20]!r}, {len(binary):,} bytes follow the JSON")
    elif binary:
        raise Refused(400, f"{len(binary):,} bytes follow the JSON, which no input claims")
    if name == "files":
        return wanted, _files(one.get("data"), binary if told is not None else None, math.prod(shape), most)
    return wanted, _pixels(one.get("data"), binary if told is not None else None, shape, size, most)


def _files(data: Any, binary: bytes | None, count: int, most: int) -> list[bytes]:
    if binary is not None:
        found: list[Any] = _byte_strings(binary, most)
    elif isinstance(data, list) and all(isinstance(one, str) for one in data):
        if len(data) > most:
            raise Refused(413, f"{len(data):,} pictures in a request; at most {most:,} are taken")
        found = data
    else:
        raise Refused(400, "input files: data must be a list of base64 texts (or come as binary)")
    if len(found) != count:
        raise Refused(400, f"input files: shape says {count:,}, {len(found):,} came")
    return found if binary is not None else unpacked_base64(found, "input files")


def _pixels(data: Any, binary: bytes | None, shape: list[int], size: tuple[int, ...], most: int) -> NDArray[np.uint8]:
    if tuple(shape[-3:]) != size or len(shape) < 3:
        raise Refused(400, f"input images has shape {shape}; wanted [N, {', '.join(map(str, size))}]")
    count = math.prod(shape)
    if len(shape) == 4 and shape[0] > most:
        raise Refused(413, f"{shape[0]:,} pictures in a request; at most {most:,} are taken")
    if binary is None:
        many = count // math.prod(size)
        nested = [(many, *one) for one in picture_shapes(size)]
        flat = whole_numbers(data, [*nested, (count,), *(picture_shapes(size) if many == 1 else [])])
    elif len(binary) != count:
        raise Refused(400, f"input images: its shape takes {count:,} bytes, {len(binary):,} came")
    else:
        flat = np.frombuffer(binary, np.uint8)
    return flat.reshape(-1, *size)


def _byte_strings(binary: bytes, most: int) -> list[bytes]:
    found: list[bytes] = []
    position = 0
    while position < len(binary):
        if len(found) == most:
            raise Refused(413, f"more than {most:,} pictures in a request; so many are taken")
        if position + 4 > len(binary):
            raise Refused(400, "input files: a length is cut off")
        (length,) = struct.unpack_from("<I", binary, position)
        position += 4
        if position + length > len(binary):
            raise Refused(400, "input files: a file is cut off")
        found.append(binary[position : position + length])
        position += length
    return found


def _wanted(described: dict[str, Any]) -> Wanted:
    """What a request asks for, looked at before it costs anything. Raises: Refused, with 400."""
    asked, top, name = described.get("outputs"), described.get("parameters"), described.get("id")
    all_binary = isinstance(top, dict) and top.get("binary_data_output") is True
    if name is not None and (not isinstance(name, str) or len(name) > _LONGEST_ID):
        raise Refused(400, f"id must be a text of at most {_LONGEST_ID:,} characters")
    if asked is None or asked == []:
        asked = [{"name": name} for name in _OUTPUTS]
    if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
        raise Refused(400, "outputs must be a list of objects with a name")
    outputs: dict[str, Output] = {}
    for one in asked:
        output = one.get("name")
        if not isinstance(output, str) or output not in _OUTPUTS:
            raise Refused(400, f"no output {str(output)[:40]!r}; there are {', '.join(_OUTPUTS)}")
        if output in outputs:
            raise Refused(400, f"output {output} is asked for twice")
        parameters = one.get("parameters", {})
        parameters = parameters if isinstance(parameters, dict) else {}
        ranked = parameters.get("classification") if output in ("logits", "probabilities") else None
        if ranked is not None and (isinstance(ranked, bool) or not isinstance(ranked, int) or ranked < 1):
            raise Refused(400, "classification must be a whole number from 1")
        outputs[output] = Output(output, parameters.get("binary_data", all_binary) is True, ranked)
    return Wanted(tuple(outputs.values()), name)


def _respond(predictions: Sequence[Prediction], wanted: Wanted, version: Version, by_pieces: bool) -> Response:
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for one in wanted.outputs:
        values, kind, shape = _tensor(one, predictions, version)
        output: dict[str, Any] = {"name": one.name, "datatype": kind, "shape": shape}
        if one.binary:
            data = _packed(values, kind)
            output["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            output["data"] = values
        outputs.append(output)
    answer: dict[str, Any] = {"model_name": version.name, "model_version": str(version.number), "outputs": outputs}
    if wanted.id is not None:
        answer["id"] = wanted.id
    if not tail:
        return json_response(answer, by_pieces=by_pieces)
    head = json.dumps(answer).encode()
    return Response(
        head + b"".join(tail),
        media_type="application/octet-stream",
        headers={"Inference-Header-Content-Length": str(len(head))},
    )


def _tensor(output: Output, predictions: Sequence[Prediction], version: Version) -> tuple[list[Any], str, list[int]]:
    name, count, classes = output.name, len(predictions), version.classifier.classes
    if output.classification is not None:
        most = min(output.classification, len(classes))
        index = {label: number for number, label in enumerate(classes)}
        texts = []
        for one in predictions:
            for label, probability in one.top(most):
                value = probability if name == "probabilities" else float(one.logits[index[label]])
                texts.append(f"{value:f}:{index[label]}:{label}")
        return texts, "BYTES", [count, most]
    if name == "class":
        return [one.label for one in predictions], "BYTES", [count]
    if name == "unsure":
        return [one.unsure for one in predictions], "BYTES", [count]
    if name == "logits":
        return [float(value) for one in predictions for value in one.logits], "FP32", [count, len(classes)]
    shares = [one.probabilities[label] for one in predictions for label in classes]
    return shares, "FP32", [count, len(classes)]


def _packed(values: list[Any], kind: str) -> bytes:
    if kind == "FP32":
        return np.asarray(values, "<f4").tobytes()
    encoded = [str(one).encode() for one in values]
    return b"".join(struct.pack("<I", len(one)) + one for one in encoded)
