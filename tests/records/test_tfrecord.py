"""TFRecord framing against bytes that TensorFlow 2.21 wrote, and against every flipped byte."""

from __future__ import annotations

from pathlib import Path

import crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeper.errors import DatasetError
from deeper.records import tfrecord

# tf.io.TFRecordWriter: write(b""), write(b"hello").
GOLDEN = bytes.fromhex("000000000000000029039807d8ea82a20500000000000000eab2043e68656c6c6fbb1f1c19")


def test_the_bytes_are_tensorflows() -> None:
    assert tfrecord.frame(b"") + tfrecord.frame(b"hello") == GOLDEN


def test_tensorflows_bytes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "golden.tfrecord"
    path.write_bytes(GOLDEN)
    assert list(tfrecord.read(path)) == [(0, b""), (16, b"hello")]


@given(st.binary(max_size=300))
def test_the_crc_is_the_castagnoli_one_masked(data: bytes) -> None:
    plain = crc32c.crc32c(data)
    rotated = (plain >> 15) | (plain << 17) & 0xFFFFFFFF
    assert tfrecord.masked_crc(data) == (rotated + 0xA282EAD8) % 2**32


@given(st.lists(st.binary(max_size=100), max_size=6))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, records: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("round") / "x.tfrecord"
    framed = [tfrecord.frame(record) for record in records]
    path.write_bytes(b"".join(framed))
    assert [data for _, data in tfrecord.read(path)] == records
    sizes = [len(one) for one in framed]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    assert tfrecord.parse_index(tfrecord.index_text(sizes)) == (starts, sizes)


@pytest.mark.parametrize("position", range(len(GOLDEN)))
def test_any_flipped_bit_is_refused_with_shard_and_offset(tmp_path: Path, position: int) -> None:
    damaged = bytearray(GOLDEN)
    damaged[position] ^= 1 << position % 8
    path = tmp_path / "train-00000-of-00001.tfrecord"
    path.write_bytes(damaged)
    offset = 0 if position < 16 else 16
    with pytest.raises(
        DatasetError, match=rf"train-00000-of-00001.tfrecord at byte {offset}:.*deeper verify .* --repair"
    ):
        list(tfrecord.read(path))


@pytest.mark.parametrize("length", [1, 11, 15, 17, 30, 36])
def test_a_file_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.tfrecord"
    path.write_bytes(GOLDEN[:length])
    with pytest.raises(tfrecord.CorruptRecord, match="the file ends within"):
        list(tfrecord.read(path))


@pytest.mark.parametrize("text", [b"0", b"0 20\n21 30\n", b"5 20\n", b"0 3\n", b"a b\n", b"0 -20\n"])
def test_an_index_that_is_no_row_of_records_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # the reasons differ; the caller wraps them
        tfrecord.parse_index(text)
