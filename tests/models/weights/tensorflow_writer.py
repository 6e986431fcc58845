"""Runs under TensorFlow's own Python: files that real Keras and TensorFlow write, of one random network.

python tensorflow_writer.py NAMES.json PICTURES.npy FOLDER     InceptionV3 for 30 classes: FOLDER/{legacy.h5,
    three.weights.h5, whole.keras, nested.{h5,weights.h5,keras} (inside another model), two.ckpt.*, one.ckpt,
    logits.npy}; NAMES.json: TF-Slim's names in Keras' order
python tensorflow_writer.py FOLDER                             the small checkpoints in `data/`
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf


def save(folder: Path, stem: str, tensors: dict[str, np.ndarray]) -> None:
    """The same tensors as a checkpoint of version 2 and of version 1."""
    names, values = list(tensors), [tf.constant(value) for value in tensors.values()]
    tf.raw_ops.SaveV2(
        prefix=str(folder / f"{stem}two.ckpt"), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values
    )
    tf.raw_ops.Save(filename=str(folder / f"{stem}one.ckpt"), tensor_names=names, data=values)


def small(folder: Path) -> None:
    generator = np.random.default_rng(0)
    save(
        folder,
        "",
        {
            "InceptionV3/Conv2d_1a_3x3/weights": generator.normal(size=(3, 3, 3, 4)).astype(np.float32),
            # Zeros are what TensorFlow packs.
            "InceptionV3/Conv2d_1a_3x3/BatchNorm/beta": np.zeros(2000, np.float32),
            "InceptionV3/Conv2d_1a_3x3/BatchNorm/moving_mean": np.tile(np.arange(5, dtype=np.float32), 300),
            "InceptionV3/Conv2d_1a_3x3/weights/RMSProp": np.ones((3, 3, 3, 4), np.float32),
            "global_step": np.array(7, np.int64),
        },
    )


def network(names: list[str], pictures: Path, folder: Path) -> None:
    model = keras.applications.InceptionV3(
        weights=None, input_shape=(75, 75, 3), classes=30, classifier_activation=None
    )
    generator = np.random.default_rng(0)
    for layer in model.layers:
        for variable in layer.weights:
            shape = tuple(variable.shape)
            if variable.name == "kernel":
                value = generator.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
            elif variable.name == "moving_variance":
                value = generator.uniform(0.5, 1.5, shape)
            else:
                value = generator.normal(0, 0.2, shape)
            variable.assign(value.astype(np.float32))
    np.save(folder / "logits.npy", np.asarray(model(np.load(pictures).transpose(0, 2, 3, 1), training=False)))
    model.save(folder / "legacy.h5")
    model.save_weights(folder / "three.weights.h5")
    model.save(folder / "whole.keras")
    base = keras.Model(model.input, model.get_layer("mixed10").output, name="inception_v3")
    last = keras.layers.Dense(30)
    outer = keras.Sequential([keras.Input((75, 75, 3)), base, keras.layers.GlobalAveragePooling2D(), last])
    last.set_weights(model.get_layer("predictions").get_weights())
    outer.save(folder / "nested.h5")
    outer.save_weights(folder / "nested.weights.h5")
    outer.save(folder / "nested.keras")

    def numbered(kind: type, stem: str) -> list[keras.layers.Layer]:
        found = [layer for layer in model.layers if type(layer) is kind]
        return sorted(found, key=lambda layer: int(layer.name[len(stem) + 1 :] or 0))

    tensors: dict[str, np.ndarray] = {"global_step": np.array(11, np.int64)}
    convolutions = numbered(keras.layers.Conv2D, "conv2d")
    norms = numbered(keras.layers.BatchNormalization, "batch_normalization")
    for name, convolution, norm in zip(names, convolutions, norms, strict=True):
        tensors[f"InceptionV3/{name}/weights"] = np.asarray(convolution.kernel)
        tensors[f"InceptionV3/{name}/weights/RMSProp"] = np.zeros(convolution.kernel.shape, np.float32)
        for kind in ("beta", "moving_mean", "moving_variance"):
            tensors[f"InceptionV3/{name}/BatchNorm/{kind}"] = np.asarray(getattr(norm, kind))
    last = model.get_layer("predictions")
    tensors["InceptionV3/Logits/Conv2d_1c_1x1/weights"] = np.asarray(last.kernel)[None, None]
    tensors["InceptionV3/Logits/Conv2d_1c_1x1/biases"] = np.asarray(last.bias)
    save(folder, "", tensors)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        small(Path(sys.argv[1]))
    else:
        network(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), Path(sys.argv[3]))
