"""What a user can say about a source that the source itself does not say."""

from __future__ import annotations

from dataclasses import dataclass

from deeper.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How to read a source. Every field may be left out."""

    shape: tuple[int, ...] | None = None
    """Height, width and perhaps channels of one picture, where arrays hold it flat: `--shape 28 28`."""
    channels: int | None = None
    """1 (grey) or 3 (colour): what a build of this source converts pictures to when they are read."""
    group_by: str | None = None
    """What keeps pictures together in one split: the name of a column of a table, `folder` (of a folder of classes the one below the class, of a table the one a picture
    lies in), or a regular expression with one group, searched in the id: `--group-by '(plant[0-9]+)'`."""
    classes: tuple[str, ...] | None = None
    """Names of the classes whose indices arrays hold: `("cat", "dog")` for 0 and 1. Only for arrays and IDX files: other
    sources name their classes themselves."""

    def __post_init__(self) -> None:
        if self.shape is not None and (len(self.shape) not in (2, 3) or any(size < 1 for size in self.shape)):
            raise UsageError(f"shape {self.shape} is no picture; wanted height and width (and channels), as 28 28")
        if self.shape is not None and len(self.shape) == 3 and self.shape[2] not in (1, 3):
            raise UsageError(f"shape {self.shape} has {self.shape[2]} channels; wanted height, width and then 1 or 3")
        if self.channels not in (None, 1, 3):
            raise UsageError(f"{self.channels} channels; wanted 1 (grey) or 3 (colour)")
        if self.classes is not None:
            if len(set(self.classes)) != len(self.classes):
                raise UsageError("a class name stands twice in classes; wanted each once")
            if not all(name.strip() for name in self.classes):
                raise UsageError("an empty class name in classes; wanted a name for each index")


#: Nothing said: what a source is opened with by default.
NO_OPTIONS = SourceOptions()
