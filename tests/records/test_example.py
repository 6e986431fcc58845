"""`tf.train.Example` by hand, against bytes that TensorFlow 2.21 wrote and against protobuf's own parser."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tfrecord import example_pb2

from deeper.records import example

# tf.train.Example(…).SerializeToString(deterministic=True)
GOLDEN = bytes.fromhex(
    "0a4a0a120a07612f627974657312070a050a01780a000a1b0a05622f696e7412121a100a0e0001ac02ffffffffffffffffff01"
    "0a170a07632f666c6f6174120c120a0a080000003f000000c0"
)
FEATURES = {"c/float": (0.5, -2.0), "a/bytes": (b"x", b""), "b/int": (0, 1, 300, -1)}

values = st.one_of(
    st.lists(st.binary(max_size=200), min_size=1, max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=3),
)


def test_the_bytes_are_tensorflows() -> None:
    assert example.encode(FEATURES) == GOLDEN


def test_tensorflows_bytes_are_read() -> None:
    assert example.decode(GOLDEN) == FEATURES


@given(st.dictionaries(st.text(max_size=20), values, max_size=4))
def test_round_trip_and_protobuf_agrees(features: dict[str, list[int]]) -> None:
    data = example.encode(features)
    assert example.decode(data) == {name: tuple(value) for name, value in features.items()}
    parsed = example_pb2.Example.FromString(data).features.feature
    assert set(parsed) == set(features)
    for name, value in features.items():
        kind = parsed[name].WhichOneof("kind")
        assert list(getattr(parsed[name], kind).value) == value


@given(st.dictionaries(st.text(max_size=20), values, max_size=4))
def test_protobufs_own_bytes_are_read(features: dict[str, list[int]]) -> None:
    message = example_pb2.Example()
    for name, value in features.items():
        kind = {bytes: "bytes_list", int: "int64_list", float: "float_list"}[type(value[0])]
        getattr(message.features.feature[name], kind).value.extend(value)
    assert example.decode(message.SerializeToString()) == {name: tuple(value) for name, value in features.items()}


def test_numbers_that_are_not_packed_are_read() -> None:
    def field(number: int, data: bytes) -> bytes:
        return bytes((number << 3 | 2, len(data))) + data

    integers = field(3, b"\x08\x05\x08\x96\x01")
    floats = field(2, b"\x0d" + struct.pack("<f", 1.5) + b"\x0d" + struct.pack("<f", -3.0))
    entries = [field(1, field(1, name) + field(2, feature)) for name, feature in ((b"i", integers), (b"f", floats))]
    assert example.decode(field(1, b"".join(entries))) == {"i": (5, 150), "f": (1.5, -3.0)}


@given(st.binary(max_size=120))
def test_noise_is_refused_or_read_but_never_worse(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        example.decode(data)


@pytest.mark.parametrize("cut", range(1, len(GOLDEN)))
def test_a_message_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(ValueError):  # which one depends on where it is cut
        example.decode(GOLDEN[:cut])


@pytest.mark.parametrize("value", [["a", 1], [None], 2**63, object()])
def test_what_no_feature_holds_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        example.encode({"x": value})  # type: ignore[dict-item]
