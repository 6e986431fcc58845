"""Which files a folder, a pattern or a video stands for, and what is said of the rest."""

from __future__ import annotations

import os

import av
import numpy as np
import pytest

from deeper.errors import UsageError
from deeper.prediction import Failed, Named
from deeper.prediction.inputs import find, pictures_of


def touch(*paths) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_folder_is_searched_as_build_does(tmp_path) -> None:
    folder, outside = tmp_path / "photos", tmp_path / "outside"
    touch(*(folder / name for name in ("z.png", "b.JFIF", "c.jp2", "d.tga", "e.ico", "in/a.mp4", "in/f.pbm")))
    touch(
        folder / "a.AAE",
        folder / "notes.xmp",
        folder / "all.zip",
        folder / "notes.txt",
        folder / ".g.png",
        folder / "__MACOSX" / "._z.png",
        folder / "in" / "Thumbs.db",
    )
    touch(outside / "deep" / "h.png")
    (folder / "linked").symlink_to(outside)
    (folder / "again").symlink_to(folder / "in")  # its pictures are listed once, and nothing is missing
    (folder / "in" / "loop").symlink_to(folder)
    os.mkfifo(folder / "fifo.png")
    found = list(find([str(folder)]))
    names = ("b.JFIF", "c.jp2", "d.tga", "e.ico", "z.png", "in/a.mp4", "in/f.pbm", "linked/deep/h.png")
    assert [one for one in found if isinstance(one, str)] == [str(folder / name) for name in names]
    failed = {one.source: one.reason for one in found if isinstance(one, Failed)}
    assert set(failed) == {str(folder / "fifo.png"), str(folder / "in" / "loop")}
    assert "named pipe" in failed[str(folder / "fifo.png")] and "loop" in failed[str(folder / "in" / "loop")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_without_permission_are_named(tmp_path) -> None:
    touch(tmp_path / "photos" / "a.png", tmp_path / "photos" / "closed" / "b.png")
    closed = tmp_path / "photos" / "closed"
    closed.chmod(0)
    try:
        found = list(find([str(tmp_path / "photos"), str(closed)]))
    finally:
        closed.chmod(0o700)
    assert found[0] == str(tmp_path / "photos" / "a.png") and len(found) == 3
    assert all(one.source == str(closed) and "Permission denied" in one.reason for one in found[1:])


def test_names_that_differ_in_their_unicode_form_are_two_pictures(tmp_path) -> None:
    touch(tmp_path / "caf\u00e9.png", tmp_path / "cafe\u0301.png")
    found = list(find([str(tmp_path)]))
    assert len(found) == len(list(tmp_path.iterdir())) and all(isinstance(one, str) for one in found)


def test_names_begin_as_they_were_given(tmp_path, monkeypatch) -> None:
    touch(tmp_path / "a.png", tmp_path / "in" / "b.png")
    monkeypatch.chdir(tmp_path)
    assert list(find(["."])) == ["./a.png", "./in/b.png"]
    assert (
        list(find(["./in/"])) == ["./in/b.png"] and next(find(["../" + tmp_path.name])) == f"../{tmp_path.name}/a.png"
    )


def test_patterns_and_folders_with_nothing_in_them_are_named(tmp_path) -> None:
    touch(tmp_path / "a.png", tmp_path / "texts" / "notes.txt")
    given = [str(tmp_path / name) for name in ("*.jpg", "a.png", "texts")]
    assert list(find(given)) == [
        Failed(given[0], "no file matches this pattern"),
        given[1],
        Failed(given[2], "no picture found in this folder"),
    ]


def test_frames_have_names_of_their_own(tmp_path) -> None:
    path = tmp_path / "fast.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=240)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for grey in range(24):
            frame = np.full((32, 32, 3), 10 * grey, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    every = [one.source.rpartition("@")[2] for one in pictures_of([str(path)], 0.0) if isinstance(one, Named)]
    assert len(set(every)) == len(every) == 24 and every[:3] == ["0.00s", "0.004s", "0.008s"]
    # Two decimals where they are enough.
    some = [one.source.rpartition("@")[2] for one in pictures_of([str(path)], 0.05) if isinstance(one, Named)]
    assert some == ["0.00s", "0.05s"]


def test_a_pattern_gives_each_file_once(tmp_path, monkeypatch) -> None:
    """`**` matches folders and what lies in them."""
    touch(tmp_path / "p" / "a.png", tmp_path / "p" / "sub" / "b.png", tmp_path / "p" / "sub" / "deep" / "c.png")
    monkeypatch.chdir(tmp_path)
    everything = ["p/a.png", "p/sub/b.png", "p/sub/deep/c.png"]
    for pattern in ("p/**", "p/**/*", "**"):
        assert sorted(os.path.normpath(str(one)) for one in find([pattern])) == everything
    assert list(find(["p/**/*.png"])) == everything
    assert [os.path.normpath(str(one)) for one in find(["p/s*/**"])] == everything[1:]


def test_a_pattern_goes_into_no_circle(tmp_path, monkeypatch) -> None:
    touch(tmp_path / "p" / "a.png", tmp_path / "p" / "sub" / "b.jpg", tmp_path / "p" / "sub" / "in" / "c.png")
    for name in ("one", "two", "sub/three"):
        (tmp_path / "p" / name).symlink_to(tmp_path / "p")
    monkeypatch.chdir(tmp_path)
    assert list(find(["p/**/*.png"])) == ["p/a.png", "p/sub/in/c.png"]
    below = [str(one) for one in find([f"{tmp_path}/**/sub/*"]) if isinstance(one, str)]
    assert below == [f"{tmp_path}/p/sub/b.jpg", f"{tmp_path}/p/sub/in/c.png"]
    named = list(find(["**"]))
    assert [one for one in named if isinstance(one, str)] == ["p/a.png", "p/sub/b.jpg", "p/sub/in/c.png"]
    assert {one.source for one in named if isinstance(one, Failed)} == {"p/one", "p/two", "p/sub/three"}
    for nothing in ("p/**/*.bmp", "nowhere/**", "p/a.png/**/*"):
        assert [one.reason for one in find([nothing])] == ["no file matches this pattern"]


def test_a_list_on_a_closed_input_is_one_line(monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="standard input, which is closed"):
        list(find(["-"]))
