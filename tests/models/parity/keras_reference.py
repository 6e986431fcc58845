"""Runs under TensorFlow's own Python: a Keras application with random weights → an .npz of weights, pictures, logits.

python keras_reference.py APPLICATION SIZE CLASSES PICTURES.npy OUT.npz
"""

import sys

import keras
import numpy as np


def main() -> None:
    application, size, classes, pictures, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:6]
    build = {
        "inception_v3": keras.applications.InceptionV3,
        "inception_resnet_v2": keras.applications.InceptionResNetV2,
    }[application]
    model = build(weights=None, input_shape=(size, size, 3), classes=classes, classifier_activation=None)
    generator = np.random.default_rng(0)
    arrays = {}
    for layer in model.layers:
        for variable in layer.weights:
            kind = variable.name
            shape = tuple(variable.shape)
            if kind == "kernel":
                value = generator.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
            elif kind == "moving_variance":
                value = generator.uniform(0.5, 1.5, shape)
            else:
                value = generator.normal(0, 0.2, shape)
            variable.assign(value.astype(np.float32))
            arrays[f"{layer.name}/{kind}"] = value.astype(np.float32)
    images = np.load(pictures).transpose(0, 2, 3, 1)
    arrays["logits"] = np.asarray(model(images, training=False))
    arrays["parameters"] = np.array(model.count_params())
    np.savez(out, **arrays)


if __name__ == "__main__":
    main()
