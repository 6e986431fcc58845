"""Placeholder of this commit: replaced by the event files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deeper.training.events import Event


class TensorBoard:
    def __init__(self, folder: str | Path, classes: Sequence[str], *, first_step: int = 0) -> None:
        self.folder, self.classes, self.first_step = Path(folder), tuple(classes), first_step

    def handle(self, event: Event) -> None:
        pass

    def close(self) -> None:
        pass
