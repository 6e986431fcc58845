"""`deeper verify`: every CRC, hash, count, index, label and name of a dataset."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deeper import files
from deeper.errors import DatasetError, printable
from deeper.records import info as dataset_info
from deeper.records import rejected as rejections
from deeper.records import tfrecord
from deeper.records.info import SPLITS, DatasetInfo, ShardInfo
from deeper.records.salvage import Stretch, stretches
from deeper.records.sums import counted_pixels

Progress = Callable[[int, int], None]
_SHARD = re.compile(r"(train|validation|test)-.*\.tfrecord")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is not as it was written. `offset`, `size`, `id`: of a damaged record."""

    file: str
    what: str
    offset: int | None = None
    size: int | None = None
    id: str | None = None

    def __str__(self) -> str:
        place = "" if self.offset is None else f" at byte {self.offset}"
        name = "" if self.id is None else f" (id {printable(self.id)})"
        return f"{self.file}{place}{name}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What a check found. `records`: those in the shards that are sound; `damaged`: stretches of bytes that are not."""

    path: Path
    records: int
    damaged: int
    bytes: int
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        """True when nothing at all is wrong."""
        return not self.problems


@dataclass
class ShardSurvey:
    """One shard as it is on disk. `listed`: as `dataset.json` has it, None when that cannot be read."""

    split: str
    file: str
    listed: ShardInfo | None
    records: list[Stretch] = field(default_factory=list)
    """Sound ones, in order."""
    problems: list[Problem] = field(default_factory=list)
    missing: bool = False
    bytes: int = 0

    @property
    def lossy(self) -> bool:
        """True when some bytes of it are no sound record."""
        return self.missing or any(problem.offset is not None for problem in self.problems)


@dataclass
class Survey:
    """A whole dataset as it is on disk."""

    path: Path
    info: DatasetInfo | None
    """None when `dataset.json` is not as it was written."""
    classes: tuple[str, ...]
    shards: list[ShardSurvey]
    unlisted: list[str]
    """Shards that `dataset.json` does not know."""
    problems: list[Problem]
    """Of the folder; a shard has its own."""

    def report(self) -> VerifyReport:
        problems = [*self.problems, *(problem for shard in self.shards for problem in shard.problems)]
        return VerifyReport(
            path=self.path,
            records=sum(len(shard.records) for shard in self.shards),
            damaged=sum(problem.offset is not None for problem in problems),
            bytes=sum(shard.bytes for shard in self.shards),
            problems=tuple(problems),
        )


def verify(path: str | Path, progress: Progress | None = None) -> VerifyReport:
    """Check every byte of a dataset. `progress` is called with (bytes read, bytes in all).

    Raises: DatasetError, when `path` is no dataset at all.
    """
    return survey(Path(path), progress).report()


def survey(path: Path, progress: Progress | None = None) -> Survey:
    """Read everything there is, damaged or not. Raises: DatasetError, when `path` is no dataset at all."""
    found = sorted(entry.name for entry in path.iterdir() if _SHARD.fullmatch(entry.name)) if path.is_dir() else []
    if not found and not (path / dataset_info.FILE).exists():
        dataset_info.load(path)  # raises: says that this is no dataset
    problems: list[Problem] = []
    info: DatasetInfo | None = None
    try:
        info = dataset_info.load(path)
    except DatasetError as error:
        if isinstance(error, dataset_info.NewerDatasetError):
            raise
        problems.append(Problem(file=dataset_info.FILE, what=str(error).partition(";")[0]))
    if info is not None:
        shards = [ShardSurvey(name, shard.file, shard) for name, split in info.splits.items() for shard in split.shards]
    else:
        split_of = {name: match[1] for name in found if (match := _SHARD.fullmatch(name))}
        shards = [ShardSurvey(name, file, None) for name in SPLITS for file in found if split_of[file] == name]
    unlisted = sorted(set(found) - {shard.file for shard in shards})
    problems += [Problem(file=name, what="a shard that dataset.json does not list") for name in unlisted]
    total = sum(_size(path / shard.file) for shard in shards)
    done = 0
    for shard in shards:
        _read(path, shard)
        done += shard.bytes
        if progress:
            progress(done, total)
    classes = _classes(info, shards, problems)
    _check_records(shards, classes)
    if info is not None:
        problems += _check_counts(path, info, shards)
    return Survey(path, info, classes, shards, unlisted, problems)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _read(folder: Path, shard: ShardSurvey) -> None:
    path, index = folder / shard.file, folder / tfrecord.index_path(Path(shard.file))
    if not path.is_file():
        shard.missing = True
        shard.problems.append(Problem(file=shard.file, what="missing"))
        return
    shard.bytes = _size(path)
    text = index.read_bytes() if index.is_file() else b""
    hints = [int(word) for word in text.split()[::2] if word.isdigit() and len(word) < 19]
    sizes = []
    for stretch in stretches(path, hints):
        if stretch.problem is None:
            shard.records.append(stretch)
            sizes.append(stretch.size)
        else:
            shard.problems.append(_damage(shard, stretch, stretch.problem))
    if not shard.lossy and text != tfrecord.index_text(sizes):
        what = "does not match the records" if index.is_file() else "missing"
        shard.problems.append(Problem(file=index.name, what=what))
    listed = shard.listed
    if listed is None:
        return
    if shard.bytes != listed.bytes or files.sha256(path) != listed.sha256:
        # Every record may be sound all the same: a file that was swapped, or a record cut off at its end.
        shard.problems.append(
            Problem(file=shard.file, what="is not the file that was written (size or SHA-256 differs)")
        )
    if not shard.lossy and len(shard.records) != listed.count:
        what = f"has {len(shard.records):,} records where dataset.json says {listed.count:,}"
        shard.problems.append(Problem(file=shard.file, what=what))


def _damage(shard: ShardSurvey, stretch: Stretch, what: str) -> Problem:
    return Problem(file=shard.file, what=what, offset=stretch.offset, size=stretch.size, id=stretch.id)


def _classes(info: DatasetInfo | None, shards: Sequence[ShardSurvey], problems: list[Problem]) -> tuple[str, ...]:
    """As `dataset.json` says; without it as most records say."""
    if info is not None:
        return info.classes
    votes: dict[int, Counter[str]] = {}
    for facts in (stretch.facts for shard in shards for stretch in shard.records):
        if facts is not None and facts.label >= 0:
            votes.setdefault(facts.label, Counter())[facts.text] += 1
    missing = [label for label in range(max(votes, default=-1) + 1) if label not in votes][:10]
    if missing:
        problems.append(Problem(file=dataset_info.FILE, what=f"no record tells the names of classes {missing}"))
    return tuple(
        min(votes[label], key=lambda name: (-votes[label][name], name)) if label in votes else f"class {label}"
        for label in range(max(votes, default=-1) + 1)
    )


def _check_records(shards: Sequence[ShardSurvey], classes: Sequence[str]) -> None:
    """Labels, names and ids, across shards. What fails is damage: its record is sound in itself, but not here."""
    seen: dict[str, str] = {}
    for shard in shards:
        sound = []
        for stretch in shard.records:
            facts = stretch.facts
            assert facts is not None, "a sound record has facts"
            if not 0 <= facts.label < len(classes):
                what = f"label {facts.label} where the classes are 0..{len(classes) - 1}"
            elif facts.text != classes[facts.label]:
                what = f"label {facts.label} is {printable(classes[facts.label], 60)!r}, the record says {printable(facts.text, 60)!r}"
            elif facts.id in seen:
                what = f"its id stands in {seen[facts.id]} too"
            else:
                seen[facts.id] = shard.file
                sound.append(stretch)
                continue
            shard.problems.append(_damage(shard, stretch, what))
        shard.records = sound


def _check_counts(path: Path, info: DatasetInfo, shards: Sequence[ShardSurvey]) -> Iterator[Problem]:
    lossy = {shard.split for shard in shards if shard.lossy}
    for name, counts in counted(shards, len(info.classes)).items():
        if name not in lossy and counts != info.splits[name].per_class:
            yield Problem(file=dataset_info.FILE, what=f"the counts of {name} are not those of its records")
    fewest, most = training_pixels(shards)
    if "train" not in lossy and not fewest <= info.moments.pixels <= most:
        what = f"mean and deviation are of {info.moments.pixels:,} pixels where train has {most:,}"
        yield Problem(file=dataset_info.FILE, what=what)
    if not (path / rejections.FILE).is_file():
        yield Problem(file=rejections.FILE, what="missing")
    elif rejections.is_damaged(path):
        yield Problem(file=rejections.FILE, what="damaged: no CSV that can be read")
    elif (listed := len(rejections.read_rejected(path))) != info.rejected:
        yield Problem(file=rejections.FILE, what=f"has {listed:,} pictures where dataset.json says {info.rejected:,}")


def training_pixels(shards: Sequence[ShardSurvey]) -> tuple[int, int]:
    """The pixels that mean and deviation must be of, at least and at most."""
    facts = [stretch.facts for shard in shards if shard.split == "train" for stretch in shard.records]
    counts = [counted_pixels(one.height, one.width) for one in facts if one is not None]
    return sum(low for low, _ in counts), sum(high for _, high in counts)


def counted(shards: Sequence[ShardSurvey], classes: int) -> Mapping[str, tuple[int, ...]]:
    """Sound records per split and class."""
    counts: dict[str, Counter[int]] = {shard.split: Counter() for shard in shards}
    for shard in shards:
        counts[shard.split].update(stretch.facts.label for stretch in shard.records if stretch.facts is not None)
    return {name: tuple(count[label] for label in range(classes)) for name, count in counts.items()}
