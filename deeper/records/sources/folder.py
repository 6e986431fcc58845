"""Folders of pictures.

flowers/rose/1.jpg                 one sub-folder per class
flowers/train/rose/1.jpg           splits above the classes: train, validation, test, and how people spell them
flowers/rose/plant7/1.jpg          folders below a class belong to it
"""

from __future__ import annotations

from pathlib import Path

from deeper.errors import SourceError, printable
from deeper.records.sources.groups import groups_of
from deeper.records.sources.item import Item, Rejected
from deeper.records.sources.listing import Listing, digest, enumerated, in_natural_order, split_of
from deeper.records.sources.options import NO_OPTIONS, SourceOptions
from deeper.records.sources.walk import Found, Walk, clean, reject_equal_ids, walk


def open_folder(path: Path, *, options: SourceOptions = NO_OPTIONS) -> Listing:
    """A source from a folder with one sub-folder per class, perhaps below train/, validation/, test/.

    Ids are paths below `path`. Classes are the sub-folders with at least one file, in natural order.
    Raises: SourceError, for a folder that is empty or arranged in another way, with how to arrange it;
    UsageError, for a `group_by` that fits nothing.
    """
    shown = printable(path)
    found = walk(path)
    reject_equal_ids(found)
    splits = _splits(found, shown)
    depth = 2 if splits else 1
    notices: list[str] = []
    if splits:
        understood = ", ".join(f"{printable(folder)}/ as {split}" for folder, split in splits.items())
        notices.append(f"splits given by folders: {understood}")

    inside: list[Found] = []
    loose: list[Found] = []
    for file in found.files:
        (inside if len(file.parts) > depth else loose).append(file)
    class_folders = {parts[depth - 1] for parts in found.folders if len(parts) == depth}
    if not inside:
        raise SourceError(_nothing(shown, found, loose, class_folders, splits))
    rejected = [*found.rejected, *found.repeated]
    where = "beside the class folders" if not splits else "beside the class folders or the splits"
    rejected += [Rejected(file.id, f"lies {where}, so it has no class") for file in loose]

    classes = in_natural_order(file.parts[depth - 1] for file in inside)
    identifiers = [file.id for file in inside]
    # "folder" is a folder below the class: the class's own folder would put a whole class into one split.
    folders = ["/".join(file.parts[depth - 1 : -1]) if len(file.parts) > depth + 1 else None for file in inside]
    groups, group_notices = groups_of(identifiers, options.group_by, folders=folders)
    items = [
        Item(
            id=identifier,
            label=file.parts[depth - 1],
            split=splits[file.parts[0]] if splits else None,
            group=group,
            path=file.path,
            array=None,
            size=file.size,
        )
        for identifier, file, group in zip(identifiers, inside, groups)
    ]
    notices += _about_classes(classes, class_folders, found, depth, shown)
    notices += _about_skipped(found)
    if found.outputs:
        notices.append(f"passed over {_outputs(found)}: written by deeper, no pictures of yours")
    name = clean(path.resolve().name) or "pictures"
    return Listing(
        name=name,
        description=f"{printable(name, 60)}: {len(items):,} files in {len(classes)} class folders",
        classes=classes,
        list_items=lambda: items,
        identify=lambda: digest(["folder", *(f"{file.id}\0{file.size}\0{file.modified}" for file in inside)]),
        rejected=rejected,
        notices=(*notices, *group_notices),
        skipped=found.skipped.total(),
    )


def _splits(found: Walk, shown: str) -> dict[str, str]:
    """{top folder: split} where the top folders are splits, else {}."""
    tops = in_natural_order(parts[0] for parts in found.folders if len(parts) == 1)
    meant = {top: split for top in tops if (split := split_of(top))}
    others = [top for top in tops if top not in meant]
    if not others:
        return meant
    # One such name among others ("train" beside "bus") is a class; several are splits with something beside them.
    if len(set(meant.values())) > 1 and "train" in meant.values():
        raise SourceError(
            f"{shown!r} holds the splits {enumerated(list(meant))} and beside them {enumerated(others)}; "
            "wanted either splits only or classes only: move the others away"
        )
    return {}


def _nothing(shown: str, found: Walk, loose: list[Found], class_folders: set[str], splits: dict[str, str]) -> str:
    below = f"{min(splits, key=lambda folder: splits[folder] != 'train')}/" if splits else ""
    wanted = f"wanted one sub-folder per class, as {shown}/{below}cat/1.jpg and {shown}/{below}dog/1.jpg"
    if loose:
        example = printable(loose[0].id, 60)
        return (
            f"{shown!r} holds {len(loose)} files without class folders ({example!r} first); {wanted}: move the pictures "
            "of each class into a folder with its name, or list them in a .csv of path,label"
        )
    if found.rejected:
        first = found.rejected[0]
        return f"{shown!r} holds no usable file ({printable(first.id, 60)}: {first.reason}); {wanted}"
    if class_folders:
        return f"{shown!r} has class folders but no file in them ({enumerated(sorted(class_folders))}); {wanted}"
    if found.outputs:
        return f"{shown!r} holds no pictures, only what deeper wrote ({_outputs(found)}); {wanted}"
    if found.skipped:
        return f"{shown!r} holds no pictures, only {found.skipped.total()} files of other kinds; {wanted}"
    return f"{shown!r} is empty; {wanted}"


def _about_classes(classes: tuple[str, ...], class_folders: set[str], found: Walk, depth: int, shown: str) -> list[str]:
    notices = []
    empty = in_natural_order(class_folders - set(classes))
    if empty:
        notices.append(f"no files in {enumerated(empty)}: left out of the classes")
    inner = {parts[depth - 1] for parts in found.folders if len(parts) == depth + 1 and split_of(parts[depth])}
    if depth == 1 and len(inner) > len(classes) / 2:
        notices.append(
            f"{enumerated(in_natural_order(inner))} hold folders named like splits, which are read as parts of the class; put "
            "train, validation and test above the classes if they are meant"
        )
    if len(classes) == 1:
        below = {parts[depth] for parts in found.folders if len(parts) == depth + 1}
        if len(below) > 1:  # as archives unpack: one folder around all the others
            only = printable(classes[0])
            notices.append(f"{only!r} is the one class; if its sub-folders are the classes, give {shown}/{only}")
    return notices


def _outputs(found: Walk) -> str:
    return enumerated(["/".join(parts) for parts in found.outputs])


def _about_skipped(found: Walk) -> list[str]:
    if not found.skipped:
        return []
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(found.skipped.items()))
    return [f"skipped {counts}"]
