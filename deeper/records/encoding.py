"""One chunk of pictures → framed records and their statistics: what a worker does. A pure function of the chunk.

Each file is read once and decoded once: the decoding checks it, measures it and, of a training picture, sums its
pixels.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deeper import images
from deeper.errors import DeeperError, SourceError
from deeper.records import picture, tfrecord
from deeper.records.picture import Facts
from deeper.records.sums import LARGE, Sums

MAX_FILE_BYTES = 256 << 20
_FLAGS = os.O_RDONLY | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Chunk:
    """Pictures to encode. Each has a path, or a row of `arrays`."""

    ids: Sequence[str]
    labels: Sequence[int]
    texts: Sequence[str]
    groups: Sequence[str | None]
    paths: Sequence[str | None]
    arrays: NDArray[np.uint8] | Sequence[NDArray[np.uint8] | None]
    channels: int | None
    """Sum the pixels after conversion to so many channels; as they are when None."""
    summed: int = 0
    """Of the large pictures one in so many is summed, of the small ones all; 0: none, they are not to train on."""
    first: int = 0
    """The place of the first picture among those that one in so many is taken of."""


@dataclass(slots=True)
class Encoded:
    """The records of a chunk. Lists have one entry per kept picture, in the chunk's order."""

    records: bytes = b""
    """All of them, frames included, one behind the other."""
    kept: list[int] = field(default_factory=list)
    """Positions in the chunk."""
    sizes: list[int] = field(default_factory=list)
    """Bytes of each record, frame included."""
    heights: list[int] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    channels: list[int] = field(default_factory=list)
    """1 or 3, of the picture itself."""
    sums: Sums = field(default_factory=Sums)
    """Over the kept pictures, after conversion where that is asked for."""
    rejected: list[tuple[int, str]] = field(default_factory=list)
    """Position in the chunk, and why."""


def encode_chunk(chunk: Chunk) -> Encoded:
    """Read, check, measure and frame the pictures of a chunk; what cannot be used is rejected with its reason."""
    result = Encoded()
    records = []
    for position in range(len(chunk.ids)):
        sampled = chunk.summed > 0 and (chunk.first + position) % chunk.summed == 0
        whole_up_to = images.MAX_PIXELS if sampled else LARGE if chunk.summed else 0
        try:
            (height, width, channels), pixels, encoded, file_format = _load(chunk, position, whole_up_to)
            if chunk.summed:
                summed = pixels if height * width <= whole_up_to else None
                if summed is not None and chunk.channels is not None:
                    summed = images.to_channels(summed, chunk.channels)
                result.sums.count(height, width, summed)
        except DeeperError as error:
            result.rejected.append((position, str(error)))
            continue
        except OSError as error:
            result.rejected.append((position, f"cannot be read: {error.strerror or error}"))
            continue
        except MemoryError:
            result.rejected.append((position, "needs more memory than there is"))
            continue
        except Exception as error:  # a decoder's own surprise must not stop the build of all the others
            result.rejected.append((position, f"cannot be decoded ({type(error).__name__}: {error})"))
            continue
        facts = Facts(
            chunk.ids[position],
            chunk.labels[position],
            chunk.texts[position],
            height,
            width,
            channels,
            chunk.groups[position],
        )
        record = tfrecord.frame(picture.encode(facts, encoded, file_format))
        records.append(record)
        result.kept.append(position)
        result.sizes.append(len(record))
        result.heights.append(height)
        result.widths.append(width)
        result.channels.append(channels)
    result.records = b"".join(records)
    return result


def _load(
    chunk: Chunk, position: int, whole_up_to: int
) -> tuple[tuple[int, int, int], NDArray[np.uint8] | None, bytes, str]:
    """Height, width and channels; the pixels, perhaps not of a JPEG of more than `whole_up_to` pixels; the bytes to store,
    and their format."""
    path = chunk.paths[position]
    if path is None:
        array = chunk.arrays[position]
        assert array is not None, "an item has neither a path nor an array"
        pixels = images.as_picture(array)
        images.refuse_huge(pixels.shape[0], pixels.shape[1], images.MAX_PIXELS)
    else:
        data = read_file(path)
        if images.is_kept(data):
            shape, decoded = images.check(data, whole_up_to=whole_up_to)
            return shape, decoded, data, "PNG" if data.startswith(b"\x89PNG") else "JPEG"
        pixels = images.decode(data)
    height, width, channels = pixels.shape
    return (height, width, channels), pixels, images.encode_png(pixels), "PNG"


def read_file(path: str | os.PathLike[str]) -> bytes:
    """A picture's file, whole. Raises: SourceError, for what is no regular file, empty or too long; OSError."""
    # Not blocking: what was a file when it was listed may have become a FIFO, whose opening would wait for ever.
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SourceError("is no regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise SourceError(f"has {status.st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        data = os.read(descriptor, status.st_size + 1)
        if len(data) != status.st_size:
            # It grows, or the file system does not tell lengths.
            with open(descriptor, "rb", closefd=False) as file:
                data += file.read(MAX_FILE_BYTES)
    finally:
        os.close(descriptor)
    if not data:
        raise SourceError("is empty (0 bytes)")
    return data
