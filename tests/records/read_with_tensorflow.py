"""Run by an interpreter that has TensorFlow: reads a dataset as its users would, and prints what it saw as JSON."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import tensorflow as tf

KEYS = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/format": tf.io.FixedLenFeature([], tf.string),
    "image/height": tf.io.FixedLenFeature([], tf.int64),
    "image/width": tf.io.FixedLenFeature([], tf.int64),
    "image/channels": tf.io.FixedLenFeature([], tf.int64),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
    "image/class/text": tf.io.FixedLenFeature([], tf.string),
    "image/id": tf.io.FixedLenFeature([], tf.string),
}


def main(folder: Path) -> None:
    seen = {}
    for split in ("train", "validation", "test"):
        files = tf.data.Dataset.list_files(str(folder / f"{split}-*.tfrecord"), shuffle=False)
        for record in tf.data.TFRecordDataset(files).map(lambda data: tf.io.parse_single_example(data, KEYS)):
            pixels = tf.io.decode_image(record["image/encoded"], expand_animations=False).numpy()
            seen[record["image/id"].numpy().decode()] = {
                "split": split,
                "label": int(record["image/class/label"]),
                "text": record["image/class/text"].numpy().decode(),
                "format": record["image/format"].numpy().decode(),
                "shape": [int(record[f"image/{side}"]) for side in ("height", "width", "channels")],
                "pixels": list(pixels.shape),
                "png": hashlib.sha256(pixels.tobytes()).hexdigest() if record["image/format"] == b"PNG" else None,
                "encoded": hashlib.sha256(record["image/encoded"].numpy()).hexdigest(),
            }
    print(json.dumps(seen))


main(Path(sys.argv[1]))
