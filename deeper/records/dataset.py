"""Reading a dataset folder: `Dataset` and its `Split`s."""

from __future__ import annotations

import mmap
from bisect import bisect_right
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeper import draws, images
from deeper.errors import DatasetError, SourceError, nearest, printable, typed
from deeper.records import info as dataset_info
from deeper.records import picture, tfrecord
from deeper.records.info import SPLITS, DatasetInfo, ShardInfo
from deeper.records.picture import Facts
from deeper.records.tfrecord import CorruptRecord


class Dataset:
    """A dataset folder. Opening reads `dataset.json` alone; a split is opened when it is asked for.

    Raises: DatasetError, when the folder is missing, no dataset, or damaged.
    """

    path: Path
    """The folder."""
    info: DatasetInfo
    """What `dataset.json` says: classes, channels, mean and deviation, counts and shards of each split."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.info = dataset_info.load(self.path)
        self._splits: dict[str, Split] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the labels."""
        return self.info.classes

    def split(self, name: str) -> Split:
        """`train`, `validation` or `test`. Raises: DatasetError, when there is no such split or a shard is damaged."""
        if name not in self.info.splits:
            shown = f"the dataset {printable(self.path)} has no split {printable(name)!r}"
            if name in SPLITS[1:]:
                raise DatasetError(
                    f"{shown}, it has {', '.join(self.info.splits)}: name one of them, or build it again from more "
                    f"pictures with --{name} 0.1"
                )
            raise DatasetError(f"{shown}{nearest(name, self.info.splits)}")
        if name not in self._splits:
            self._splits[name] = Split(self.path, name, self.info)
        return self._splits[name]

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {split.count:,}" for name, split in self.info.splits.items())
        return f"Dataset({str(self.path)!r}: {len(self.classes)} classes; {counts})"


class _Shard:
    """One TFRecord file, mapped into memory, with where its records stand."""

    def __init__(self, path: Path, known: ShardInfo) -> None:
        self.path = path
        advice = f"run `deeper verify {typed(path.parent)} --repair`, or build the dataset again"
        try:
            with path.open("rb") as file:
                # Length 0 means the whole file, and an empty one cannot be mapped.
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            text = tfrecord.index_path(path).read_bytes()
        except FileNotFoundError as error:
            raise DatasetError(f"{printable(error.filename)} is missing; {advice}") from None
        except ValueError:
            raise DatasetError(f"{printable(path)} is empty; {advice}") from None
        try:
            self.offsets, self.sizes = tfrecord.parse_index(text)
        except ValueError as error:
            index = printable(tfrecord.index_path(path))
            raise DatasetError(f"{index} is damaged ({printable(error, 80)}); {advice}") from None
        end = self.offsets[-1] + self.sizes[-1] if self.offsets else 0
        if len(self.data) != end or len(self.offsets) != known.count:
            raise DatasetError(
                f"{printable(path)} has {len(self.data):,} bytes where its index ends at {end:,}, and the index "
                f"{len(self.offsets):,} records of {known.count:,}; {advice}"
            )

    def facts(self) -> list[Facts]:
        data, read_facts = self.data, picture.read_facts
        found = []
        for offset, size in zip(self.offsets, self.sizes):
            try:
                found.append(read_facts(data, offset + tfrecord.HEADER, offset + size - 4))
            except ValueError as error:
                raise CorruptRecord(self.path, offset, str(error)) from None
        return found

    def encoded(self, row: int) -> bytes:
        offset = self.offsets[row]
        try:
            return picture.read_encoded(tfrecord.unframe(self.data[offset : offset + self.sizes[row]]))
        except ValueError as error:
            raise CorruptRecord(self.path, offset, str(error)) from None


class Split:
    """The pictures of one split, by position. Safe to read from several threads.

    Shards are mapped into memory, so only what is read takes any. The facts of all records (ids, labels, sizes) are
    read together when first wanted, without touching the pictures; a record's CRCs are checked each time its picture
    is read. Raises: DatasetError (CorruptRecord) naming shard and offset.
    """

    def __init__(self, folder: Path, name: str, info: DatasetInfo) -> None:
        self.name, self.classes, self.channels = name, info.classes, info.channels
        self._shards = [_Shard(folder / shard.file, shard) for shard in info.splits[name].shards]
        self._starts = [0]
        for shard in self._shards:
            self._starts.append(self._starts[-1] + len(shard.offsets))
        self._folder = folder

    def __len__(self) -> int:
        return self._starts[-1]

    @cached_property
    def facts(self) -> list[Facts]:
        """What is known of each picture without decoding it."""
        return [facts for shard in self._shards for facts in shard.facts()]

    @cached_property
    def ids(self) -> list[str]:
        """One id per picture."""
        return [facts.id for facts in self.facts]

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """The 64-bit keys of the ids, for `draws`. Shape: N."""
        return draws.keys(self.ids)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class indices from 0. Shape: N. Raises: DatasetError, when one is no class of the dataset."""
        labels = np.fromiter((facts.label for facts in self.facts), np.int64, len(self))
        wrong = np.flatnonzero((labels < 0) | (labels >= len(self.classes)))
        if len(wrong):
            raise DatasetError(
                f"{printable(self.ids[wrong[0]])} has label {labels[wrong[0]]} where the dataset has classes "
                f"0..{len(self.classes) - 1}; run `deeper verify {typed(self._folder)} --repair`"
            )
        return labels

    @cached_property
    def heights(self) -> NDArray[np.int64]:
        """Pixels. Shape: N."""
        return np.fromiter((facts.height for facts in self.facts), np.int64, len(self))

    @cached_property
    def widths(self) -> NDArray[np.int64]:
        """Pixels. Shape: N."""
        return np.fromiter((facts.width for facts in self.facts), np.int64, len(self))

    @cached_property
    def groups(self) -> list[str | None]:
        """What keeps pictures together in one split, where the source said so."""
        return [facts.group for facts in self.facts]

    def encoded(self, position: int) -> bytes:
        """The picture's file, JPEG or PNG, as it was found. Raises: DatasetError, when the record is damaged."""
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} in a split of {len(self)} pictures")
        shard = bisect_right(self._starts, position) - 1
        return self._shards[shard].encoded(position - self._starts[shard])

    def picture(self, position: int, at_least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """The picture decoded, with the dataset's channels. Shape: H × W × C. dtype: uint8.

        `at_least`: (height, width) that will do: a JPEG much larger than this may come reduced, which is far quicker.
        """
        data = self.encoded(position)
        try:
            return images.decode(data, channels=self.channels, at_least=at_least)
        except SourceError as error:
            raise DatasetError(
                f"{printable(self.ids[position])}: {error}: a sound record that this machine cannot decode; compare the versions of Pillow and simplejpeg"
            ) from None


class Part:
    """Some of a split's pictures, by position, as a split of their own; nothing of the others is read."""

    def __init__(self, split: Split, positions: NDArray[np.int64]) -> None:
        self._split, self._positions = split, positions
        self.ids = [split.ids[position] for position in positions]
        self.keys = split.keys[positions]
        self.labels = split.labels[positions]

    def __len__(self) -> int:
        return len(self._positions)

    def picture(self, position: int, at_least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """As `Split.picture`."""
        return self._split.picture(int(self._positions[position]), at_least)
