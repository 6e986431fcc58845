"""What can still be taken: the kernel's estimate, within the limits of the groups that the process belongs to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeper import memory
from deeper.batches import InMemory, Streaming, open_pictures
from deeper.images import Preprocess
from tests.test_batches import FakeSplit

GIGABYTE = 1 << 30


def group(place: Path, limit: str, used: int, cache: int) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / "memory.max").write_text(f"{limit}\n")
    (place / "memory.current").write_text(f"{used}\n")
    (place / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\nactive_file 5\n")


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    path = tmp_path / "cgroup"
    path.write_text("0::/user.slice/job 7.scope\n")
    return path


def test_a_container_has_its_limit_at_the_root(tmp_path: Path, membership: Path) -> None:
    group(tmp_path / "root", str(2 * GIGABYTE), 1000, 400)
    assert memory._control_groups(tmp_path / "root", membership) == [(2 * GIGABYTE, 600)]


def test_a_job_has_its_limit_on_the_way_down(tmp_path: Path, membership: Path) -> None:
    group(tmp_path / "root", "max", 9000, 0)
    group(tmp_path / "root" / "user.slice", str(8 * GIGABYTE), 5000, 0)
    group(tmp_path / "root" / "user.slice" / "job 7.scope", str(GIGABYTE), 2000, 500)
    found = memory._control_groups(tmp_path / "root", membership)
    assert found == [(GIGABYTE, 1500), (8 * GIGABYTE, 5000)]


def test_groups_of_version_one(tmp_path: Path, membership: Path) -> None:
    membership.write_text("3:cpu,cpuacct:/elsewhere\n2:memory:/docker/abc\n0::/\n")
    place = tmp_path / "root" / "memory" / "docker" / "abc"
    place.mkdir(parents=True)
    (place / "memory.limit_in_bytes").write_text(f"{GIGABYTE}\n")
    (place / "memory.usage_in_bytes").write_text("700\n")
    (place / "memory.stat").write_text("total_inactive_file 200\n")
    assert memory._control_groups(tmp_path / "root", membership) == [(GIGABYTE, 500)]


def test_no_groups_at_all(tmp_path: Path) -> None:
    assert memory._control_groups(tmp_path / "nowhere", tmp_path / "nothing") == []


def test_pictures_that_a_container_has_no_room_for_are_streamed(
    tmp_path: Path, membership: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = Preprocess(height=100, width=100, channels=1)
    split = FakeSplit(40)
    split.picture = lambda position, at_least=None: np.zeros((100, 100, 1), np.uint8)  # type: ignore[method-assign]
    monkeypatch.setattr(memory, "_CONTROL_GROUPS", tmp_path / "root")
    monkeypatch.setattr(memory, "_free_in_heap", lambda: 0)
    group(tmp_path / "root", str(GIGABYTE), 0, 0)
    assert isinstance(open_pictures(split, fit, workers=1), InMemory)
    group(tmp_path / "root", "2000000", 1000000, 0)  # a megabyte is left, a quarter of it less than the pictures
    assert memory.free_memory() <= 1000000
    assert isinstance(open_pictures(split, fit, workers=1), Streaming)
