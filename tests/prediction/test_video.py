"""Frames of real video files, made here by FFmpeg's own encoders."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import av
import numpy as np
import pytest

from deeper.errors import SourceError, UsageError
from deeper.prediction.video import frames, is_video
from tests.sample_network import digits, write


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Three seconds at ten frames a second: a digit a second, doubled in size."""
    path = tmp_path_factory.mktemp("video") / "a clip.mp4"
    pictures = digits("test", 3)[0].reshape(3, 28, 28)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 56
        stream.pix_fmt = "yuv420p"
        for number in range(30):
            grey = np.kron(pictures[number // 10], np.ones((2, 2), np.uint8))
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, 2), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_frame_every_so_often(clip) -> None:
    assert is_video(clip) and not is_video("a.png")
    for every, wanted in ((1.0, [0, 1, 2]), (0.5, [0, 0.5, 1, 1.5, 2, 2.5]), (10, [0])):
        taken = list(frames(clip, every))
        assert [seconds for seconds, _ in taken] == pytest.approx(wanted, abs=0.06)
    assert len(list(frames(clip, 0))) == 30
    first = next(frames(clip))[1]
    assert first.shape == (56, 56, 3) and first.dtype == np.uint8
    wanted = np.kron(digits("test", 3)[0].reshape(3, 28, 28)[0], np.ones((2, 2)))
    assert np.abs(first.mean(2) - wanted).mean() < 12  # lossy, but the same digit


def test_what_is_no_video_is_said(clip, tmp_path) -> None:
    (tmp_path / "text.mp4").write_text("no video at all")
    (tmp_path / "empty.mov").write_bytes(b"")
    for name in ("text.mp4", "empty.mov", "missing.mp4"):
        with pytest.raises(SourceError, match="no video that can be read"):
            list(frames(tmp_path / name))
    with pytest.raises(UsageError, match="from 0"):
        list(frames(clip, -1))


def test_the_verb_takes_videos_and_goes_on_after_bad_ones(clip, tmp_path, run_deeper) -> None:
    run = write(tmp_path / "bundle")
    (tmp_path / "bad.mp4").write_text("no video")
    ran = run_deeper("predict", run, "bad.mp4", clip, "--every", 1, "--json")
    assert ran.returncode == 0, ran.stderr
    plain = json.loads(ran.stdout)
    assert [one["path"].rpartition("@")[2] for one in plain["predictions"]] == ["0.00s", "1.00s", "2.00s"]
    assert plain["failed"][0]["path"] == "bad.mp4" and "no video" in plain["failed"][0]["reason"]


@pytest.mark.parametrize(
    ("matrix", "turns"),
    [((0, 1, -1, 0), 3), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)],
)
def test_a_phones_video_is_turned_as_it_was_held(clip, tmp_path, matrix, turns) -> None:
    """Phones write frames as the sensor lies, and beside them a matrix (ISO 14496-12, 8.3.2)."""
    data = bytearray(clip.read_bytes())
    plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    a, b, c, d = (one << 16 for one in matrix)
    turned = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    where = data.index(plain, data.index(b"tkhd"))
    data[where : where + len(plain)] = turned
    (tmp_path / "turned.mp4").write_bytes(data)
    for (_, found), (_, flat) in zip(frames(tmp_path / "turned.mp4"), frames(clip), strict=True):
        np.testing.assert_array_equal(found, np.rot90(flat, turns))
