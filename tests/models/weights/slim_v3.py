"""The names of TF-Slim's Inception v3 in the order of its source, `research/slim/nets/inception_v3.py`, oddities and
all; it is the order in which Keras creates its own layers."""

from __future__ import annotations


def block(name: str, *branches: str) -> list[str]:
    """`"0a_1x1 0b_5x5"` of a branch → its layers' names; an empty one has no convolution."""
    return [
        f"{name}/Branch_{number}/{layer if layer.startswith('Conv') else f'Conv2d_{layer}'}"
        for number, layers in enumerate(branches)
        for layer in layers.split()
    ]


DOUBLE = "0a_1x1 0b_3x3 0c_3x3"
SEVENS = ("0a_1x1", "0a_1x1 0b_1x7 0c_7x1", "0a_1x1 0b_7x1 0c_1x7 0d_7x1 0e_1x7", "0b_1x1")
FORK = "0a_1x1 0b_3x3 0c_1x3 0d_3x1"

NAMES = [
    *(f"Conv2d_{layer}" for layer in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")),
    *block("Mixed_5b", "0a_1x1", "0a_1x1 0b_5x5", DOUBLE, "0b_1x1"),
    *block("Mixed_5c", "0a_1x1", "0b_1x1 Conv_1_0c_5x5", DOUBLE, "0b_1x1"),
    *block("Mixed_5d", "0a_1x1", "0a_1x1 0b_5x5", DOUBLE, "0b_1x1"),
    *block("Mixed_6a", "1a_1x1", "0a_1x1 0b_3x3 1a_1x1"),
    *(name for letter in "bcde" for name in block(f"Mixed_6{letter}", *SEVENS)),
    *block("Mixed_7a", "0a_1x1 1a_3x3", "0a_1x1 0b_1x7 0c_7x1 1a_3x3"),
    *block("Mixed_7b", "0a_1x1", "0a_1x1 0b_1x3 0b_3x1", FORK, "0b_1x1"),
    *block("Mixed_7c", "0a_1x1", "0a_1x1 0b_1x3 0c_3x1", FORK, "0b_1x1"),
]
