"""Sources that become datasets on the way to a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deeper import images
from deeper.errors import DatasetError
from deeper.records import BuildOptions, build, open_source
from deeper.records.verify import verify
from deeper.runs import dataset_for
from tests.patience import patient

PICTURES = "import numpy as np; np.savez('mine.npz', images=np.arange(3000 * 64, dtype=np.uint8).reshape(3000, 8, 8), labels=np.arange(3000) % 3)"


def test_two_processes_that_need_the_same_dataset_at_once(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", PICTURES], cwd=tmp_path, check=True)
    code = "from deeper.runs import dataset_for; print(dataset_for('mine.npz').path)"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    ended = [one.communicate(timeout=patient(100)) for one in both]
    assert [one.returncode for one in both] == [0, 0], ended
    assert ended[0][0] == ended[1][0]
    (made,) = (tmp_path / "datasets").iterdir()
    assert verify(made).sound


def test_one_that_was_finished_meanwhile_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = (np.arange(30 * 64, dtype=np.uint8).reshape(30, 8, 8), np.arange(30) % 3)

    def slower(source, target, **options):
        build(source, target, options=BuildOptions())
        return build(source, target, **options)

    monkeypatch.setattr("deeper.runs.dataset.build", slower)
    told: list[str] = []
    dataset = dataset_for(pair, folder=tmp_path, notice=told.append)
    assert verify(dataset.path).sound and "another process" in told[-1]


def test_something_else_in_the_way_is_said(tmp_path: Path) -> None:
    pair = (np.arange(30 * 64, dtype=np.uint8).reshape(30, 8, 8), np.arange(30) % 3)
    opened = open_source(pair)
    target = tmp_path / f"{opened.name}-{opened.fingerprint()[:8]}"
    target.mkdir()
    (target / "mine").write_text("not a dataset")
    with pytest.raises(DatasetError, match="exists already and is no dataset"):
        dataset_for(pair, folder=tmp_path)
    assert (target / "mine").read_text() == "not a dataset"


def test_pictures_that_cannot_be_used_are_told_and_told_again_when_they_can(tmp_path: Path) -> None:
    """Read-only files of another user, HEIC without its package: what a build refused may be readable the next time."""
    photos = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for number in range(24):
        path = photos / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.encode_png(rng.integers(0, 256, (8, 8, 3), np.uint8)))
    bad = photos / "a" / "0.png"
    whole, status = bad.read_bytes(), bad.stat()
    bad.write_bytes(bytes(len(whole)))
    os.utime(bad, ns=(status.st_atime_ns, status.st_mtime_ns))
    told: list[str] = []
    dataset = dataset_for(photos, folder=tmp_path / "datasets", notice=told.append)
    said = f"1 of the source's pictures cannot be used: {dataset.path}/rejected.csv says why"
    assert said in told
    told.clear()
    assert dataset_for(photos, folder=tmp_path / "datasets", notice=told.append).path == dataset.path
    assert told[-1] == said
    bad.write_bytes(whole)
    os.utime(bad, ns=(status.st_atime_ns, status.st_mtime_ns))
    dataset_for(photos, folder=tmp_path / "datasets", notice=told.append)
    assert told[-1] == f"1 of them can be read by now: remove {dataset.path}, and they are taken in"
