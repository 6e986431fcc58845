"""The Keras side of `flowers.py`: InceptionV3 from random weights for so many minutes; prints one JSON object.

Run by the TensorFlow environment (`make .venv-tensorflow`). Configuration: `keras.applications.InceptionV3(weights=None)`,
inputs scaled to −1 … 1, batches of 32 in a new order each epoch; augmentation as in Keras' own example of image
classification from scratch (horizontal flips, rotations of up to a tenth of a turn) with zooms of up to 20 %; Adam, its
rate falling along half a cosine over the time that is given, which suits a fixed time better than a constant one;
sparse cross-entropy; no early stopping: with the rate at its end the last weights are the best guess.

Keras' batch norm moves its running statistics by a hundredth a step, so after a short training evaluation may differ from
training. So each split is answered once more with the statistics of batches drawn from it, which no user would do.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class Budget(keras.callbacks.Callback):
    """Lets the rate fall with the time that has passed, and stops when it is up."""

    def __init__(self, seconds: float, rate: float) -> None:
        super().__init__()
        self.seconds, self.rate, self.steps, self.began = seconds, rate, 0, 0.0

    def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
        if not self.began:
            self.began = time.perf_counter()
        share = min(1.0, (time.perf_counter() - self.began) / self.seconds)
        self.model.optimizer.learning_rate = self.rate * 0.5 * (1 + math.cos(math.pi * share))

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.steps += 1
        if time.perf_counter() - self.began > self.seconds:
            self.model.stop_training = True


def main() -> None:
    asked = json.loads(sys.argv[1])
    tf.config.threading.set_intra_op_parallelism_threads(asked["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(asked["threads"])
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if asked["mixed"] else "float32")
    keras.utils.set_random_seed(asked["seed"])
    arrays = np.load(asked["arrays"])
    images, labels = arrays["train_images"], arrays["train_labels"].astype(np.int32)
    classes, size = int(labels.max()) + 1, images.shape[1]
    inner = keras.applications.InceptionV3(weights=None, classes=classes, input_shape=(size, size, 3))
    augmented = keras.Sequential(
        [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.2)], name="augmentation"
    )
    entered = keras.Input((size, size, 3))
    model = keras.Model(entered, inner(layers.Rescaling(1 / 127.5, offset=-1)(augmented(entered))))
    model.compile(
        optimizer=keras.optimizers.Adam(asked["rate"]),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    data = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(labels), seed=asked["seed"])
    data = data.batch(asked["batch"], drop_remainder=True).repeat().prefetch(2)
    data = data.map(lambda pictures, wanted: (tf.cast(pictures, tf.float32), wanted))
    budget = Budget(asked["minutes"] * 60, asked["rate"])
    history = model.fit(
        data, epochs=100_000, steps_per_epoch=max(1, len(labels) // asked["batch"]), verbose=0, callbacks=[budget]
    )
    answers = {}
    for split in ("val", "test"):
        shown = arrays[f"{split}_images"].astype(np.float32)
        answers[split] = model.predict(shown, batch_size=asked["batch"], verbose=0).argmax(1).tolist()
    for split in ("val", "test"):  # last, since it moves the running statistics
        shown = arrays[f"{split}_images"].astype(np.float32)
        # They lie class by class, and statistics of one class are not those of a batch.
        by_batch = np.zeros(len(shown), np.int64)
        order = np.random.default_rng(asked["seed"]).permutation(len(shown))
        for some in np.array_split(order, max(1, len(order) // asked["batch"])):
            by_batch[some] = np.argmax(inner(shown[some] / 127.5 - 1, training=True), axis=1)
        answers[f"{split}_by_batch"] = by_batch.tolist()
    print(json.dumps({"steps": budget.steps, "losses": history.history["loss"], **answers}))


if __name__ == "__main__":
    main()
