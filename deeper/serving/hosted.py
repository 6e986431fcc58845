"""The models of a server: opened, watched, and exchanged while requests are answered."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from deeper.engines import EXPORT, export_folders
from deeper.errors import DeeperError, UsageError, nearest, printable
from deeper.images import Appearance
from deeper.prediction import Classifier
from deeper.serving.batching import Batcher
from deeper.web import Refused, facts

LOG = logging.getLogger("deeper.serving")
# Versions of a model that are answered, the newest included.
KEPT = 2
# Seconds after which a bundle that could not be opened is tried again, doubled each time up to the second.
_AGAIN = (2.0, 60.0)

Stamp: TypeAlias = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, eq=False)
class Version:
    """One bundle of a model. A request is answered by one and the same, from its first byte on."""

    hosted: Hosted
    number: int
    classifier: Classifier

    @property
    def name(self) -> str:
        """The model's."""
        return self.hosted.name

    @property
    def queue(self) -> Batcher:
        """Where pictures wait. All versions of a model share it."""
        assert self.hosted.batcher is not None
        return self.hosted.batcher

    def warm(self) -> None:
        """Run the engine once, so that the first request does not pay for its preparation."""
        fit = self.classifier.preprocess
        for count in (1, 2):
            self.classifier.answer(np.zeros((count, fit.height, fit.width, fit.channels), np.uint8))

    def describe(self) -> dict[str, Any]:
        """For `/api/models`."""
        one, fit = self.classifier, self.classifier.preprocess
        return {
            "name": self.name,
            "version": str(self.number),
            "classes": list(one.classes),
            "height": fit.height,
            "width": fit.width,
            "channels": fit.channels,
            "ground": _ground(one.info.appearance),
            "model": one.info.architecture.model,
            "engine": one.engine,
            "precision": one.precision,
            "card": one.info.card,
        }


class Hosted:
    """One model under its name. Versions count from 1; each exchange of the bundle, or of the export that runs it, makes
    another."""

    def __init__(self, name: str, path: Path, opened: Callable[[Path], Classifier]) -> None:
        self.name, self.path, self._opened = name, path, opened
        # Looked at before it is opened: what changes meanwhile is seen as a change.
        self._stamp = self._look()
        self.versions = [Version(self, 1, opened(path))]
        self.batcher: Batcher | None = None
        self._failed: Stamp = ()
        self._pause, self._not_before = 0.0, 0.0

    @property
    def current(self) -> Version:
        """The newest."""
        return self.versions[-1]

    def find(self, number: str) -> Version:
        """Raises: Refused, with 404."""
        for one in self.versions:
            if number == str(one.number):
                return one
        has = " and ".join(str(one.number) for one in self.versions)
        raise Refused(404, f"model {printable(self.name, 60)!r} has version {has} here, not {printable(number, 20)!r}")

    def exchange(self) -> bool:
        """Open the model again where it has changed. The old one serves until the new one is warm, and goes on where the new
        one cannot be used; that is tried again, for it may have been half written."""
        stamp = self._look()
        if not stamp or stamp == self._stamp or (stamp == self._failed and time.monotonic() < self._not_before):
            return False
        try:
            fresh = Version(self, self.current.number + 1, self._opened(self.path))
            old = self.current.classifier
            if fresh.classifier.preprocess != old.preprocess or fresh.classifier.classes != old.classes:
                raise UsageError("the new bundle has other classes or another size; restart the server for it")
            fresh.warm()
        except Exception as error:
            self._pause = min(2 * self._pause, _AGAIN[1]) if stamp == self._failed else _AGAIN[0]
            self._failed = stamp
            self._not_before = time.monotonic() + self._pause
            known = isinstance(error, DeeperError)
            LOG.warning(
                "the new bundle is not taken",
                exc_info=None if known else error,
                extra=facts(model=self.name, kept=str(self.current.number), reason=str(error)),
            )
            return False
        before, self._stamp, self._failed = self._stamp, stamp, ()
        if _source(fresh.classifier, before) == _source(fresh.classifier, stamp) and fresh.classifier.path == old.path:
            return False  # something else in the folder has changed, such as an export that is not used
        self.versions = [*self.versions, fresh][-KEPT:]
        LOG.info("a new version", extra=facts(model=self.name, version=fresh.number))
        return True

    def _look(self) -> Stamp:
        """What changes when the bundle or an export of it is replaced."""
        bundles = [self.path / "bundle" / "bundle.json", self.path / "bundle.json", self.path / EXPORT]
        exports = (one / EXPORT for folder in export_folders(self.path) for one in sorted(_folders(folder)))
        found = []
        for place in (*bundles, *exports):
            try:
                seen = os.stat(place)
            except OSError:
                continue
            found.append((str(place), seen.st_ino, seen.st_mtime_ns))
        return tuple(found)


def _source(classifier: Classifier, stamp: Stamp) -> list[tuple[str, int, int]]:
    """The part of a stamp that tells of the files that a classifier was read from."""
    return [one for one in stamp if Path(one[0]).parent == classifier.path]


def _folders(place: Path) -> list[Path]:
    try:
        return [one for one in place.iterdir() if not one.name.startswith(".")]
    except OSError:
        return []


def _ground(appearance: Appearance | None) -> str:
    """Whether the training pictures are light on `dark` or dark on `light`: what a drawing must look like."""
    return "light" if appearance is not None and sum(appearance.border) > 1 else "dark"


class Models:
    """All models of a server, by name."""

    def __init__(self, hosted: list[Hosted]) -> None:
        names = [one.name for one in hosted]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"two models are named {printable(name)!r}; name them apart: NAME=RUN")
            if not name or "/" in name or not name.isprintable():
                raise UsageError(
                    f"a model cannot be named {printable(name)!r}, for its name stands in addresses; name it: NAME=RUN"
                )
        self.by_name = {one.name: one for one in hosted}

    def find(self, name: str, version: str | None = None) -> Version:
        """Raises: Refused, with 404."""
        found = self.by_name.get(name)
        if found is None:
            raise Refused(404, f"no model {printable(name, 60)!r}{nearest(name, self.by_name)}")
        return found.current if version is None else found.find(version)

    @property
    def only(self) -> Version:
        """The one model of a server that has one. Raises: Refused, with 400."""
        if len(self.by_name) > 1:
            raise Refused(400, f"say which model: {', '.join(self.by_name)}")
        return next(iter(self.by_name.values())).current
