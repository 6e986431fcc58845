"""Real clients speak to a real server, and every way to ask gives the same answer."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import pytest

from deeper.images import encode_png
from tests.patience import patient
from tests.serving.conftest import serving


def ask(url: str, body: bytes | dict[str, Any] | None = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and parsed JSON."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    request = urllib.request.Request(url, data=data, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=patient(60)) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        text = error.read()
        assert b"Traceback" not in text
        return error.code, json.loads(text)


def test_what_there_is(address) -> None:
    status, plain = ask(f"{address}/api/models")
    (one,) = plain["models"]
    assert status == 200 and one["name"] == "digits" and one["classes"] == [str(number) for number in range(10)]
    assert (one["height"], one["width"], one["channels"], one["version"]) == (28, 28, 1, "1")
    for path in ("/v2", "/v2/"):
        assert "binary_tensor_data" in ask(address + path)[1]["extensions"]
    for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready"):
        assert ask(address + path)[0] == 200
    plain = ask(f"{address}/v2/models/digits/versions/1")[1]
    assert plain["inputs"][0] == {"name": "images", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}
    state = ask(f"{address}/v1/models/digits")[1]["model_version_status"][0]
    assert state["state"] == "AVAILABLE" and state["version"] == "1"
    plain = ask(f"{address}/v1/models/digits/metadata")[1]
    outputs = plain["metadata"]["signature_def"]["signature_def"]["serving_default"]["outputs"]
    answered = ask(f"{address}/v1/models/digits:predict", {"instances": [[0] * 784]})[1]["predictions"][0]
    assert plain["model_spec"]["name"] == "digits" and set(outputs) == set(answered)


def test_where_reading_is_taken_head_is_too_and_else_it_is_said_what_is(address) -> None:
    for path, method, status, allow in (
        ("/v1/models/digits", "HEAD", 200, None),
        ("/v1/models/digits/metadata", "HEAD", 200, None),
        ("/v1/models/digits", "POST", 405, "GET, HEAD"),
        ("/v1/models/digits:predict", "GET", 405, "POST"),
    ):
        request = urllib.request.Request(address + path, method=method, data=b"{}" if method == "POST" else None)
        try:
            with urllib.request.urlopen(request, timeout=patient(60)) as answer:
                found, headers = answer.status, answer.headers
        except urllib.error.HTTPError as error:
            found, headers = error.code, error.headers
        assert (found, headers["allow"]) == (status, allow), path


def test_a_picture_by_curl(address, pictures, wanted, tmp_path) -> None:
    (tmp_path / "digit.png").write_bytes(encode_png(pictures[0]))
    for words in (
        ["--data-binary", "@digit.png", "-H", "Content-Type: image/png", f"{address}/predict"],
        ["-F", "file=@digit.png", f"{address}/predict?top=3"],
        ["-F", "picture=@digit.png", f"{address}/predict?model=digits"],
    ):
        ran = subprocess.run(["curl", "-s", *words], capture_output=True, text=True, cwd=tmp_path, check=True)
        plain = json.loads(ran.stdout)
        assert plain["class"] == wanted[0].label and plain["probability"] == pytest.approx(
            wanted[0].probability, abs=1e-5
        )
        assert plain["model"] == "digits" and plain["unsure"] is None and plain["milliseconds"] > 0
        assert [one["class"] for one in plain["top"]] == [label for label, _ in wanted[0].top(len(plain["top"]))]
    raw = [
        "-H",
        "Inference-Header-Content-Length: 0",
        "--data-binary",
        "@digit.png",
        f"{address}/v2/models/digits/infer",
    ]
    ran = subprocess.run(["curl", "-s", *raw], capture_output=True, text=True, cwd=tmp_path, check=True)
    outputs = {one["name"]: one for one in json.loads(ran.stdout)["outputs"]}
    assert outputs["class"]["data"] == [wanted[0].label] and outputs["logits"]["shape"] == [1, 10]


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient(address, pictures, wanted, binary) -> None:
    import tritonclient.http as triton

    client = triton.InferenceServerClient(address.removeprefix("http://"))
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("digits")
    assert client.get_model_metadata("digits")["name"] == "digits"
    given = triton.InferInput("images", list(pictures.shape), "UINT8")
    given.set_data_from_numpy(pictures, binary_data=binary)
    names = ("logits", "probabilities", "class")
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
    result = client.infer("digits", [given], outputs=outputs, request_id="mine")
    assert result.get_response()["id"] == "mine"
    np.testing.assert_allclose(result.as_numpy("logits"), [one.logits for one in wanted], atol=1e-4)
    answers = [one.decode() if isinstance(one, bytes) else one for one in result.as_numpy("class")]
    assert answers == [one.label for one in wanted]
    # Outputs left out: all of them come, binary where the client says so.
    result = client.infer("digits", [given])
    np.testing.assert_allclose(result.as_numpy("probabilities").sum(1), 1, atol=1e-5)
    files = np.array([encode_png(one) for one in pictures[:5]], dtype=object)
    given = triton.InferInput("files", [5], "BYTES")
    given.set_data_from_numpy(files, binary_data=True)
    top = triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)
    ranked = client.infer("digits", [given], outputs=[top]).as_numpy("probabilities")
    assert ranked.shape == (5, 2)
    first = [(one.decode() if isinstance(one, bytes) else one).split(":")[2] for one in ranked[:, 0]]
    assert first == [one.label for one in wanted[:5]]
    client.close()


def test_tensorflow_serving(address, pictures, wanted) -> None:
    url = f"{address}/v1/models/digits:predict"
    b64 = [{"b64": base64.b64encode(encode_png(one)).decode()} for one in pictures[:3]]
    for body in (
        {"instances": b64},
        # As MIME writes it, in lines; and as those write it who leave the padding out.
        {"instances": [{"b64": base64.encodebytes(base64.b64decode(one["b64"])).decode()} for one in b64]},
        {"instances": [{"b64": one["b64"].rstrip("=")} for one in b64]},
        {"instances": [{"image": one} for one in b64], "signature_name": "serving_default"},
        {"instances": pictures[:3].tolist()},
        {"instances": pictures[:3, :, :, 0].tolist()},
        {"instances": pictures[:3].reshape(3, -1).tolist()},
    ):
        status, plain = ask(url, body)
        assert status == 200, plain
        assert [one["class"] for one in plain["predictions"]] == [one.label for one in wanted[:3]]
        np.testing.assert_allclose(plain["predictions"][0]["logits"], wanted[0].logits, atol=1e-4)
    status, plain = ask(f"{address}/v1/models/digits/versions/1:predict", {"inputs": {"image": pictures[:3].tolist()}})
    assert status == 200 and plain["outputs"]["class"] == [one.label for one in wanted[:3]]


PIXELS = {"name": "images", "datatype": "UINT8", "shape": [1, 28, 28, 1]}
BAD: list[tuple[str, Any, int]] = [
    ("/predict", b"no picture", 400),
    ("/predict", b"", 400),
    ("/predict?top=0", b"x", 400),
    ("/predict?model=nothing", b"x", 404),
    ("/v2/models/nothing/infer", b"{}", 404),
    ("/v2/models/digits/versions/9/infer", b"{}", 404),
    ("/v2/models/digits/infer", b"{", 400),
    ("/v2/models/digits/infer", b"[" * 100_000, 400),
    ("/v2/models/digits/infer", b'{"inputs": NaN}', 400),
    ("/v2/models/digits/infer", {"inputs": []}, 400),
    ("/v2/models/digits/infer", {"inputs": [{"name": "images", "datatype": "FP32", "shape": [1, 28, 28, 1]}]}, 400),
    ("/v2/models/digits/infer", {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}]}, 400),
    (
        "/v2/models/digits/infer",
        {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 28, 28, 1], "data": [1, 2]}]},
        400,
    ),
    (
        "/v2/models/digits/infer",
        {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 28, 28, 1], "data": [[300] * 784]}]},
        400,
    ),
    (
        "/v2/models/digits/infer",
        {"inputs": [{"name": "files", "datatype": "BYTES", "shape": [1], "data": ["not base64!"]}]},
        400,
    ),
    ("/v1/models/digits:predict", {"instances": [], "inputs": []}, 400),
    ("/v1/models/digits:predict", {"instances": []}, 400),
    ("/v1/models/digits:predict", {"instances": [[1, [2]]]}, 400),
    ("/v1/models/digits:predict", {"instances": ["text"]}, 400),
    ("/v1/models/digits:predict", {"instances": [[1]], "signature_name": "other"}, 400),
    ("/v1/models/digits:classify", {"examples": []}, 501),
    ("/nowhere", b"x", 404),
    ("/api/models", b"x", 405),
    ("/predict?top=000001", b"x", 400),
    ("/predict?top=" + "0" * 5000 + "1", b"x", 400),
    *(("/v2/models/digits/infer", {"inputs": [{"name": name}]}, 400) for name in ([1], {"a": 1}, None, True)),
    *(
        ("/v2/models/digits/infer", {"inputs": [{"name": "images", "datatype": kind, "shape": [1, 28, 28, 1]}]}, 400)
        for kind in ([], {}, "\ud800")
    ),
    (
        "/v2/models/digits/infer",
        {"inputs": [{"name": "files", "datatype": "BYTES", "shape": [1], "data": [5]}]},
        400,
    ),
    *(
        (
            "/v2/models/digits/infer",
            {
                "inputs": [
                    {"name": "files", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": size}}
                ]
            },
            400,
        )
        for size in ("\ud800", [], -1, True)
    ),
    *(
        ("/v2/models/digits/infer", {"inputs": [{**PIXELS, "data": data}]}, 400)
        for data in (
            ["x"] * 784,
            [True] * 784,
            [None] * 784,
            [0.5] * 784,
            [1e999] * 784,
            [10**400] * 784,
            [[0] * 784, [0]],
            [[0] * 392, 0],
            {"0": 0},
            "0" * 784,
            7,
            [[[[[[[[[[0]]]]]]]]]],
            [["x" * 500_000] + [""] * 783],
        )
    ),
    # Channels before rows, and rows that the shape does not have.
    ("/v1/models/digits:predict", {"instances": [[[[0] * 28] * 28]]}, 400),
    ("/v1/models/digits:predict", {"instances": [[[0] * 14] * 56]}, 400),
    ("/v2/models/digits/infer", {"inputs": [{**PIXELS, "data": [[[[0] * 28] * 28]]}]}, 400),
    *(
        ("/v2/models/digits/infer", {"inputs": [{**PIXELS, "data": [0] * 784}], **more}, 400)
        for more in (
            {"outputs": [{"name": "logits"}, {"name": "logits"}]},
            {"outputs": [{"name": "logits", "parameters": {"classification": 0}}]},
            {"outputs": {"name": "logits"}},
            {"id": 5},
            {"id": "x" * 1001},
        )
    ),
    (
        "/v2/models/digits/infer",
        {"inputs": [{"name": "files", "datatype": "BYTES", "shape": [257], "data": [""] * 257}]},
        413,
    ),
    ("/v1/models/digits:predict", {"instances": [{"b64": 5}]}, 400),
    ("/v1/models/digits:predict", {"instances": [[1.5] * 784]}, 400),
    ("/v1/models/digits:predict", {"instances": [], "signature_name": ["x"]}, 400),
    ("/v1/models/digits/versions/9:predict", {"instances": [[1]]}, 404),
]


@pytest.mark.parametrize(("path", "body", "status"), BAD, ids=range(len(BAD)))
def test_bad_requests_get_one_line_of_json(address, path, body, status) -> None:
    given, plain = ask(address + path, body)
    assert given == status, plain
    assert set(plain) == {"error"} and "\n" not in plain["error"] and plain["error"]


def test_binary_headers_are_checked(address) -> None:
    body = b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 28, 28, 1], "parameters": {"binary_data_size": 784}}]}'
    url, name = f"{address}/v2/models/digits/infer", "Inference-Header-Content-Length"
    assert ask(url, body + bytes(784), {name: str(len(body))})[0] == 200
    for length in (str(len(body) + 785), "-1", "x", "9" * 30, str(len(body) - 1)):
        assert ask(url, body + bytes(784), {name: length})[0] == 400, length
    assert ask(url, body + bytes(783), {name: str(len(body))})[0] == 400
    assert ask(url, body + bytes(785), {name: str(len(body))})[0] == 400


def test_texts_that_have_no_utf_8_go_back_as_they_came(address, pictures) -> None:
    body = {"inputs": [{**PIXELS, "data": pictures[0].tolist()}], "id": "\ud800"}
    status, plain = ask(f"{address}/v2/models/digits/infer", body)
    assert status == 200 and plain["id"] == "\ud800"
    body["outputs"] = [{"name": ["logits"]}]
    assert ask(f"{address}/v2/models/digits/infer", body)[0] == 400


def test_forms_with_hostile_headers_are_refused(address) -> None:
    for kind in ("multipart/form-data; boundary*" + "9" * 5000 + "=b", "multipart/form-data; boundary*0*=x''%ff"):
        assert ask(f"{address}/predict", b"x", {"Content-Type": kind})[0] == 400
    for kind in ("multipart/form-data; boundary*=b; boundary*0=b", 'multipart/form-data; boundary="' + ";" * 30_000):
        began = time.perf_counter()
        assert ask(f"{address}/predict", b"x", {"Content-Type": kind})[0] == 400
        assert time.perf_counter() - began < 0.5
    hostile = b'--b\r\nContent-Disposition: form-data; name="' + b";" * 8000 + b"\r\n\r\nx\r\n"
    began = time.perf_counter()
    assert ask(f"{address}/predict", hostile * 60, {"Content-Type": "multipart/form-data; boundary=b"})[0] == 400
    twice = b"--b\r\nContent-Disposition: form-data; name=file; filename*=UTF-8''a; filename*0=a\r\n\r\nx\r\n--b--"
    assert ask(f"{address}/predict", twice, {"Content-Type": "multipart/form-data; boundary=b"})[0] == 400
    assert time.perf_counter() - began < 1
    part = b"--b\r\nContent-Disposition: form-data; name*" + b"9" * 5000 + b"=file\r\n\r\nx\r\n--b--"
    assert ask(f"{address}/predict", part, {"Content-Type": "multipart/form-data; boundary=b"})[0] == 400


def test_metrics_are_prometheus_own(address, pictures) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    ask(f"{address}/predict", encode_png(pictures[0]))
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        families = {one.name: one for one in text_string_to_metric_families(answer.read().decode())}
    counted = {sample.labels["kind"] for sample in families["deeper_requests"].samples}
    assert "/predict" in counted and families["deeper_answers"].samples and families["deeper_batch_pictures"].samples
    assert families["deeper_confidence"].samples and families["deeper_queued_pictures"].samples[0].value == 0


def test_two_models_a_token_and_hosts(served_run, pictures) -> None:
    picture = encode_png(pictures[0])
    with serving(served_run, f"other one={served_run}", DEEPER_TOKEN="s3cret") as (address, _):
        assert ask(f"{address}/livez")[0] == 200
        assert ask(f"{address}/api/models")[0] == 401
        assert ask(f"{address}/api/models", headers={"Authorization": "bearer s3cret"})[0] == 200
        assert ask(f"{address}/api/models", headers={"Authorization": "Bearer s3cre"})[0] == 401
        assert ask(f"{address}/api/models", headers={"Authorization": "Basic s3cret"})[0] == 401
        token = {"Authorization": "Bearer s3cret"}
        names = [one["name"] for one in ask(f"{address}/api/models", headers=token)[1]["models"]]
        assert names == ["digits", "other one"]
        assert ask(f"{address}/predict", picture, token)[0] == 400  # which of the two?
        assert ask(f"{address}/predict?model=other%20one", picture, token)[1]["model"] == "other one"
        assert ask(f"{address}/v2/models/other%20one", headers=token)[0] == 200
        assert ask(f"{address}/api/models", headers={**token, "Host": "evil.example"})[0] == 421
        assert ask(f"{address}/api/models", headers={**token, "Origin": "http://evil.example"})[0] == 403
        assert ask(f"{address}/api/models", headers={**token, "Origin": "http://["})[0] == 403
        assert ask(f"{address}/api/models", headers={**token, "Origin": address})[0] == 200


def test_who_binds_to_everywhere_says_who_may_ask(served_run) -> None:
    with serving(served_run, "--host", "0.0.0.0", said=(said := [])) as (address, _):
        assert address.startswith("http://127.0.0.1:") and "--allow-host" in "".join(said)
        assert ask(f"{address}/api/models")[0] == 200
        assert ask(f"{address}/api/models", headers={"Host": "desk.example"})[0] == 421
    # What was bound to is what to ask for.
    with serving(served_run, "--host", "127.0.0.2") as (address, _):
        assert address.startswith("http://127.0.0.2:") and ask(f"{address}/api/models")[0] == 200


def test_the_log_is_json_from_the_first_line_to_the_last(served_run, pictures, tmp_path) -> None:
    with serving(served_run, log=tmp_path / "log") as (address, _):
        assert ask(f"{address}/predict", encode_png(pictures[0]), {"X-Request-Id": "mine"})[0] == 200
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 10) as one:
            one.sendall(b"no HTTP\r\n\r\n")
            assert one.recv(100).startswith(b"HTTP/1.1 400")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(one) for one in lines)
    mine = next(one for one in lines if one.get("request") == "mine")
    assert (mine["path"], mine["status"], mine["method"]) == ("/predict", 200, "POST")
    said = [one["message"] for one in lines if one["logger"].startswith("uvicorn")]
    assert "Invalid HTTP request received." in said and any("Finished" in one for one in said)
