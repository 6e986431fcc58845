"""The Keras side of `throughput_inception.py`: InceptionV3 at several settings; prints one JSON object.

Run by the TensorFlow environment (`make .venv-tensorflow`).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf


class Clock(keras.callbacks.Callback):
    """Seconds between the ends of the first and the last batch of `fit`: setting up is not in it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.clock, self.ends = clock, []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.ends.append(self.clock())


def rate(size: int, batch: int, steps: int, threads: int, mixed: bool, compiled: bool) -> float:
    """Pictures per second of `fit`, after two steps that build and compile."""
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if mixed else "float32")
    keras.utils.set_random_seed(0)
    model = keras.applications.InceptionV3(weights=None, classes=10, input_shape=(size, size, 3))
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
        jit_compile=compiled,
    )
    images = np.random.default_rng(0).random((steps * batch, size, size, 3), np.float32) * 2 - 1
    labels = (np.arange(steps * batch) % 10).astype(np.int32)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch, drop_remainder=True)
    data = data.prefetch(tf.data.AUTOTUNE)
    model.fit(data.take(2), epochs=1, verbose=0)
    clock = Clock(time.process_time if threads == 1 else time.perf_counter)
    model.fit(data, epochs=1, verbose=0, callbacks=[clock])
    return (steps - 1) * batch / (clock.ends[-1] - clock.ends[0])


def main() -> None:
    asked = json.loads(sys.argv[1])
    tf.config.threading.set_intra_op_parallelism_threads(asked["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(asked["threads"])
    sizes = [asked[name] for name in ("size", "batch", "steps", "threads")]
    rates = [rate(*sizes, **setting) for setting in asked["settings"]]
    print(json.dumps({"tensorflow": tf.__version__, "keras": keras.__version__, "rates": rates}))


main()
