"""The IDX reader, and folders with MNIST's file names."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deeper.errors import SourceError
from deeper.records.sources import SourceOptions, open_source
from deeper.records.sources.idx import parse_idx, read_idx

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx_bytes(array: NDArray[np.generic]) -> bytes:
    """The format written out, independent of the reader."""
    kind = array.dtype.kind + str(array.dtype.itemsize)
    header = bytes([0, 0, CODES[kind], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(">" + kind).tobytes()


@pytest.mark.parametrize("kind", CODES)
def test_every_dtype_and_rank(kind: str, tmp_path: Path) -> None:
    for shape in [(3,), (2, 3), (2, 3, 4), (2, 1, 2, 2)]:
        array = (np.arange(np.prod(shape)).reshape(shape) * 3 - 5).astype(kind)
        read = parse_idx(idx_bytes(array), "x")
        np.testing.assert_array_equal(read, array)
        assert read.dtype == np.dtype(kind) and read.dtype.isnative
    packed = tmp_path / "named-like-a-plain-file"
    packed.write_bytes(gzip.compress(idx_bytes(array)))
    np.testing.assert_array_equal(read_idx(packed), array)


def test_damaged_bytes_are_named() -> None:
    sound = idx_bytes(np.zeros((2, 3), np.uint8))
    for data, says in [
        (b"", "begins with nothing"),
        (b"\x89PNG", "begins with 89504e47"),
        (b"\0\0\x0a\x01" + sound[4:], "dtype 0x0a"),
        (sound[:6], "truncated: its header"),
        (sound[:-1], "truncated: 2×3 values want 18 bytes, it has 17"),
        (sound + b"\0", "beyond its end"),
        # a header that promises 2^96 values must not be believed
        (b"\0\0\x08\x03" + b"\xff" * 12, "truncated"),
    ]:
        with pytest.raises(SourceError, match=says):
            parse_idx(data, "x")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
    labels = np.array([3, 0, 1, 2, 3], np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(idx_bytes(images[:2]))
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(idx_bytes(labels[:2]))
    return tmp_path


def test_a_folder_of_idx_files(folder: Path) -> None:
    source = open_source(folder)
    assert [(item.id, item.label, item.split) for item in source.items][4:] == [
        ("train/00004", "3", "train"),
        ("test/00000", "3", "test"),
        ("test/00001", "0", "test"),
    ]
    assert source.classes == ("0", "1", "2", "3")
    assert source.items[1].array is not None and source.items[1].array[0, 0] == 16


def test_a_folder_with_something_wrong(folder: Path) -> None:
    (folder / "t10k-labels.idx1-ubyte").unlink()
    with pytest.raises(SourceError, match="t10k-images.idx3-ubyte without its labels"):
        open_source(folder)
    (folder / "t10k-images.idx3-ubyte").unlink()
    assert len(open_source(folder).items) == 5
    (folder / "emnist-letters-train-images-idx3-ubyte.gz").write_bytes(b"")
    with pytest.raises(SourceError, match="several IDX sets"):
        open_source(folder)
    (folder / "emnist-letters-train-images-idx3-ubyte.gz").unlink()
    packed = (folder / "train-images-idx3-ubyte.gz").read_bytes()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match="train-images-idx3-ubyte.gz is a damaged or truncated gzip"):
        open_source(folder)


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    (folder / "t10k-labels.idx1-ubyte").unlink()
    (folder / "t10k-labels.idx1-ubyte").symlink_to("/proc/self/mem")  # it is there, and reading its first byte fails
    with pytest.raises(SourceError, match="t10k-labels.idx1-ubyte' cannot be read .*permissions"):
        open_source(folder)


def test_names_of_classes(folder: Path) -> None:
    source = open_source(folder, options=SourceOptions(classes=("ash", "elm", "oak", "yew")))
    assert [item.label for item in source.items[:3]] == ["yew", "ash", "elm"]


def test_the_real_files(data: Path) -> None:
    source = open_source(data / "mnist")
    assert source.name == "mnist"
    assert len(source.items) == 70_000 and source.classes == tuple("0123456789")


@pytest.mark.parametrize("word", ["val", "validation", "valid"])
def test_validation_files_are_the_validation_split(folder: Path, word: str) -> None:
    for kind in ("images-idx3", "labels-idx1"):
        shutil.copy(folder / f"train-{kind}-ubyte.gz", folder / f"{word}-{kind}-ubyte.gz")
    source = open_source(folder)
    assert {item.split for item in source.items} == {"train", "validation", "test"}
    assert not source.notices
    (folder / "extra-images-idx3-ubyte").write_bytes(b"")
    assert list(open_source(folder).notices) == ["files not used: 'extra-images-idx3-ubyte'"]
