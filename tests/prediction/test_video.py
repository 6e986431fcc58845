"""Frames of real video files, made here by FFmpeg's own encoders."""

from __future__ import annotations

import json
import os
import shutil
import struct
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest

from deeper.errors import SourceError, UsageError
from deeper.images import decode
from deeper.prediction import video
from deeper.prediction.video import frames, is_video, read_ahead
from tests.patience import patient
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
    # Late frames make no later ones late: 0.25 falls between two.
    assert [seconds for seconds, _ in frames(clip, 0.25)][:6] == pytest.approx([0, 0.3, 0.5, 0.8, 1.0, 1.3], abs=0.01)
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


def test_a_name_with_a_colon_is_no_protocol_and_a_pipe_no_video(clip, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "12:30.mp4")
    assert len(list(frames("12:30.mp4"))) == 3
    os.mkfifo("pipe.mp4")
    with pytest.raises(SourceError, match="no regular file"):  # it would wait for a writer
        list(frames("pipe.mp4"))
    with pytest.raises(SourceError, match="no file can have this name"):
        list(frames("a\0.mp4"))


def test_frames_are_decoded_ahead_by_a_thread_of_their_own(clip, tmp_path, monkeypatch) -> None:
    for (seconds, frame), (wanted, other) in zip(read_ahead(clip, 0.5), frames(clip, 0.5), strict=True):
        assert seconds == wanted
        np.testing.assert_array_equal(frame, other)
    (tmp_path / "text.mp4").write_text("no video at all")
    with pytest.raises(SourceError, match="no video that can be read"):
        list(read_ahead(tmp_path / "text.mp4"))

    decoded: list[int] = []
    closed = threading.Event()

    def endless(path, every):
        try:
            while True:
                decoded.append(threading.get_ident())
                yield (float(len(decoded)), pixels) if len(decoded) < 200 else None
        finally:
            closed.set()

    monkeypatch.setattr(video, "_decoded", endless)
    for shape, most in (((2, 2, 3), 64), ((4096, 8192, 2), 2)):
        pixels = np.zeros(shape, np.uint8)
        decoded.clear()
        closed.clear()
        reader = read_ahead("endless.mp4")
        assert next(reader)[0] == 1
        until = time.monotonic() + patient(10)
        while len(decoded) < 1 + most and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(decoded) == 1 + most and threading.get_ident() not in decoded
        if most == 64:
            # Also among frames that nobody wants, it ends at once.
            assert [next(reader)[0] for _ in range(198)] == list(range(2, 200))
        reader.close()
        assert closed.is_set() and not [one for one in threading.enumerate() if one.name.startswith("deeper-video")]


def test_frames_are_sorted_into_folders_as_pictures(clip, tmp_path, run_deeper) -> None:
    run = write(tmp_path / "bundle")
    words = ("predict", run, clip, "--every", 1, "--json", "--sort-into", "sorted", "--rank-uncertain")
    plain = json.loads(run_deeper(*words).stdout)
    assert len(plain["predictions"]) == 3 and plain["failed"] == []
    placed = {path.name: path for path in (tmp_path / "sorted").rglob("*.*")}
    assert set(placed) == {f"a clip.mp4@{second}.00s.png" for second in range(3)}
    for seconds, frame in frames(clip):
        path = placed[f"a clip.mp4@{seconds:.2f}s.png"]
        np.testing.assert_array_equal(decode(path.read_bytes()), frame)
        (answer,) = [one for one in plain["predictions"] if one["path"].endswith(f"@{seconds:.2f}s")]
        assert answer["class"] in path.parts and ("_unsure" in path.parts) == (answer["unsure"] is not None)


def test_recordings_that_were_joined_are_looked_at_to_the_end(tmp_path) -> None:
    """MPEG programme streams are joined byte by byte, and their times begin anew in the middle."""
    for name, level in (("first.mpg", 40), ("second.mpg", 200)):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("mpeg2video", rate=25)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            for _ in range(75):
                frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    both = tmp_path / "both.mpg"
    both.write_bytes((tmp_path / "first.mpg").read_bytes() + (tmp_path / "second.mpg").read_bytes())
    taken = list(frames(both, 1.0))
    seconds = [second for second, _ in taken]
    assert seconds[0] == 0 and seconds == sorted(set(seconds)) and 5 <= len(taken) <= 7
    assert taken[0][1].mean() < 80 and taken[-1][1].mean() > 160
