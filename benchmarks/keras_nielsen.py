"""The Keras side of `throughput_nielsen.py`: the same network at several settings; prints one JSON object.

Run by the TensorFlow environment (`make .venv-tensorflow`). Pictures come as an .npz written by the caller.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def network() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(20, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(40, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(1000, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(1000, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )


class Clock(keras.callbacks.Callback):
    """Seconds between the ends of the first and the last batch of `fit`, and the batches between them, as
    `throughput_nielsen.py` times `deeper train` between step reports: setting up and shuffling are not in it."""

    def __init__(self, ignored: int = 50) -> None:
        super().__init__()
        self.ignored, self.began, self.ended, self.done = ignored, 0.0, 0.0, 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.ended = time.perf_counter()
        if batch < self.ignored:
            self.began, self.done = self.ended, 0
        else:
            self.done += 1


def rate(images: np.ndarray, labels: np.ndarray, batch: int, mixed: bool, compiled: bool) -> float:
    """Pictures per second of `fit` over one epoch, its first 50 steps left aside, after eight that compile."""
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if mixed else "float32")
    keras.utils.set_random_seed(0)
    model = network()
    model.compile(
        optimizer=keras.optimizers.SGD(0.01, momentum=0.5),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=compiled,
    )
    data = (
        tf.data.Dataset.from_tensor_slices((images, labels))
        .cache()
        .shuffle(len(images))
        .batch(batch, drop_remainder=True)
    )
    data = data.prefetch(tf.data.AUTOTUNE)
    model.fit(data.take(8), epochs=1, verbose=0)
    clock = Clock()
    model.fit(data, epochs=1, verbose=0, callbacks=[clock])
    return clock.done * batch / (clock.ended - clock.began)


def main() -> None:
    arrays = np.load(sys.argv[1])
    images = (arrays["images"].astype(np.float32) / 255 - arrays["mean"]) / arrays["deviation"]
    images, labels = images[..., None], arrays["labels"].astype(np.int32)
    settings = json.loads(sys.argv[2])
    results = [{**setting, "images_per_second": rate(images, labels, **setting)} for setting in settings]
    print(json.dumps({"tensorflow": tf.__version__, "keras": keras.__version__, "results": results}))


main()
