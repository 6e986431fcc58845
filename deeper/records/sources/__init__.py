"""Sources: from what a user names to a list of pictures with class, split and group.

    open_source("mnist")                     a named set: mnist, fashion-mnist, digits
    open_source("flowers/")                  one sub-folder per class, or train/ validation/ test/ above them
    open_source("table.csv")                 path,label[,split][,group]; also .tsv
    open_source("mnist.npz")                 arrays; open_source((images, labels)) the same from Python
    open_source("idx/")                      a folder of IDX files under MNIST's usual names

Kinds are told by what is there, never by trying to read. A source lists; it decodes nothing.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from deeper.errors import SourceError, UsageError, nearest, nearest_path, printable
from deeper.records.sources.item import Item, Rejected, Source
from deeper.records.sources.listing import Listing
from deeper.records.sources.options import NO_OPTIONS, SourceOptions

__all__ = ["Item", "Listing", "Rejected", "Source", "SourceOptions", "named_sets", "open_source"]

_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"}
_TABLES = {".csv", ".tsv", ".txt"}


def named_sets() -> tuple[str, ...]:
    """The names of the sets that `open_source` knows."""
    from deeper.records.sources import named

    return named.names()


def open_source(source: object, *, options: SourceOptions = NO_OPTIONS) -> Listing:
    """List the pictures of `source`: a name, a path, `(images, labels)`, or `{"train": (images, labels), …}`.

    A plain word that is the name of a set means the set; `./mnist` or a `Path` means the folder.
    Raises: SourceError, for what is missing, empty, or no source; UsageError, for options that do not fit.
    """
    listing = _listed(source, options)
    listing.options = options
    return listing


def _listed(source: object, options: SourceOptions) -> Listing:
    if isinstance(source, (tuple, list, Mapping)):
        from deeper.records.sources import arrays

        return arrays.open_arrays(source, options=options)  # type: ignore[arg-type]  # it checks what it is given
    if not isinstance(source, (str, Path)):
        raise SourceError(
            f"a {type(source).__name__} is no source; wanted a name, a path, or (images, labels) as arrays"
        )
    if source == "":
        raise SourceError("the source is an empty text, as of a variable that is not set; . is this folder")
    if options.shape is not None and Path(source).suffix.lower() != ".npz":
        raise UsageError(
            f"--shape is for arrays that hold each picture flat: those of {printable(source)!r} have their own; leave it out"
        )
    if isinstance(source, str) and source in named_sets():
        from deeper.records.sources import named

        if options.group_by is not None:
            raise UsageError(
                f"--group-by is for pictures of your own: no pictures of {source!r} belong together; leave it out"
            )
        _refuse_classes(source, options)
        listing = named.open_named(source)
        if Path(source).exists():
            listing.notices = (*listing.notices, f"{source!r} is the named set; write ./{source} for the folder")
        return listing
    return _open_path(source, Path(source), options)


def _open_path(given: str | Path, path: Path, options: SourceOptions) -> Listing:
    shown = printable(given)
    expected = (
        "wanted a folder with one sub-folder per class, a .csv, .tsv or .npz file, a folder of IDX files, "
        f"or one of {', '.join(named_sets())}"
    )
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        looks_like_name = isinstance(given, str) and "/" not in given and "." not in given
        hint = nearest(str(given), named_sets()) if looks_like_name else ""
        hint = hint if "did you mean" in hint else nearest_path(path)
        raise SourceError(f"{shown!r} does not exist; {expected}{hint}") from None
    except OSError as error:
        raise SourceError(f"{shown!r} cannot be opened ({error.strerror}); {expected}") from None
    if stat.S_ISDIR(mode):
        from deeper.records.sources import idx

        try:
            found = idx.find_idx(path)
        except OSError as error:
            raise SourceError(f"{shown!r} cannot be listed ({error.strerror}); {expected}") from None
        if found:
            return idx.open_idx_folder(path, options=options, found=found)
        from deeper.records.sources import folder

        _refuse_classes(given, options)
        return folder.open_folder(path, options=options)
    if not stat.S_ISREG(mode):
        raise SourceError(f"{shown!r} is neither a folder nor a file; {expected}")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        from deeper.records.sources import arrays

        return arrays.open_npz(path, options=options)
    if suffix in _TABLES:
        from deeper.records.sources.table import open_table

        _refuse_classes(given, options)
        return open_table(path, options=options)
    if suffix == ".npy":
        raise SourceError(f"{shown!r} holds one array; wanted images and labels: numpy.savez(path, images=…, labels=…)")
    if suffix in _ARCHIVES:
        raise SourceError(f"{shown!r} is an archive; unpack it and give the folder")
    raise SourceError(f"{shown!r} is no source; {expected}")


def _refuse_classes(given: str | Path, options: SourceOptions) -> None:
    if options.classes is not None:
        raise UsageError(
            f"classes are for arrays that hold indices: {printable(given)!r} names its classes itself; leave them out"
        )
