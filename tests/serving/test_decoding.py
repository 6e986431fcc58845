"""Files to pixels in threads: whose fault it is where that fails."""

from __future__ import annotations

import asyncio
import io

import pytest
from PIL import Image, ImageFile

from deeper.images import Preprocess
from deeper.serving.decoding import Decoder
from deeper.web import Refused

FIT = Preprocess(height=8, width=8, channels=3)


def bitmap() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), (200, 30, 30)).save(buffer, "BMP")
    return buffer.getvalue()


def refused(files: list[bytes]) -> Refused:
    decoder = Decoder(1, 10**6)
    with pytest.raises(Refused) as caught:
        asyncio.run(decoder.fit(FIT, files))
    decoder.stop()
    return caught.value


def test_pictures_come_in_their_order() -> None:
    decoder = Decoder(2, 10**6)
    found = asyncio.run(decoder.fit(FIT, [bitmap(), bitmap()]))
    decoder.stop()
    assert found.shape == (2, 8, 8, 3) and found[1, 4, 4].tolist() == [200, 30, 30]


def test_what_is_no_picture_is_the_files_fault() -> None:
    one = refused([bitmap(), b"no picture"])
    assert one.status == 400 and one.message.startswith("picture 2: ")


def test_short_memory_is_the_servers_and_may_pass(monkeypatch) -> None:
    def load(self) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    one = refused([bitmap()])
    assert one.status == 503 and one.headers["retry-after"] == "5"
