"""`deeper verify --repair`: what is left of a damaged dataset, as a sound one.

Every sound record stays, in its shard and order. A shard that held damage is written anew without it; the file as it was
goes to the folder `damaged/` beside it, with a table of what was dropped, so that nothing is lost for good. At the end
`dataset.json` is written from what is there. Cut off half-way, a repair can simply be run again.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deeper import files, images
from deeper.errors import DatasetError, SourceError, UsageError, printable
from deeper.records import info as dataset_info
from deeper.records import picture, tfrecord
from deeper.records import rejected as rejections
from deeper.records.info import (
    FORMAT_VERSION,
    SPLITS,
    CorrectionsInfo,
    DatasetInfo,
    Moments,
    ShardInfo,
    Sizes,
    SplitInfo,
)
from deeper.records.lock import locked
from deeper.records.sums import moments, sum_moments
from deeper.records.verify import Progress, ShardSurvey, Survey, VerifyReport, counted, survey, training_pixels
from deeper.values import from_plain

DAMAGED = "damaged"
# What a `dataset.json` that cannot be read takes with it.
_LOST = (
    "its source, the seed of its splits and what --corrections changed are lost, and with --add new pictures go to train "
    "and excluded ones come back"
)


@dataclass(frozen=True, kw_only=True)
class RepairReport:
    """What a repair did. `before`: what the check found; `records`: in the dataset now; `aside`: where the damaged
    files are, None where none had to be set aside; `notices`: what could not be known any more."""

    before: VerifyReport
    records: int
    aside: Path | None
    notices: tuple[str, ...]


def repair(path: str | Path, progress: Progress | None = None) -> RepairReport:
    """Rebuild the maximal sound dataset from `path`, in place. A sound dataset is left as it is.

    Raises: DatasetError, when `path` is no dataset, another process is changing it, or no sound record is left;
    StorageError.
    """
    path = Path(path)
    if not path.is_dir():
        dataset_info.load(path)  # raises: says that this is no dataset
    with files.storage(path), locked(path):
        found = survey(path, progress)
        before = found.report()
        if before.sound:
            return RepairReport(before=before, records=before.records, aside=None, notices=())
        if not before.records:
            raise DatasetError(f"no sound record is left in {printable(path)}; build it again from its source")
        aside = _Aside(path)
        notices: list[str] = []
        shards = [(shard, _rewritten(path, shard, aside)) for shard in found.shards]
        for name in found.unlisted:
            aside.move(name)
            aside.move(tfrecord.index_path(Path(name)).name)
        if found.info is None:
            aside.copy(dataset_info.FILE)
        if not (path / rejections.FILE).is_file():
            rejections.write_rejected(path, [])
            notices.append(f"{rejections.FILE} was missing: which pictures the build refused is no longer known")
        elif rejections.is_damaged(path):
            aside.copy(rejections.FILE)
            rejections.write_rejected(path, [])
            notices.append(f"{rejections.FILE} was damaged: which pictures the build refused is no longer known")
        info = _info(found, [(shard, written) for shard, written in shards if written is not None], notices)
        aside.write_table(before)
        dataset_info.save(path, info)
    return RepairReport(
        before=before, records=info.count, aside=aside.folder if aside.used else None, notices=tuple(notices)
    )


class _Aside:
    """The folder for damaged files: `damaged`, or `damaged-2` … where an earlier repair has filled that."""

    def __init__(self, dataset: Path) -> None:
        self.dataset, self.used = dataset, False
        self.folder = next(folder for folder in files.numbered(dataset / DAMAGED) if not folder.exists())

    def copy(self, name: str) -> None:
        """Keep a file as it is now; the dataset's own may then be replaced."""
        source = self.dataset / name
        if not source.is_file():
            return
        self._open()
        try:
            # The file is replaced, not changed, so a second name for it is enough and takes no space.
            os.link(source, self.folder / name)
        except OSError:
            shutil.copyfile(source, self.folder / name)

    def move(self, name: str) -> None:
        if (self.dataset / name).is_file():
            self._open()
            (self.dataset / name).rename(self.folder / name)

    def write_table(self, before: VerifyReport) -> None:
        """What was found, one line each: file, offset, size, id, what."""
        if not self.used:
            return
        rows: list[tuple[object, ...]] = [("file", "offset", "size", "id", "what")]
        for problem in before.problems:
            numbers = ("" if number is None else number for number in (problem.offset, problem.size))
            rows.append((problem.file, *numbers, problem.id or "", problem.what))
        text = "".join(map(files.csv_line, rows))
        files.write_bytes(self.folder / "damaged.csv", text.encode("utf-8", "backslashreplace"))

    def _open(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.used = True


def _rewritten(folder: Path, shard: ShardSurvey, aside: _Aside) -> ShardInfo | None:
    """The shard with its sound records only. None when there are none: the file goes."""
    path = folder / shard.file
    index = tfrecord.index_path(path)
    if shard.missing:
        aside.move(index.name)
        return None
    if shard.lossy:
        aside.copy(shard.file)
        aside.copy(index.name)
        if not shard.records:
            path.unlink()
            index.unlink(missing_ok=True)
            return None
        with path.open("rb") as old, files.writing(path) as new:
            for stretch in shard.records:
                old.seek(stretch.offset)
                new.write(old.read(stretch.size))
    elif not shard.records:
        aside.move(shard.file)
        aside.move(index.name)
        return None
    text = tfrecord.index_text([stretch.size for stretch in shard.records])
    if not index.is_file() or index.read_bytes() != text:
        files.write_bytes(index, text)
    return ShardInfo(file=shard.file, count=len(shard.records), bytes=path.stat().st_size, sha256=files.sha256(path))


def _info(found: Survey, kept: Sequence[tuple[ShardSurvey, ShardInfo]], notices: list[str]) -> DatasetInfo:
    facts = [stretch.facts for shard, _ in kept for stretch in shard.records if stretch.facts is not None]
    counts = counted([shard for shard, _ in kept], len(found.classes))
    splits = {
        name: SplitInfo(
            count=sum(counts.get(name, ())),
            per_class=counts.get(name, (0,) * len(found.classes)),
            shards=tuple(written for shard, written in kept if shard.split == name),
        )
        for name in SPLITS
        if name in counts or name == "train"
    }
    info = found.info or _remembered(found, max(item.channels for item in facts), notices)
    sums = _training_moments(found.path, kept, info.channels) if _retrained(found, kept) else info.moments
    lacking = [name for name, count in zip(found.classes, splits["train"].per_class) if not count]
    if lacking:
        notices.append(f"train has no picture left of {', '.join(repr(printable(name, 60)) for name in lacking[:8])}")
    return replace(
        info,
        classes=found.classes,
        splits=splits,
        moments=sums,
        mean=sums.mean(),
        deviation=sums.deviation(),
        sizes=Sizes.of([item.height for item in facts], [item.width for item in facts]),
        rejected=len(rejections.read_rejected(found.path)),
        versions=dataset_info.versions(),
    )


def _retrained(found: Survey, kept: Sequence[tuple[ShardSurvey, ShardInfo]]) -> bool:
    """Whether the training pictures are others than those that `dataset.json` gives mean and deviation of.

    The files decide, not the damage: a file cut off between two records, or one that an earlier repair has rewritten
    before it was cut off itself, is free of damage and holds fewer pictures all the same.
    """
    info = found.info
    fewest, most = training_pixels([shard for shard, _ in kept])
    if info is None or not fewest <= info.moments.pixels <= most:
        return True
    written = [one.sha256 for shard, one in kept if shard.split == "train"]
    return written != [shard.sha256 for shard in info.splits["train"].shards]


def _remembered(found: Survey, most_channels: int, notices: list[str]) -> DatasetInfo:
    """What a damaged `dataset.json` still says about where the pictures came from; the records say the rest."""
    try:
        plain: Any = files.read_json(found.path / dataset_info.FILE)
    except (OSError, ValueError, RecursionError):
        plain = None
    said = plain if isinstance(plain, dict) else {}
    notices.append(
        "dataset.json was not as it was written: classes, counts and statistics are taken from the records"
        + ("" if said else f"; {_LOST}")
    )
    channels = said.get("channels")
    if type(channels) is not int or channels not in (1, 3):
        channels = most_channels
        notices.append(
            f"channels are guessed to be {channels}, the most that any picture has: if the build was told otherwise "
            "with --channels, build all pictures anew"
        )
    nothing = Moments.none(channels)

    def text(key: str, otherwise: str | None) -> Any:
        return said[key] if isinstance(said.get(key), str) else otherwise

    def number(key: str) -> int:
        value = said.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    drawn = said.get("drawn")
    shares = drawn.items() if isinstance(drawn, dict) else ()
    added = [int(match[1]) for shard in found.shards if (match := re.search(r"-added(\d{3})", shard.file))]
    return DatasetInfo(
        format_version=FORMAT_VERSION,
        name=text("name", found.path.name),
        source=text("source", "recovered from its records by deeper verify --repair"),
        classes=found.classes,
        channels=channels,
        mean=nothing.mean(),
        deviation=nothing.deviation(),
        moments=nothing,
        sizes=Sizes.of([], []),
        splits={},
        drawn={key: share for key, share in shares if key in SPLITS and isinstance(share, float) and 0 < share < 1},
        seed=number("seed"),
        group_by=text("group_by", None),
        rejected=0,
        corrections=_remembered_corrections(said, notices),
        additions=max([number("additions"), *added]),
    )


def _remembered_corrections(said: Mapping[str, Any], notices: list[str]) -> CorrectionsInfo | None:
    if said.get("corrections") is None:
        return None
    try:
        return from_plain(CorrectionsInfo, said["corrections"], f"{dataset_info.FILE}: corrections")
    except UsageError as error:
        notices.append(
            f"{error}: what was corrected is lost, and --add of the same source brings excluded pictures back"
        )
        return None


def _training_moments(folder: Path, kept: Sequence[tuple[ShardSurvey, ShardInfo]], channels: int) -> Moments:
    """The sums over the training pictures that are left, decoded anew: those of the dropped ones cannot be known."""
    total = Moments.none(channels)
    for shard, written in kept:
        if shard.split != "train":
            continue
        for _, data in tfrecord.read(folder / written.file):
            try:
                pixels = images.to_channels(images.decode(picture.read_encoded(data)), channels)
            except SourceError as error:
                raise DatasetError(f"{printable(written.file)}: {error}") from None
            total = sum_moments([total, moments(pixels)])
    return total
