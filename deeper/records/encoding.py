"""One chunk of pictures → framed records and their statistics: what a worker does. A pure function of the chunk.

Each file is read once and decoded once: the decoding checks it, measures it and sums its pixels.
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
from deeper.records.info import Moments
from deeper.records.picture import Facts

MAX_FILE_BYTES = 256 << 20
_FLAGS = os.O_RDONLY | os.O_NONBLOCK
# Rows summed at once: 128 · 255² is below 2²⁴, so that every sum in float32 is a whole number that it holds exactly,
# in whatever order it is added up; across blocks, in float64, the same holds up to 2⁵³ (10¹¹ pixels).
_ROWS = 128
# Of a picture of more pixels than the first only some rows are summed, so many that the second is left.
_EXACT_PIXELS, _SUMMED_PIXELS = 1 << 14, 1 << 13


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
    moments: list[Moments] = field(default_factory=list)
    """Over the pixels of each picture, after conversion where that is asked for."""
    rejected: list[tuple[int, str]] = field(default_factory=list)
    """Position in the chunk, and why."""


def encode_chunk(chunk: Chunk) -> Encoded:
    """Read, check, measure and frame the pictures of a chunk; what cannot be used is rejected with its reason."""
    result = Encoded()
    records = []
    for position in range(len(chunk.ids)):
        try:
            decoded, encoded, file_format = _load(chunk, position)
            height, width, channels = decoded.shape
            converted = decoded if chunk.channels is None else images.to_channels(decoded, chunk.channels)
            sums = moments(converted)
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
        result.moments.append(sums)
    result.records = b"".join(records)
    return result


def _load(chunk: Chunk, position: int) -> tuple[NDArray[np.uint8], bytes, str]:
    """The pixels, the bytes to store, and their format."""
    path = chunk.paths[position]
    if path is None:
        array = chunk.arrays[position]
        assert array is not None, "an item has neither a path nor an array"
        decoded = images.as_picture(array)
        images.refuse_huge(decoded.shape[0], decoded.shape[1], images.MAX_PIXELS)
        return decoded, images.encode_png(decoded), "PNG"
    data = read_file(path)
    decoded = images.decode(data)
    if not images.is_kept(data):
        return decoded, images.encode_png(decoded), "PNG"
    return decoded, data, "PNG" if data.startswith(b"\x89PNG") else "JPEG"


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


def moments(pixels: NDArray[np.uint8]) -> Moments:
    """Sums of the values and of their squares, per channel. `pixels`: H × W × C.

    Exact up to 2¹⁴ pixels (128 × 128). Of a larger picture every k-th row is summed, for the smallest k that leaves at
    most 2¹³ pixels, and at least 16 rows, and counted k times: adding up all would cost a third of decoding, for digits
    that no normalisation needs. The row in the middle of each k stands for them: the first would give the upper edge,
    which of photographs is another kind of row, the weight of k.
    """
    height, width, channels = pixels.shape
    every = _every(height, width, _EXACT_PIXELS, _SUMMED_PIXELS)
    rows = pixels[every // 2 :: every].reshape(-1, width * channels)
    columns = np.zeros((2, width * channels))
    for first in range(0, len(rows), _ROWS):
        block = rows[first : first + _ROWS].astype(np.float32)
        columns[0] += np.add.reduce(block, 0)
        np.multiply(block, block, out=block)
        columns[1] += np.add.reduce(block, 0)
    sums, squares = (np.ones(width) @ columns.reshape(2, width, channels)).tolist()
    return Moments(
        pixels=len(rows) * width * every,
        sums=tuple(int(total) * every for total in sums),
        squares=tuple(int(total) * every for total in squares),
    )


# What they have been; before the last change the first row of each k was summed.
_LIMITS = ((_EXACT_PIXELS, _SUMMED_PIXELS), (1 << 14, 1 << 14), (1 << 16, 1 << 16))


def counted_pixels(height: int, width: int) -> tuple[int, int]:
    """How many pixels of a picture of this size `moments` counts, at least and at most: versions of it have summed more
    or fewer rows of large pictures, and a dataset may have grown by several."""
    now, *before = (_every(height, width, *both) for both in _LIMITS)
    counts = [len(range(now // 2, height, now)) * width * now]
    counts += [len(range(0, height, every)) * width * every for every in before]
    return min(counts), max(counts)


def _every(height: int, width: int, exact: int, limit: int) -> int:
    """Of how many rows one is summed. Of a strip of few rows more are needed, or their number would be a poor weight."""
    if height * width <= exact:
        return 1
    return max(1, min(-(-height * width // limit), height // 16))
