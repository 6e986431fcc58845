"""The servers that people write themselves, for `serving.py` to compare with. The guide's idea was a Flask app.

    python benchmarks/flask_peer.py keras PORT SIZE        Keras' InceptionV3 on TensorFlow (its own environment)
    python benchmarks/flask_peer.py deeper PORT RUN        deeper's engine, a picture at a time

POST / with a JPEG body answers {"class": …}. Threads, as Flask's own server has them; the model is called by one at once.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import Any

from flask import Flask, request

app = Flask(__name__)
lock = threading.Lock()


def with_keras(size: int) -> Any:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import numpy as np
    from PIL import Image

    model = keras.applications.InceptionV3(weights=None, classes=12, input_shape=(size, size, 3))
    compiled = __import__("tensorflow").function(lambda images: model(images, training=False), jit_compile=False)

    def answer(body: bytes) -> int:
        picture = Image.open(io.BytesIO(body)).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        images = np.asarray(picture, np.float32)[None] / 127.5 - 1
        with lock:
            return int(np.argmax(compiled(images)[0]))

    answer(_grey(size))
    return answer


def with_deeper(run: str) -> Any:
    from deeper import Classifier

    classifier = Classifier(run, engine="openvino", precision="int8")

    def answer(body: bytes) -> str:
        picture = classifier.fit(body)
        with lock:
            return classifier.answer(picture[None])[0].label

    answer(_grey(299))
    return answer


def _grey(size: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (size, size)).save(buffer, "JPEG")
    return buffer.getvalue()


def main() -> None:
    kind, port, what = sys.argv[1:]
    answer = with_keras(int(what)) if kind == "keras" else with_deeper(what)

    @app.post("/")
    def classify() -> dict[str, object]:
        return {"class": answer(request.get_data())}

    @app.get("/livez")
    def live() -> dict[str, object]:
        return {}

    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app.run("127.0.0.1", int(port), threaded=True)


main()
