"""One picture, every way to ask, every EXIF orientation: one answer."""

from __future__ import annotations

import base64
import io
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeper.images import encode_png
from deeper.prediction import Classifier
from tests.serving.test_protocols import ask

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def turned(pictures, tmp_path_factory) -> list[Path]:
    """Digits as photographs of 320 × 200, one for each orientation that EXIF knows."""
    folder = tmp_path_factory.mktemp("turned")
    paths = []
    for orientation in range(1, 9):
        digit = Image.fromarray(pictures[orientation].squeeze()).resize((200, 200), Image.Resampling.BICUBIC)
        photograph = Image.new("RGB", (320, 200))
        photograph.paste(digit.convert("RGB"), (60, 0))
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        paths.append(folder / f"turned {orientation} №.jpg")
        photograph.save(paths[-1], quality=90, exif=exif)
    return paths


def test_every_way_to_ask_gives_one_answer(address, served_run, turned, run_deeper) -> None:
    classifier = Classifier(served_run, engine="torch")
    wanted = classifier(turned)
    logits = np.stack([one.logits for one in wanted])
    # Turning is seen, so that no way can agree by leaving it out.
    unturned = [Image.open(io.BytesIO(path.read_bytes())) for path in turned]
    for picture in unturned:
        picture.getexif().clear()
    plain = np.stack([classifier(np.asarray(picture)).logits for picture in unturned])
    assert (np.abs(plain - logits).max(axis=1) > 1e-2)[1:].all()

    ran = run_deeper("predict", served_run, *turned, "--engine", "torch", "--json")
    told = json.loads(ran.stdout)["predictions"]
    assert [one["class"] for one in told] == [one.label for one in wanted]
    files = [path.read_bytes() for path in turned]
    for data, one in zip(files, wanted):
        status, answer = ask(f"{address}/predict", data)
        assert status == 200 and answer["class"] == one.label
        assert answer["probability"] == pytest.approx(one.probability, abs=1e-5)
    encoded = [base64.b64encode(data).decode() for data in files]
    tensor = {"name": "files", "datatype": "BYTES", "shape": [8], "data": encoded}
    _, answer = ask(f"{address}/v2/models/digits/infer", {"inputs": [tensor], "outputs": [{"name": "logits"}]})
    np.testing.assert_allclose(np.reshape(answer["outputs"][0]["data"], (8, 10)), logits, atol=1e-4)
    _, answer = ask(f"{address}/v1/models/digits:predict", {"instances": [{"b64": one} for one in encoded]})
    np.testing.assert_allclose([one["logits"] for one in answer["predictions"]], logits, atol=1e-4)
    # And as pixels, fitted by the client.
    fitted = np.stack([classifier.fit(path) for path in turned])
    body = json.dumps({"instances": fitted.tolist()}).encode()
    with urllib.request.urlopen(f"{address}/v1/models/digits:predict", data=body) as response:
        np.testing.assert_allclose(
            [one["logits"] for one in json.loads(response.read())["predictions"]], logits, atol=1e-4
        )


def test_the_documented_client_works(address, pictures, wanted, tmp_path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def classify" in block]
    known: dict[str, Any] = {}
    exec(compile(code, "docs/serving.md", "exec"), known)
    (tmp_path / "photo.png").write_bytes(encode_png(pictures[0]))
    assert known["classify"](tmp_path / "photo.png", address)["class"] == wanted[0].label
    (tmp_path / "none.jpg").write_text("none")
    with pytest.raises(ValueError, match="picture"):
        known["classify"](tmp_path / "none.jpg", address)
