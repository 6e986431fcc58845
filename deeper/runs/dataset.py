"""From what the user names to a dataset: a dataset folder is opened, any other source is built first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deeper import files
from deeper.errors import DatasetError, SourceError, StorageError, printable
from deeper.records import BuildOptions, Dataset, build, open_source
from deeper.records.rejected import FILE, read_rejected
from deeper.records.sources import Item, Rejected
from deeper.records.stored import stored
from deeper.runs.folder import is_run


def is_dataset(path: Path) -> bool:
    return (path / "dataset.json").is_file()


def dataset_for(
    source: object,
    *,
    folder: Path | None = None,
    notice: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int], None] | None = None,
    judging: bool = False,
) -> Dataset:
    """The dataset behind `source`: a `Dataset`, its folder, or whatever `open_source` opens, arrays too.

    What is not a dataset yet is built into `datasets/NAME-FINGERPRINT` (under `folder`).

    A source that was built before and has not changed since is not built again. `judging`: a source that holds nothing to
    train on will do.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, (str, Path)) and is_dataset(Path(source)):
        return Dataset(source)
    if isinstance(source, (str, Path)) and is_run(Path(source)):
        raise SourceError(
            f"{printable(source)} is a run, not pictures; give a dataset or a source, such as the one it was trained on "
            "(config.toml names it)"
        )
    opened = open_source(source)
    name = files.sanitize_name(opened.name)
    target = (folder or Path("datasets")) / f"{name}-{opened.fingerprint()[:8]}"
    if is_dataset(target):
        notice(f"{target} was built from this source before and is used again")
        dataset = Dataset(target)
        _tell_refused(dataset, opened.items if dataset.info.rejected else (), notice)
        return dataset
    notice(f"building {target} from {opened.description}")
    # Pictures that are all for a test can be judged; training on them is refused when it is planned.
    judged_only = judging and len(opened.items) > 0 and all(item.split not in (None, "train") for item in opened.items)
    options = BuildOptions(missing_class="warn") if judged_only else BuildOptions()
    try:
        report = build(opened, target, options=options, progress=progress)
    except (DatasetError, StorageError):
        # Another process built the same in the meantime; two builds of a source are the same bytes.
        if not is_dataset(target):
            raise
        notice(f"{target} was built by another process meanwhile and is used")
        return Dataset(target)
    for line in report.notices:
        notice(line)
    dataset = Dataset(target)
    _tell_refused(dataset, (), notice)
    return dataset


def _tell_refused(dataset: Dataset, items: Sequence[Item], notice: Callable[[str], None]) -> None:
    """Say how many pictures are missing, and which of `items` would no longer be: a package may have been installed
    since, or a permission given. They are not taken in by themselves, for runs may stand on the dataset as it is."""
    if not dataset.info.rejected:
        return
    listed = dataset.path / FILE
    notice(f"{dataset.info.rejected:,} of the source's pictures cannot be used: {listed} says why")
    refused = {one.id for one in read_rejected(dataset.path)} if items else set()
    again = [item for item in items if item.id in refused]
    readable = sum(not isinstance(found, Rejected) for _, found in stored(again, 1))
    if readable:
        notice(f"{readable:,} of them can be read by now: remove {dataset.path}, and they are taken in")


def largest_side(dataset: Dataset) -> int:
    """The longer side of the largest picture, in pixels. Raises: DatasetError, for a dataset without pictures."""
    side = max(dataset.info.sizes.largest)
    if side < 1:
        raise DatasetError(f"{dataset.path} holds no picture; build it from a source that has some")
    return side
