"""Other people's readers on our shards: the `tfrecord` package here, real TensorFlow in `make test-tensorflow`."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tfrecord.reader import tfrecord_loader

from deeper import images
from deeper.records import BuildOptions, Dataset, build
from deeper.records.sources import Item, Source
from tests.patience import patient


@pytest.fixture
def mixed(
    save: Callable[..., Item], listing: Callable[..., Source], array_items: Callable[..., list[Item]], tmp_path: Path
) -> Dataset:
    """JPEG, PNG, a converted BMP, and arrays, in shards so small that each split has several, and an addition."""
    files = [
        save(f"{label}/{number}{suffix}", label, mode=mode)
        for label, mode in (("cat", "RGB"), ("dog", "L"))
        for number, suffix in enumerate((".jpg", ".png", ".bmp", ".jpeg", ".JPG", ".png"))
    ]
    items = [
        Item(item.id, item.label, item.split, "pair" if item.id.endswith(".bmp") else None, item.path, None)
        for item in files
    ]
    arrays = [Item(item.id, "cat", None, None, None, item.array) for item in array_items(20)]
    out = tmp_path / "mixed"
    build(listing(items + arrays), out, options=BuildOptions(shard_megabytes=0.002))
    more = [Item(f"more/{item.id}", "dog", None, None, None, item.array) for item in array_items(20, seed=1)]
    build(listing(more), out, options=BuildOptions(add=True, shard_megabytes=0.002))
    return Dataset(out)


def test_the_tfrecord_package_reads_every_record_with_and_without_the_index(mixed: Dataset) -> None:
    for name in mixed.info.splits:
        split = mixed.split(name)
        position = 0
        for shard in mixed.info.splits[name].shards:
            path = mixed.path / shard.file
            records = list(tfrecord_loader(str(path), None))
            assert len(records) == shard.count
            if shard.count > 1:
                # By the index a reader takes its part of the records; the package cannot read an index of one line.
                parts = [
                    list(tfrecord_loader(str(path), str(path.with_suffix(".idx")), shard=(part, 2))) for part in (0, 1)
                ]
                assert [len(part) for part in parts] == [shard.count // 2, shard.count - shard.count // 2]
                assert [bytes(one["image/id"]) for part in parts for one in part] == [
                    bytes(one["image/id"]) for one in records
                ]
            for record in records:
                facts = split.facts[position]
                assert bytes(record["image/id"]).decode() == facts.id
                assert int(record["image/class/label"][0]) == facts.label == split.labels[position]
                assert bytes(record["image/class/text"]).decode() == mixed.classes[facts.label]
                assert bytes(record["image/encoded"]) == split.encoded(position)
                assert [int(record[f"image/{side}"][0]) for side in ("height", "width", "channels")] == list(facts[3:6])
                position += 1
        assert position == len(split)


def test_the_index_is_what_dalis_tool_writes(mixed: Dataset) -> None:
    # DALI's tfrecord2idx: for each record its first byte and all its bytes, the frame's sixteen included.
    for path in mixed.path.glob("*.tfrecord"):
        data, offset, lines = path.read_bytes(), 0, []
        while offset < len(data):
            size = int.from_bytes(data[offset : offset + 8], "little") + 16
            lines.append(f"{offset} {size}\n")
            offset += size
        assert path.with_suffix(".idx").read_text() == "".join(lines)


def tensorflow_python() -> str | None:
    if importlib.util.find_spec("tensorflow"):
        return sys.executable
    beside = Path(__file__).parents[2] / ".venv-tensorflow" / "bin" / "python"
    named = os.environ.get("DEEPER_TENSORFLOW_PYTHON", str(beside))
    return named if Path(named).exists() else None


@pytest.mark.tensorflow
def test_tensorflow_reads_every_record_by_tf_data(mixed: Dataset) -> None:
    python = tensorflow_python()
    if python is None:
        pytest.skip("no TensorFlow; make test-tensorflow installs it")
    script = Path(__file__).with_name("read_with_tensorflow.py")
    done = subprocess.run([python, str(script), str(mixed.path)], capture_output=True, text=True, timeout=patient(300))
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert len(seen) == mixed.info.count
    for name in mixed.info.splits:
        split = mixed.split(name)
        for position, facts in enumerate(split.facts):
            encoded = split.encoded(position)
            there = seen[facts.id]
            assert there["split"] == name
            assert (there["label"], there["text"]) == (facts.label, facts.text)
            assert there["encoded"] == hashlib.sha256(encoded).hexdigest()
            assert there["shape"] == list(facts[3:6]) == there["pixels"]
            if there["format"] == "PNG":
                assert there["png"] == hashlib.sha256(np.ascontiguousarray(images.decode(encoded))).hexdigest()
