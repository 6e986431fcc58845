"""IDX, the format of the MNIST files, and folders that hold MNIST's usual file names.

Two zero bytes, a byte for the dtype, a byte for the number of dimensions, one big-endian uint32 per dimension,
then the values, big-endian (Y. LeCun, "The MNIST database of handwritten digits", "the IDX file format").
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.errors import SourceError, printable
from deeper.records.sources.arrays import Part, list_parts
from deeper.records.sources.listing import Listing, enumerated, file_bytes, split_of
from deeper.records.sources.options import NO_OPTIONS, SourceOptions

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAME = re.compile(
    r"(?:(?P<set>.+)-)?(?P<split>train|validation|valid|val|t10k|test)-(?P<kind>images|labels)[-.]idx[0-9]-ubyte(?:\.gz)?"
)

_LIKE_IDX = re.compile(r"[-.]idx[0-9](-|\.|$)")


def read_bytes(path: Path) -> bytes:
    """The unpacked bytes of an IDX file, gzipped or plain (told by its first bytes, not by its name).

    Raises: SourceError, for a file that cannot be read, a gzip stream that is cut off or damaged.
    """
    data = file_bytes(path)
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, zlib.error, OSError) as error:
        raise SourceError(
            f"{printable(path)} is a damaged or truncated gzip file ({printable(error, 60)}); fetch it again"
        ) from None


def parse_idx(data: bytes, name: str) -> NDArray[Any]:
    """The array in the bytes of an IDX file, in the machine's byte order. `name` is for messages.

    Raises: SourceError, for a wrong magic number, an unknown dtype, too few or too many bytes.
    """
    name = printable(name)
    if len(data) < 4 or data[:2] != b"\0\0":
        raise SourceError(f"{name} begins with {data[:4].hex() or 'nothing'}; wanted an IDX file (0000 then its dtype)")
    kind, dimensions = data[2], data[3]
    if kind not in _DTYPES:
        raise SourceError(f"{name} has IDX dtype 0x{kind:02x}; wanted one of 08 09 0b 0c 0d 0e")
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise SourceError(f"{name} is truncated: its header alone wants {start} bytes, it has {len(data)}")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dimensions, 4))
    dtype = np.dtype(_DTYPES[kind])
    wanted = start + math.prod(shape) * dtype.itemsize
    if len(data) != wanted:
        state = "is truncated" if len(data) < wanted else "has bytes beyond its end"
        raise SourceError(f"{name} {state}: {'×'.join(map(str, shape))} values want {wanted} bytes, it has {len(data)}")
    array = np.frombuffer(data, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an IDX file, gzipped or plain. Raises: SourceError."""
    return parse_idx(read_bytes(path), path.name)


def find_idx(folder: Path) -> dict[tuple[str, str], Path]:
    """MNIST's files in `folder`: {("train", "images"): path, …}. Empty where there are none.

    A plain file wins over a gzipped one of the same name. Raises: SourceError, for several sets in one folder.
    """
    found: dict[tuple[str, str], Path] = {}
    sets: set[str] = set()
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        match = _NAME.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        sets.add(match["set"] or "")
        found.setdefault((split_of(match["split"]) or "", match["kind"]), path)
    if len(sets) > 1:
        names = enumerated(sorted(sets))
        raise SourceError(f"{printable(folder)} holds several IDX sets ({names}); wanted one in a folder")
    return found


def open_idx_folder(
    folder: Path, *, options: SourceOptions = NO_OPTIONS, found: dict[tuple[str, str], Path] | None = None
) -> Listing:
    """A source from a folder with `train-images-idx3-ubyte[.gz]` and the like; test files may be missing.

    Splits as the names say; ids `train/00000` … are positions in the files.
    Raises: SourceError, for damaged files, or images without labels.
    """
    found = find_idx(folder) if found is None else found
    parts: dict[str | None, Part] = {}
    for split in ("train", "validation", "test"):
        images, labels = found.get((split, "images")), found.get((split, "labels"))
        if images is None and labels is None:
            continue
        if images is None or labels is None:
            there, missing = (images, "labels") if labels is None else (labels, "images")
            assert there is not None
            raise SourceError(f"{printable(folder)} has {there.name} without its {missing}; put that file beside it")
        parts[split] = Part(read_idx(images), read_idx(labels))
    if not parts:
        raise SourceError(f"{printable(folder)} holds no IDX files; wanted train-images-idx3-ubyte.gz and the like")
    listing = list_parts(parts, options=options, name=folder.resolve().name or "idx")
    others = sorted(
        path.name for path in folder.iterdir() if _LIKE_IDX.search(path.name) and not _NAME.fullmatch(path.name)
    )
    if others:
        listing.notices = (*listing.notices, f"files not used: {enumerated(others)}")
    return listing
