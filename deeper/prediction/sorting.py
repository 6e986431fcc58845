"""Copying classified pictures into a folder per class. Nothing that is there is ever overwritten."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from deeper import files
from deeper.errors import UsageError, printable
from deeper.prediction.answers import Prediction

# Where pictures go whose answer is not to be trusted.
UNSURE = "_unsure"


class Sorter:
    """Copies pictures into `folder/CLASS/`, and unsure ones into `folder/_unsure/CLASS/`.

    A class may be called anything, also `../x` or `a/b`: its folder has the nearest name that any system allows, and no
    two share one. Raises: UsageError, where `folder` is no folder.
    """

    def __init__(self, folder: str | Path, classes: Sequence[str]) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{printable(self.folder)} is no folder; give one, or a name that is free, to sort into")
        self.names: dict[str, str] = {}
        taken = {UNSURE}
        for label in classes:
            wanted = files.sanitize_name(label)
            free = next(
                name for number in itertools.count(1) if (name := wanted + f"-{number}" * (number > 1)) not in taken
            )
            taken.add(free)
            self.names[label] = free

    def place(self, one: Prediction) -> Path:
        """Copy the picture that `one.source` names; → where it is now. Raises: StorageError."""
        label = self.names[one.label]
        parent = self.folder / UNSURE / label if one.unsure else self.folder / label
        source = Path(one.source)
        with files.storage(self.folder):
            parent.mkdir(parents=True, exist_ok=True)
            data = source.read_bytes()
            for number in itertools.count(1):
                name = source.name if number == 1 else f"{source.stem}-{number}{source.suffix}"
                target = parent / name
                if not target.exists():
                    files.write_bytes(target, data)
                    return target
                if target.is_file() and target.stat().st_size == len(data) and target.read_bytes() == data:
                    return target  # copied before: sorting again changes nothing
        raise AssertionError("unreachable")
