"""`dataset.json` as values: what a dataset folder says about itself."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeper import files
from deeper.errors import DatasetError, UsageError, nearest_path, printable, typed
from deeper.values import from_plain, to_plain

FILE = "dataset.json"
FORMAT_VERSION = 1
SPLITS = ("train", "validation", "test")


class NewerDatasetError(DatasetError):
    """A dataset in a format that this version does not know."""


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """One TFRecord file. `bytes`: its size; `sha256`: hexadecimal, over the whole file."""

    file: str
    count: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """One split. `per_class`: pictures of each class, in index order; `shards`: in reading order."""

    count: int
    per_class: tuple[int, ...]
    shards: tuple[ShardInfo, ...]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """(height, width) in pixels over all splits, each number by itself: the medians need not be of one picture."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]

    @staticmethod
    def of(heights: Sequence[int], widths: Sequence[int]) -> Sizes:
        """The sizes of pictures. All zero when there are none."""
        if not len(heights):
            return Sizes(smallest=(0, 0), median=(0, 0), largest=(0, 0))
        rows, columns = sorted(heights), sorted(widths)
        middle = (len(rows) - 1) // 2
        return Sizes(
            smallest=(int(rows[0]), int(columns[0])),
            median=(int(rows[middle]), int(columns[middle])),
            largest=(int(rows[-1]), int(columns[-1])),
        )


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over the training pixels (0..255), one per channel, from which mean and deviation follow.

    Whole numbers: the same for any order of adding up, and exact when the dataset grows. Of pictures with more than 2¹⁴
    pixels some rows stand for all, and of thousands of them some pictures (`records.sums`).
    """

    pixels: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]

    @staticmethod
    def none(channels: int) -> Moments:
        """Of no pixels."""
        return Moments(pixels=0, sums=(0,) * channels, squares=(0,) * channels)

    def mean(self) -> tuple[float, ...]:
        """On the 0..1 scale; zeros where there are no pixels."""
        return tuple(total / (255 * max(1, self.pixels)) for total in self.sums)

    def deviation(self) -> tuple[float, ...]:
        """On the 0..1 scale, of the population. 1 where all pixels are equal, so that dividing by it does no harm."""
        count = max(1, self.pixels)
        # In whole numbers until the root: E[x²] − E[x]² in floats would lose half its digits for bright pictures.
        variances = [count * square - total * total for total, square in zip(self.sums, self.squares)]
        return tuple(math.sqrt(variance) / (255 * count) if variance > 0 else 1.0 for variance in variances)


@dataclass(frozen=True, kw_only=True)
class Relabelled:
    """A picture that `--corrections` gave another class."""

    id: str
    split: str
    was: str
    now: str


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A picture that `--corrections` left out. `split`: where it would be; `was`: its class.

    `sha256`: hexadecimal, of the bytes that would be stored; None where it could not be read, and in older datasets.
    """

    id: str
    split: str
    was: str
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class CorrectionsInfo:
    """Who became what, in the order of the source."""

    relabelled: tuple[Relabelled, ...] = ()
    excluded: tuple[Excluded, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Everything in `dataset.json`. No time and no absolute path: equal pictures give equal bytes."""

    format_version: int
    name: str
    source: str
    """One line about where the pictures came from."""
    classes: tuple[str, ...]
    """Names in the order of the labels, which begin at 0."""
    channels: int
    """1 or 3: what pictures are converted to when they are read."""
    mean: tuple[float, ...]
    """Of the training pixels, one per channel, on the 0..1 scale."""
    deviation: tuple[float, ...]
    moments: Moments
    sizes: Sizes
    splits: Mapping[str, SplitInfo]
    """Keys: `train`, and where they have pictures `validation` and `test`."""
    drawn: Mapping[str, float] = field(default_factory=dict)
    """Splits that the build drew, with their share of what it drew from."""
    seed: int
    """Of the draw of the splits and of the order in `train`."""
    group_by: str | None = None
    rejected: int
    """Lines in `rejected.csv`."""
    corrections: CorrectionsInfo | None = None
    """What a person corrected; None where nothing was."""
    additions: int = 0
    """How often `--add` appended pictures."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the programs that wrote it; no part of the hash."""

    @property
    def count(self) -> int:
        """Pictures in all splits."""
        return sum(split.count for split in self.splits.values())

    @property
    def hash(self) -> str:
        """SHA-256 (hexadecimal) over the content, shards included by theirs. The versions that wrote it stay out:
        equal data is the same dataset."""
        return _hash(to_plain(self))


def _hash(plain: dict[str, Any]) -> str:
    counted = {key: value for key, value in plain.items() if key not in ("versions", "hash")}
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def save(folder: Path, info: DatasetInfo) -> None:
    """Write `dataset.json` atomically, its own hash included."""
    plain = to_plain(info)
    plain["hash"] = _hash(plain)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    if any("\ud800" <= character <= "\udfff" for character in text):
        # A folder name that is no UTF-8 cannot stand in UTF-8 text as it is.
        text = json.dumps(plain, indent=2, allow_nan=False)
    files.write_text(folder / FILE, text + "\n")


def load(folder: Path) -> DatasetInfo:
    """Read `dataset.json`.

    Raises: DatasetError, for a missing, damaged or changed file, a newer format, or no dataset folder at all.
    """
    path = folder / FILE
    shown = printable(folder)
    if not path.is_file():
        problem = "does not exist"
        if folder.exists():
            problem = "has no dataset.json" if folder.is_dir() else "is a file; a dataset is a folder"
        raise DatasetError(
            f"{shown} is no dataset: it {problem}; build one with `deeper build SOURCE --out {typed(folder)}`"
            f"{'' if folder.exists() else nearest_path(folder)}"
        )
    advice = f"run `deeper verify {typed(folder)} --repair`, or build the dataset again"
    try:
        plain = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise DatasetError(f"{printable(path)} is damaged: it is no JSON; {advice}") from None
    if not isinstance(plain, dict):
        raise DatasetError(f"{printable(path)} is damaged: it holds no JSON object; {advice}")
    given = plain.get("format_version")
    if isinstance(given, int) and given > FORMAT_VERSION:
        raise NewerDatasetError(
            f"{printable(path)} has format version {given}; this deeper reads up to {FORMAT_VERSION}: update deeper"
        )
    stored = plain.pop("hash", None)
    try:
        info = from_plain(DatasetInfo, plain, FILE)
    except UsageError as error:
        raise DatasetError(f"{printable(path)} is damaged: {error}; {advice}") from None
    if stored != info.hash:
        raise DatasetError(f"{printable(path)} was changed after it was written (its hash does not match); {advice}")
    _check(info, path, advice)
    return info


def _check(info: DatasetInfo, path: Path, advice: str) -> None:
    classes = len(info.classes)
    wrong: str | None = None
    if "/" in info.name or info.name in ("", ".", ".."):
        # It becomes a part of the names of runs and audits, which must not lie elsewhere.
        wrong = f"{printable(info.name, 60)!r} is no name of a folder"
    if info.channels not in (1, 3) or len(info.mean) != info.channels or len(info.deviation) != info.channels:
        wrong = f"{info.channels} channels do not go with its mean and deviation"
    for name, split in info.splits.items():
        if name not in SPLITS:
            wrong = f"{printable(name)!r} is no split"
        elif len(split.per_class) != classes or sum(split.per_class) != split.count:
            wrong = f"the counts of {name} do not add up"
        elif any(
            "/" in shard.file or "\\" in shard.file or not shard.file.endswith(".tfrecord") for shard in split.shards
        ):
            # A dataset from someone else must not make us read files outside its folder.
            wrong = f"a shard of {name} is no plain file name"
    if wrong:
        raise DatasetError(f"{printable(path)} is damaged: {wrong}; {advice}")


def versions() -> dict[str, str]:
    """Of the programs whose work is in the bytes."""
    # Takes longer to import than everything else here, and workers never need it.
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in ("deeper", "numpy", "pillow", "simplejpeg"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
