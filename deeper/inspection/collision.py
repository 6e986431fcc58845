"""The lead evidence: does a wrongly read picture, with a training distortion undone, look like the class it was given?

With an inverse: the judge reads x rightly, and reads T⁻¹(x), for some point of T's trained range, as the given class.

Without one, by neighbours: the judge reads x rightly, and among equally many training pictures of each, some T-distorted
picture of the given class lies nearer to x (in the judge's features) than every undistorted picture of the true class
and every undistorted one of the given class: not x itself is like the given class, but what T makes of that class is.

Only classes whose training pictures were distorted so count. A picture that the judge misreads itself never collides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeper.images import Preprocess
from deeper.inspection.library import Library
from deeper.inspection.reading import Reader
from deeper.inspection.tries import Forwards, Transform, Undone


@dataclass(frozen=True, eq=False)
class Cases:
    """Pictures to be tried. `rows`: int64 N, among the inspected ones. `images`: uint8 at the judge's size. `labels`,
    `given`: int64 N, the true class and the one that the run gave (of correct pictures: its second choice). `training`:
    as for `Reader.probabilities`. `judged`: int64 N, the judge's reading; `trust`: float32 N, its probability of the
    true class."""

    rows: NDArray[np.int64]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    given: NDArray[np.int64]
    training: NDArray[np.int64]
    judged: NDArray[np.int64]
    trust: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    @staticmethod
    def none(preprocess: Preprocess) -> Cases:
        """No pictures."""
        numbers = np.zeros(0, np.int64)
        images = np.zeros((0, preprocess.height, preprocess.width, preprocess.channels), np.uint8)
        return Cases(numbers, images, numbers, numbers, numbers, numbers, np.zeros(0, np.float32))

    @property
    def right(self) -> NDArray[np.bool_]:
        """Where the judge reads the picture as what it is."""
        same: NDArray[np.bool_] = self.judged == self.labels
        return same


@dataclass(frozen=True, eq=False)
class Hits:
    """Which cases collide. `number`: the most convincing try, −1 where none. `strength`: the judge's probability of the
    given class there, or by how much nearer the distorted picture lies. `neighbour`: position of that training picture,
    −1 where the method has none; `row`: where it stands among the pictures that were distorted together, by which its draw
    goes, −1 likewise."""

    collided: NDArray[np.bool_]
    number: NDArray[np.int64]
    strength: NDArray[np.float32]
    neighbour: NDArray[np.int64]
    row: NDArray[np.int64]

    @property
    def count(self) -> int:
        return int(self.collided.sum())


def by_inverse(reader: Reader, transform: Transform, cases: Cases, allowed: NDArray[np.bool_]) -> Hits:
    """`allowed`: bool K, classes whose training pictures went through the distortion."""
    number = np.full(len(cases), -1, np.int64)
    strength = np.zeros(len(cases), np.float32)
    tried = np.flatnonzero(cases.right & allowed[cases.given])
    readings = reader.tried(transform, cases.images[tried], cases.training[tried])
    given = cases.given[tried]
    for attempt, probabilities in enumerate(readings):
        of_given = probabilities[np.arange(len(tried)), given]
        better = (probabilities.argmax(1) == given) & (of_given > strength[tried])
        number[tried[better]] = attempt
        strength[tried[better]] = of_given[better]
    none = np.full(len(cases), -1, np.int64)
    return Hits(number >= 0, number, strength, none, none)


def by_neighbours(
    reader: Reader, transform: Transform, cases: Cases, allowed: NDArray[np.bool_], library: Library
) -> Hits:
    """As `by_inverse`, with training pictures of the given class distorted forwards instead."""
    number = np.full(len(cases), -1, np.int64)
    strength = np.zeros(len(cases), np.float32)
    neighbour = np.full(len(cases), -1, np.int64)
    drawn = np.full(len(cases), -1, np.int64)
    tried = cases.right & allowed[cases.given]
    folds = reader.folds(cases.training)
    for label, fold in sorted(set(zip(cases.given[tried].tolist(), folds[tried].tolist(), strict=True))):
        positions, distorted = library.distorted(label, transform, fold)
        if not len(positions):
            continue
        each = len(positions) // transform.tries
        rows = np.flatnonzero(tried & (cases.given == label) & (folds == fold))
        for row, features in zip(rows, reader.features(cases.images[rows], fold), strict=True):
            # A training picture is not its own neighbour.
            own = library.plain(int(cases.labels[row]), fold, but=int(cases.training[row]))
            plain = [library.plain(label, fold), own]
            nearest = max((float((part @ features).max()) for part in plain if len(part)), default=-1.0)
            closeness = distorted @ features
            best = int(closeness.argmax())
            gained = float(closeness[best]) - nearest
            if gained > 0:
                number[row], drawn[row] = divmod(best, each)
                strength[row], neighbour[row] = gained, positions[best]
    return Hits(number >= 0, number, strength, neighbour, drawn)


def collide(
    reader: Reader,
    method: Undone | Forwards,
    transform: Transform,
    cases: Cases,
    allowed: NDArray[np.bool_],
    library: Library,
) -> Hits:
    """Try `transform` (the distortion itself, or a placebo for it) in the way that suits the distortion `method`."""
    if isinstance(method, Undone):
        return by_inverse(reader, transform, cases, allowed)
    return by_neighbours(reader, transform, cases, allowed, library)
