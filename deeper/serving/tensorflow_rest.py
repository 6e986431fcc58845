"""TensorFlow Serving's REST protocol (`g3doc/api_rest.md`): predict, status, metadata.

An instance is a picture: `{"b64": "…"}` with a file's bytes, or nested lists H × W × C of whole numbers 0..255 at the
model's size; either also as `{"image": …}`. A prediction has `class`, `probability`, `probabilities` (in the order of the
classes), `logits` and `unsure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from deeper.prediction import Prediction
from deeper.serving.asking import Asking, Pictures
from deeper.serving.hosted import Version
from deeper.serving.parsing import parse_json, picture_shapes, unpacked_base64, whole_numbers
from deeper.web import Refused, json_response

_SIGNATURE = "serving_default"
_INPUT = "image"


def status(versions: Sequence[Version]) -> dict[str, Any]:
    """For GET /v1/models/NAME (all its versions, the newest first) and …/versions/V (one)."""
    fine = {"error_code": "OK", "error_message": ""}
    states = [{"version": str(one.number), "state": "AVAILABLE", "status": fine} for one in reversed(versions)]
    return {"model_version_status": states}


def metadata(version: Version) -> dict[str, Any]:
    """For GET /v1/models/NAME/metadata."""
    fit = version.classifier.preprocess
    size = [{"size": str(one), "name": ""} for one in (-1, fit.height, fit.width, fit.channels)]
    count = [{"size": "-1", "name": ""}, {"size": str(len(version.classifier.classes)), "name": ""}]
    signature = {
        "inputs": {_INPUT: {"dtype": "DT_UINT8", "tensor_shape": {"dim": size, "unknown_rank": False}, "name": _INPUT}},
        "outputs": {
            name: {"dtype": kind, "tensor_shape": {"dim": dim, "unknown_rank": False}, "name": name}
            for name, kind, dim in (
                ("class", "DT_STRING", count[:1]),
                ("probability", "DT_FLOAT", count[:1]),
                ("probabilities", "DT_FLOAT", count),
                ("logits", "DT_FLOAT", count),
                ("unsure", "DT_STRING", count[:1]),
            )
        },
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": version.name, "signature_name": "", "version": str(version.number)},
        "metadata": {"signature_def": {"signature_def": {_SIGNATURE: signature}}},
    }


async def predict(request: Request, asking: Asking, version: Version) -> Response:
    """POST /v1/models/NAME:predict."""
    async with asking.body(request, version) as body:
        by_row = True

        async def pictures() -> Pictures:
            nonlocal by_row
            fit = version.classifier.preprocess
            size = (fit.height, fit.width, fit.channels)
            by_row, given = await asking.parser(len(body), read, body, size, asking.largest_request)
            return given

        predictions = await asking.answer(request, version, pictures)

    def write(by_pieces: bool) -> Response:
        answers = [_plain(one, version) for one in predictions]
        if by_row:
            return json_response({"predictions": answers}, by_pieces=by_pieces)
        columns = {name: [one[name] for one in answers] for name in answers[0]}
        return json_response({"outputs": columns}, by_pieces=by_pieces)

    return await asking.written(predictions, write)


def read(body: bytes, size: tuple[int, ...], most: int) -> tuple[bool, Pictures]:
    """A body → whether it is `instances` rather than `inputs`, and pixels or files. `size`: the model's. `most`: pictures.

    Raises: Refused, with 400, and 413 before too many are looked at.
    """
    plain = parse_json(body)
    signature = plain.get("signature_name", _SIGNATURE)
    if signature not in ("", _SIGNATURE):
        raise Refused(400, f"no signature {str(signature)[:40]!r}; there is {_SIGNATURE}")
    if ("instances" in plain) == ("inputs" in plain):
        raise Refused(400, "wanted exactly one of instances and inputs")
    by_row = "instances" in plain
    given = plain["instances"] if by_row else plain["inputs"]
    if isinstance(given, dict) and not by_row and "b64" not in given:
        if set(given) != {_INPUT}:
            raise Refused(400, f"inputs must name one tensor, {_INPUT}")
        given = given[_INPUT]
    if not isinstance(given, list):
        given = [given] if isinstance(given, dict) else None
    if not given:
        raise Refused(400, "wanted a list of pictures")
    if len(given) > most:
        raise Refused(413, f"{len(given):,} pictures in a request; at most {most:,} are taken")
    return by_row, _pictures(given, size)


def _pictures(given: list[Any], size: tuple[int, ...]) -> Pictures:
    pictures = [one[_INPUT] if isinstance(one, dict) and set(one) == {_INPUT} else one for one in given]
    if all(isinstance(one, dict) and set(one) == {"b64"} for one in pictures):
        return unpacked_base64([one["b64"] for one in pictures], "b64")
    if any(not isinstance(one, list) for one in pictures):
        raise Refused(400, 'an instance is {"b64": "…"} or nested lists of pixels, all of one kind')
    return whole_numbers(pictures, [(len(pictures), *one) for one in picture_shapes(size)]).reshape(-1, *size)


def _plain(one: Prediction, version: Version) -> dict[str, Any]:
    return {
        "class": one.label,
        "probability": one.probability,
        "probabilities": [one.probabilities[label] for label in version.classifier.classes],
        "logits": [float(value) for value in one.logits],
        "unsure": one.unsure,
    }
