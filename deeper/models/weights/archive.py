"""Weights inside a tar archive, as TF-Slim's are published: taken out one by one, under names of our own."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Self

from deeper.errors import StorageError, WeightsError, printable
from deeper.models.weights.opened import LARGEST, damaged

_WEIGHTS = re.compile(
    r"(?P<stem>[\w.-]*?)(?P<ending>\.ckpt(-\d+)?|\.ckpt(-\d+)?\.index|\.ckpt(-\d+)?\.data-\d{5}-of-\d{5}|\.pth|\.pt|\.safetensors|\.h5|\.keras)"
)
# An archive of weights has a handful of members.
_MOST_MEMBERS = 1000


# Of what is no file: a long name, or marks of an extended header. tarfile reads them whole before it tells their size.
_LONGEST_MARK = 1 << 20


class _Member(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, *given: Any, **named: Any) -> Self:
        found = super().frombuf(*given, **named)
        if not found.isreg() and found.size > _LONGEST_MARK:
            raise tarfile.ReadError("a header that is far too long")
        return found


def is_archive(head: bytes, path: Path) -> bool:
    """Whether a file that begins so is a tar archive, packed by gzip or not."""
    return head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar"


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The weights in the archive, in a folder that lasts as long as the block: their one file, or their index.

    Only regular files whose names end as weights' do are taken; where they would go by their own account plays no part.

    Raises: WeightsError, for an archive that is damaged, too large, or holds no weights or several.
    """
    with tempfile.TemporaryDirectory(prefix="deeper-weights-") as folder:
        taken: list[Path] = []
        total = 0
        try:
            with tarfile.open(path, "r|*", tarinfo=_Member) as archive:
                for number, member in enumerate(archive):
                    total += member.size
                    if number >= _MOST_MEMBERS or total > LARGEST:
                        raise damaged(path, "its archive unpacks to more than any Inception's weights")
                    name = PurePosixPath(member.name).name
                    if not member.isreg() or not _WEIGHTS.fullmatch(name):
                        continue
                    source = archive.extractfile(member)
                    target = Path(folder) / name
                    if source is None or target in taken:
                        raise damaged(path, f"{printable(name, 80)} is in its archive twice")
                    with open(target, "wb") as file:
                        shutil.copyfileobj(source, file, 1 << 20)
                    taken.append(target)
        except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageError(
                    f"cannot unpack {printable(path)} into {printable(folder)}: the disk is full; free some space, or set "
                    "TMPDIR to a place that has it"
                ) from None
            raise damaged(path, f"its archive is cut off or changed ({printable(error, 80)})") from None
        indexed = [file for file in taken if file.suffix == ".index"]
        whole = [file for file in taken if not re.search(r"\.(index|data-\d{5}-of-\d{5})$", file.name)]
        if len(indexed) + len(whole) != 1:
            names = ", ".join(printable(file.name, 40) for file in taken[:4]) or "none"
            raise WeightsError(
                f"the archive {printable(path)} should hold the weights of one network, it holds {names}; "
                "unpack it and give the file"
            )
        yield (indexed or whole)[0]
