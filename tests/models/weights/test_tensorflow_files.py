"""TensorFlow's checkpoints in both versions, as TensorFlow 2.21 wrote them (`tensorflow_writer.py`, kept in `data/`)."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from deeper.errors import WeightsError
from deeper.models.weights.reading import read, sha256
from deeper.models.weights.snappy import uncompress
from deeper.models.weights.table import entries

DATA = Path(__file__).with_name("data")
WEIGHTS = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("name", ["one.ckpt", "two.ckpt", "two.ckpt.index", "two.ckpt.data-00000-of-00001"])
def test_what_tensorflow_wrote(name: str) -> None:
    opened = read(DATA / name)
    assert opened.names == "tensorflow"
    assert set(opened.left) == {"global_step", "InceptionV3/Conv2d_1a_3x3/weights/RMSProp"}
    scope = "InceptionV3/Conv2d_1a_3x3"
    assert torch.equal(opened.tensors[f"{scope}/weights"], torch.from_numpy(WEIGHTS))
    assert torch.equal(opened.tensors[f"{scope}/BatchNorm/beta"], torch.zeros(2000))
    assert torch.equal(opened.tensors[f"{scope}/BatchNorm/moving_mean"], torch.arange(5.0).repeat(300))
    assert len(opened.tensors) == 3


def test_one_hash_however_it_is_named() -> None:
    names = ("two.ckpt", "two.ckpt.index", "two.ckpt.data-00000-of-00001")
    assert len({sha256(DATA / name) for name in names}) == 1


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(WeightsError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500, message
    for part in parts:
        assert part in message, message


def test_cut_off_anywhere(tmp_path: Path) -> None:
    whole = (DATA / "one.ckpt").read_bytes()
    cut = tmp_path / "one.ckpt"
    for length in range(0, len(whole), len(whole) // 40):
        cut.write_bytes(whole[:length])
        refused(cut, "one.ckpt")
    for part in ("index", "data-00000-of-00001"):
        shutil.copy(DATA / "two.ckpt.index", tmp_path)
        shutil.copy(DATA / "two.ckpt.data-00000-of-00001", tmp_path)
        victim = tmp_path / f"two.ckpt.{part}"
        whole = victim.read_bytes()
        # Behind the last weight lie the bytes of what is not read.
        for length in range(0, len(whole) * 3 // 5, max(1, len(whole) // 40)):
            victim.write_bytes(whole[:length])
            refused(tmp_path / "two.ckpt", "two.ckpt")
        victim.write_bytes(whole)


def test_every_changed_byte_of_what_is_read_is_noticed(tmp_path: Path) -> None:
    whole = (DATA / "one.ckpt").read_bytes()
    path = tmp_path / "one.ckpt"
    for position in range(0, len(whole) - 48, 97):
        path.write_bytes(whole[:position] + bytes((whole[position] ^ 0x55,)) + whole[position + 1 :])
        refused(path)


def test_missing_parts(tmp_path: Path) -> None:
    shutil.copy(DATA / "two.ckpt.index", tmp_path)
    refused(tmp_path / "two.ckpt", "not whole", "data-00000-of-00001")
    shutil.copy(DATA / "two.ckpt.data-00000-of-00001", tmp_path)
    read(tmp_path / "two.ckpt")
    (tmp_path / "two.ckpt.index").unlink()
    refused(tmp_path / "two.ckpt.data-00000-of-00001", "not whole", "two.ckpt.index")


def archive(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_archives(tmp_path: Path, mode: str) -> None:
    one = (DATA / "one.ckpt").read_bytes()
    assert len(read(archive(tmp_path / "a.tar.gz", {"readme": b"hi", "inception_v3.ckpt": one}, mode)).tensors) == 3
    two = {f"deep/er/{file.name}": file.read_bytes() for file in DATA.glob("two.ckpt*")}
    assert len(read(archive(tmp_path / "b.tar.gz", two, mode)).tensors) == 3
    refused(archive(tmp_path / "c.tar.gz", {"x.pb": b"x"}, mode), "it holds none")
    refused(archive(tmp_path / "d.tar.gz", {"a.ckpt": one, "b.ckpt": one}, mode), "a.ckpt, b.ckpt", "unpack it")
    path = archive(tmp_path / "e.tar.gz", {"inception_v3.ckpt": one}, mode)
    whole = path.read_bytes()
    refusals = 0
    for length in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:length])
        try:
            # Cut in the empty blocks at its end, an archive has all of its weights.
            assert torch.equal(read(path).tensors["InceptionV3/Conv2d_1a_3x3/weights"], torch.from_numpy(WEIGHTS))
        except WeightsError as error:
            assert "\n" not in str(error)
            refusals += 1
    assert refusals >= 10


def test_archives_that_point_elsewhere_write_nothing_there(tmp_path: Path) -> None:
    one = (DATA / "one.ckpt").read_bytes()
    path = archive(tmp_path / "up.tar.gz", {"../../../../../../tmp/deeper-escaped.ckpt": one})
    assert len(read(path).tensors) == 3
    assert not Path("/tmp/deeper-escaped.ckpt").exists()
    with tarfile.open(tmp_path / "link.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("inception_v3.ckpt")
        info.type, info.linkname = tarfile.SYMTYPE, str(DATA / "one.ckpt")
        tar.addfile(info)
    refused(tmp_path / "link.tar.gz", "it holds none")


def test_snappy() -> None:
    # Of the format's description: a literal, then a copy that reaches into what it writes.
    assert uncompress(b"\x0a" + bytes((1 << 2,)) + b"ab" + bytes((2 | 7 << 2, 2, 0)), 100) == b"ab" * 5
    for bad in (b"\x05\x00a", b"\x02" + bytes((2 | 1 << 2, 9, 0)), b"\xff\xff\xff\x7f\x00a", b"\x0a\xf0"):
        with pytest.raises(ValueError):
            uncompress(bad, 1000)


def test_tables_that_are_none() -> None:
    for bad in (b"", b"x" * 100, (DATA / "one.ckpt").read_bytes()[-48:]):
        with pytest.raises(ValueError):
            list(entries(bad))


def long_header(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_an_archive_whose_headers_would_take_all_memory(tmp_path: Path, kind: bytes) -> None:
    # Nothing follows: read at once, eight gigabytes would be asked for.
    path = tmp_path / "a.tar"
    path.write_bytes(long_header(kind, 8 << 30) + bytes(10240))
    refused(path, "a header that is far too long")


def test_an_archive_of_headers_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes((long_header(tarfile.GNUTYPE_LONGNAME, 1) + b"x" + bytes(511)) * 3000 + bytes(10240))
    refused(path, "its archive is cut off or changed")


def test_an_archive_in_an_archive(tmp_path: Path) -> None:
    inner = archive(tmp_path / "inner.tar.gz", {"x.ckpt": (DATA / "one.ckpt").read_bytes()})
    refused(archive(tmp_path / "a.tar.gz", {"x.pth": inner.read_bytes()}), "an archive in an archive")
