"""Worker processes: order, crashes, and that none is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeper.records.encoding import Chunk, encode_chunk
from deeper.records.workers import Workers
from tests.patience import patient


def chunk(first: int, count: int, paths: list[str | None] | None = None) -> Chunk:
    return Chunk(
        ids=[str(first + row) for row in range(count)],
        labels=[0] * count,
        texts=["a"] * count,
        groups=[None] * count,
        paths=paths or [None] * count,
        arrays=np.full((count, 3, 3), first % 256, np.uint8),
        channels=None,
        summed=1,
    )


def test_answers_come_in_the_order_of_the_chunks() -> None:
    chunks = [chunk(10 * number, 1 + (37 * number) % 50) for number in range(20)]
    with Workers(3) as pool:
        assert [answer.records for answer in pool.encode(chunks)] == [encode_chunk(one).records for one in chunks]


def test_few_chunks_wait_at_a_time() -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield chunk(taken, 1)

    with Workers(2) as pool:
        answers = pool.encode(endless())
        for _ in range(10):
            next(answers)
        assert taken <= 10 + 4
        answers.close()


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A decoder, in the workers, that kills its process on one file: as a fault in a C library does."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        "if os.environ.get('DEEPER_TEST_DEADLY'):\n"
        "    import deeper.images as images\n"
        "    real = images.decode\n"
        "    def decode(data, **rest):\n"
        "        if data.startswith(b'die'):\n"
        "            os.abort()\n"
        "        return real(data, **rest)\n"
        "    images.decode = decode\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}")
    monkeypatch.setenv("DEEPER_TEST_DEADLY", "1")
    return tmp_path


def test_a_crash_costs_only_the_picture_that_it_happened_on(deadly: Path) -> None:
    (deadly / "bad.jpg").write_bytes(b"die")
    paths: list[str | None] = [None] * 10
    paths[4] = str(deadly / "bad.jpg")
    with Workers(2) as pool:
        first, second = pool.encode([chunk(0, 10, paths), chunk(10, 10)])
    assert first.rejected == [(4, "the decoder crashed on it")]
    assert first.kept == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert len(first.sizes) == 9
    assert first.sums.small[1].pixels == 9 * 3 * 3
    assert sum(first.sizes) == len(first.records)
    assert second.kept == list(range(10))


def test_a_crash_does_not_change_which_pictures_are_summed(deadly: Path) -> None:
    (deadly / "bad.jpg").write_bytes(b"die")
    paths: list[str | None] = [None] * 10
    paths[4] = str(deadly / "bad.jpg")
    large = np.stack([np.full((200, 100, 3), 10 * row, np.uint8) for row in range(10)])
    asked = replace(chunk(0, 10, paths), arrays=large, summed=3, first=1)
    with Workers(2) as pool:
        (answer,) = pool.encode([asked])
    assert answer.kept == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    # The third, the sixth and the ninth that are counted from one on.
    assert answer.sums.moments(3).mean() == pytest.approx((np.mean([20, 50, 80]) / 255,) * 3, rel=1e-6)
    assert (answer.sums.summed, answer.sums.unsummed) == (3, 6)


def test_workers_that_do_not_start_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeper.records.workers._START", "raise SystemExit(1)")
    with Workers(2) as pool:
        assert [len(answer.kept) for answer in pool.encode([chunk(0, 3), chunk(3, 4)])] == [3, 4]


def alive(group: int) -> bool:
    """Whether a process of the group is there, and no zombie."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def ended(group: int) -> bool:
    """Whether they are all gone soon."""
    until = time.monotonic() + patient(10)
    while alive(group) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(group)


def test_one_interpreter_is_started_and_its_copies_share_the_work() -> None:
    with Workers(3) as pool:
        list(pool.encode([chunk(number, 1) for number in range(12)]))
        (crew,) = pool._crews
        group = crew.process.pid
        assert [worker.ready for worker in crew.workers] == [True] * 3
        assert alive(group)
    assert crew.process.poll() is not None
    assert ended(group)


def test_they_are_there_before_the_first_chunk_where_that_is_asked_for() -> None:
    with Workers(2) as pool:
        pool.start()
        (crew,) = pool._crews
        pool.start()
        answers = list(pool.encode([chunk(number, 3) for number in range(5)]))
        assert [one.kept for one in answers] == [[0, 1, 2]] * 5
        assert pool._crews == [crew]


def test_dismissed_they_are_gone_and_the_work_is_done_here() -> None:
    with Workers(2) as pool:
        pool.start()
        (crew,) = pool._crews
        pool.dismiss()
        assert ended(crew.process.pid)
        assert [one.records for one in pool.encode([chunk(4, 2)])] == [encode_chunk(chunk(4, 2)).records]
        assert not pool._crews


def test_no_worker_outlives_a_parent_that_was_killed() -> None:
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from deeper.records.workers import Workers\n"
        "with Workers(3) as pool:\n"
        "    pool.start()\n"
        "    print(pool._crews[0].process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parents[2])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        assert alive(group)
        parent.kill()
    assert ended(group)


def test_where_no_more_files_may_be_open_none_stays_so() -> None:
    """The work is done here then; what was opened for the workers is closed."""
    code = """
import os, resource
from deeper.records.workers import Workers
before = len(os.listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (before + 9, before + 9))
with Workers(8) as pool:
    pool.start()
    assert not pool._crews
print(len(os.listdir("/proc/self/fd")) - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=patient(60))
    assert done.stdout.strip() == "0", done.stderr
