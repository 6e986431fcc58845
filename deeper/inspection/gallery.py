"""What is shown of the errors: their pictures, and for each collision what the run was taught to call by the wrong
name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper.batches import Pictures
from deeper.evaluation import Evaluation
from deeper.images import Preprocess
from deeper.inspection.collision import Cases
from deeper.inspection.evidence import Weighed
from deeper.inspection.grad_cam import grad_cam, overlaid
from deeper.inspection.library import Library
from deeper.inspection.reading import Reader
from deeper.inspection.result import MOST_COLLISIONS, MOST_LOOKED_AT, PICTURE_BYTES, SHOWN, Collision, Picture, Wrong
from deeper.inspection.subject import Subject
from deeper.inspection.tries import Forwards, Undone

_CUT = 250


def shown_size(preprocess: Preprocess) -> Preprocess:
    """The run's own view of a picture, no larger than is shown."""
    factor = min(1.0, SHOWN / max(preprocess.height, preprocess.width))
    return preprocess.at(max(1, round(preprocess.height * factor)), max(1, round(preprocess.width * factor)))


def looked_at(subject: Subject, pictures: Pictures, wrong: Sequence[Wrong]) -> tuple[Wrong, ...]:
    """The errors with Grad-CAM over the pictures of the surest. `pictures`: at the run's size. Unchanged where the network
    has no map to show."""
    some = wrong[:MOST_LOOKED_AT]
    done: list[Wrong] = []
    for first in range(0, len(some), _CUT):
        part = some[first : first + _CUT]
        images = pictures.take(np.array([one.position for one in part], np.int64))
        heats = []
        for names in ([one.predicted for one in part], [one.label for one in part]):
            targets = np.array([subject.classes.index(name) for name in names], np.int64)
            heats.append(grad_cam(subject.network, subject.preprocess, images, targets))
        given, true = heats
        if given is None or true is None:
            return tuple(wrong)
        for row, one in enumerate(part):
            over = overlaid(images[row], given[row]), overlaid(images[row], true[row])
            done.append(replace(one, attention=(_reduced(over[0]), _reduced(over[1]))))
    return (*done, *wrong[len(done) :])


def _reduced(picture: Picture) -> Picture:
    """No larger than is shown, and never enlarged."""
    image = Image.fromarray(picture)
    image.thumbnail((SHOWN, SHOWN), Image.Resampling.BILINEAR)
    return np.asarray(image)


def wrong_answers(
    subject: Subject,
    evaluation: Evaluation,
    pictures: Pictures,
    cases: Cases,
    weighed: Sequence[Weighed],
    rescues: Sequence[NDArray[np.bool_]],
) -> tuple[Wrong, ...]:
    """All errors, the surest first; those that were examined (`cases`) with what was found. `pictures`: as they are
    shown; kept of the surest errors, as far as the bytes last."""
    place = {int(row): index for index, row in enumerate(cases.rows)}
    names = [one.distortion.name for one in weighed]
    hits = [one.hits.collided for one in weighed]
    found = []
    left = PICTURE_BYTES

    def named(parts: Sequence[NDArray[np.bool_]], index: int | None) -> tuple[str, ...]:
        return tuple(name for name, part in zip(names, parts, strict=True) if index is not None and part[index])

    for mistake in evaluation.mistakes:
        index = place.get(mistake.position)
        picture = pictures.take(np.array([mistake.position]))[0] if left > 0 else None
        left -= picture.nbytes if picture is not None else 0
        found.append(
            Wrong(
                id=mistake.id,
                position=mistake.position,
                label=mistake.label,
                predicted=mistake.predicted,
                probability=mistake.probability,
                true_probability=mistake.true_probability,
                judged=subject.classes[cases.judged[index]] if index is not None else None,
                judge_probability=float(cases.trust[index]) if index is not None else None,
                collided_by=named(hits, index),
                rescued_by=named(rescues, index),
                picture=picture,
            )
        )
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Shown:
    """Where pictures are taken from. `inspected`: at `fit`'s size."""

    subject: Subject
    fit: Preprocess
    inspected: Pictures
    reader: Reader
    library: Library

    def collisions(self, one: Weighed, cases: Cases) -> tuple[Collision, ...]:
        """The most convincing first."""
        method, hits = one.method, one.hits
        if method is None:
            return ()
        rows = np.flatnonzero(hits.collided)
        rows = rows[np.argsort(-hits.strength[rows], kind="stable")][:MOST_COLLISIONS]
        return tuple(self._collision(method, int(row), int(hits.number[row]), one, cases) for row in rows)

    def _collision(self, method: Undone | Forwards, row: int, number: int, one: Weighed, cases: Cases) -> Collision:
        classes = self.subject.classes
        label, given = int(cases.labels[row]), int(cases.given[row])
        picture = self.inspected.take(cases.rows[row : row + 1])
        transformed: Picture | None = None
        position: int | None = int(one.hits.neighbour[row]) if one.hits.neighbour[row] >= 0 else None
        if isinstance(method, Undone):
            transformed = method(picture, number)[0]
            fold = int(self.reader.folds(cases.training[row : row + 1])[0])
            features = self.reader.features(method(cases.images[row : row + 1], number), fold)[0]
            near = self.library.nearest(features, given, fold)
            position = near[0] if near else None
        neighbour: Picture | None = None
        distorted: Picture | None = None
        if position is not None and isinstance(method, Forwards):
            # As they were compared: its own draw, at the judge's size. At another size noise is other noise.
            neighbour = self.library.picture(position, self.library.fit)
            distorted = method(neighbour[None], number, one.hits.row[row : row + 1])[0]
        elif position is not None:
            neighbour = self.library.picture(position, self.fit)
            distorted = method.forwards(neighbour[None], number)[0]
        return Collision(
            id=self.subject.chosen.ids[cases.rows[row]],
            label=classes[label],
            predicted=classes[given],
            undone=method.words(number),
            judge_probability=float(one.hits.strength[row]) if isinstance(method, Undone) else None,
            picture=picture[0],
            transformed=transformed,
            neighbour_id=self.library.split.ids[position] if position is not None else None,
            neighbour=neighbour,
            distorted=distorted,
        )
