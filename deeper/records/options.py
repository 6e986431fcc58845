"""What a build is asked to do, and what it says it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deeper.errors import UsageError, printable

DEFAULT_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How a dataset is made from a source. Every field may be left out."""

    validation: float | int | None = None
    """Share of the training pictures that become the validation split (below 1), or how many (1 and more); 0 for none.
    Either way each class gives its share, and at least one picture where it has enough. Only where the source has no such
    split. Default: 0.1."""
    test: float | int | None = None
    """The same for the test split. Default: 0.1."""
    seed: int | None = None
    """Of the draw of the splits and of the stored order of the training pictures; 0 by default. With `add` the dataset's
    own holds; another is refused."""
    group_by: str | None = None
    """What keeps pictures together in one split, as in `SourceOptions`; written into dataset.json. A source that is opened
    already must have been opened with the same; what it was opened with need not be said again."""
    shard_megabytes: float = 64
    """A new file is begun when the next record would take it over this size."""
    workers: int | None = None
    """Processes that read and decode; all processors by default. The result does not depend on it."""
    channels: int | None = None
    """1 (grey) or 3 (colour): what pictures are converted to when read. Default: what the source was opened with, else 3
    if any picture has colour."""
    shape: tuple[int, ...] | None = None
    """Height and width (and channels) of a picture, where arrays hold it flat, as in `SourceOptions`."""
    add: bool = False
    """Append to the dataset instead of making a new one."""
    new_classes: bool = False
    """With `add`: classes that the dataset does not have get the next indices, instead of being refused."""
    missing_class: Literal["refuse", "warn"] = "refuse"
    """What to do when a class has no picture in train."""
    corrections: tuple[Path, ...] = ()
    """Files `corrections.csv` to apply; of several decisions about a picture the last holds. Splits are drawn by the
    labels as they were, so that with the first build's other options no picture changes its split."""

    def __post_init__(self) -> None:
        if isinstance(self.corrections, (str, Path)):  # one file, from Python
            object.__setattr__(self, "corrections", (Path(self.corrections),))
        if self.missing_class not in ("refuse", "warn"):
            raise UsageError(f"missing_class {printable(self.missing_class)!r}; wanted refuse or warn")
        for name, share in (("validation", self.validation), ("test", self.test)):
            if share is not None and not (0 <= share < 1 or (share >= 1 and float(share).is_integer())):
                raise UsageError(f"{name} {share} is neither a share below 1 nor a whole number of pictures")
        shares = [share for share in (self.validation, self.test) if share is not None and share < 1]
        if sum(shares) >= 1:
            raise UsageError(f"validation {self.validation} and test {self.test} leave nothing to train on")
        if not 0 < self.shard_megabytes <= 4096:
            raise UsageError(f"shards of {self.shard_megabytes} MB; wanted more than 0 and at most 4096")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"{self.workers} workers; wanted 1 or more")
        if self.channels not in (None, 1, 3):
            raise UsageError(f"{self.channels} channels; wanted 1 (grey) or 3 (colour)")
        if self.corrections and self.add:
            raise UsageError(
                "corrections go with a whole build; build all pictures anew with --corrections, without --add"
            )
        if self.new_classes and not self.add:
            raise UsageError("new_classes goes with add: a new dataset takes the classes of its source")


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build did. found = kept + rejected + skipped + excluded."""

    path: Path
    found: int
    """Pictures that the source listed, those that it refused itself included."""
    kept: int
    """Written by this build."""
    rejected: int
    """Not usable; each is in `rejected.csv` with its reason."""
    skipped: int
    """With `add`: in the dataset already, byte for byte."""
    excluded: int = 0
    """Left out, as the corrections say."""
    relabelled: int = 0
    """Kept with another class, as the corrections say."""
    splits: Mapping[str, int]
    """Pictures per split in the dataset as it is now."""
    classes: tuple[str, ...]
    seconds: float
    notices: tuple[str, ...]
    """What was chosen, warned about or left out, one line each."""
