"""Named sets: MNIST as it is, and where files are looked for, fetched from and refused (a local server, no network)."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeper.errors import DownloadError, SourceError, UsageError
from deeper.records.sources import SourceOptions, named, named_sets, open_source
from deeper.records.sources.named import _SETS, open_named


def test_mnist_as_the_guide_split_it(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPER_DATA", str(data))
    source = open_source("mnist")
    counts = {split: sum(item.split == split for item in source.items) for split in ("train", "validation", "test")}
    assert counts == {"train": 55_000, "validation": 5_000, "test": 10_000}
    assert source.classes == tuple("0123456789")
    assert [source.items[i].id for i in (0, 4_999, 5_000, 59_999, 60_000)] == [
        *("train/00000", "train/04999", "train/05000", "train/59999", "test/00000"),
    ]
    assert [source.items[i].split for i in (4_999, 5_000)] == ["validation", "train"]
    assert "".join(item.label for item in source.items[:10]) == "5041921314"
    images = np.stack([item.array for item in source.items[:60_000] if item.array is not None])
    assert images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert images.std() / 255 == pytest.approx(0.3081, abs=5e-5)


def test_the_names() -> None:
    assert named_sets() == ("mnist", "fashion-mnist", "digits")
    with pytest.raises(UsageError, match="did you mean 'mnist'"):
        open_named("minst")
    with pytest.raises(SourceError, match="'mnits' does not exist.*did you mean 'mnist'"):
        open_source("mnits")


def test_names_of_classes_are_no_option_of_a_named_set() -> None:
    with pytest.raises(UsageError, match="'digits' names its classes itself; leave them out"):
        open_source("digits", options=SourceOptions(classes=tuple("abcdefghij")))


class _Server:
    """Serves a folder and remembers what was asked for."""

    def __init__(self, folder: Path) -> None:
        asked: list[str] = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

            def do_GET(self) -> None:
                asked.append(self.path)
                super().do_GET()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.asked = asked
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    """A mirror with a small MNIST, whose hashes the program knows for this test; empty data and cache folders."""
    folder = tmp_path / "mirror" / "mnist"
    folder.mkdir(parents=True)
    files = []
    for file in _SETS["mnist"].files:
        shape = ({60_000: 60, 10_000: 10}[file.shape[0]], *file.shape[1:])
        array = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) % 10
        header = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
        content = header + array.astype(np.uint8).tobytes()
        packed = gzip.compress(content, mtime=0)
        (folder / f"{file.name}.gz").write_bytes(packed)
        hashes = [hashlib.sha256(data).hexdigest() for data in (packed, content)]
        files.append(replace(file, shape=shape, packed=hashes[0], unpacked=hashes[1]))
    monkeypatch.setitem(_SETS, "mnist", replace(_SETS["mnist"], files=tuple(files)))
    monkeypatch.setattr(named, "_VALIDATION", 20)
    server = _Server(tmp_path / "mirror")
    monkeypatch.setenv("DEEPER_MIRROR", server.address)
    monkeypatch.setenv("DEEPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DEEPER_DATA", str(tmp_path / "data"))
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_fetched_once_then_taken_from_the_cache(mirror: _Server) -> None:
    source = open_named("mnist")
    assert len(source.items) == 70
    assert sorted(mirror.asked) == sorted(f"/mnist/{file.name}.gz" for file in _SETS["mnist"].files)
    again = open_named("mnist")
    assert len(again.items) == 70 and len(mirror.asked) == 4
    assert again.fingerprint() == source.fingerprint()


def test_files_of_the_data_folder_come_first_however_packed(mirror: _Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for number, path in enumerate((tmp_path / "mirror" / "mnist").iterdir()):
        content = gzip.decompress(path.read_bytes())
        if number % 2:
            (folder / path.stem).write_bytes(content)
        else:
            (folder / path.name).write_bytes(gzip.compress(content, 1, mtime=7))
    assert len(open_named("mnist").items) == 70
    assert mirror.asked == []


def test_one_wrong_byte_is_refused(mirror: _Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    name = "t10k-images-idx3-ubyte"
    content = bytearray(gzip.decompress((tmp_path / "mirror" / "mnist" / f"{name}.gz").read_bytes()))
    content[500] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(SourceError, match="t10k-images-idx3-ubyte is not the file it should be"):
        len(open_named("mnist").items)
    (folder / name).write_bytes(b"")
    with pytest.raises(SourceError, match="is not the file it should be"):
        len(open_named("mnist").items)
    (folder / f"{name}.gz").write_bytes((tmp_path / "mirror" / "mnist" / f"{name}.gz").read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"ubyte\.gz is not the file it should be"):
        len(open_named("mnist").items)


def test_a_mirror_with_other_bytes_and_no_mirror_at_all(mirror: _Server, tmp_path: Path) -> None:
    (tmp_path / "mirror" / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(DownloadError, match="DEEPER_DATA.*'digits'"):
        open_named("mnist")
    assert not (tmp_path / "cache" / "mnist" / "t10k-labels-idx1-ubyte.gz").exists()


def test_a_folder_of_the_same_name_is_mentioned(
    mirror: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work" / "mnist" / "cat").mkdir(parents=True)
    (tmp_path / "work" / "mnist" / "cat" / "1.png").write_bytes(b"x")
    monkeypatch.chdir(tmp_path / "work")
    assert any("./mnist" in notice for notice in open_source("mnist").notices)
    assert open_source("./mnist").classes == ("cat",)
    assert open_source(Path("mnist")).classes == ("cat",)
