"""The second question, weak evidence: does the run itself get T(x) right where it got x wrong?

Forwards, as training distorted: would the run have known the picture in another of its forms? Asked of correct pictures
too, as a control (how often is T(x) read rightly at all?), and of the strongest placebo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deeper.batches import Pictures
from deeper.inference import Predict
from deeper.inspection.collision import Cases
from deeper.inspection.evidence import Weighed
from deeper.inspection.result import Evidence
from deeper.inspection.tries import Transform
from deeper.statistics import wilson_interval

_CUT = 250


@dataclass(frozen=True, eq=False)
class Rescued:
    """Which errors are read rightly once distorted, by the distortion and by its strongest placebo, and which correct
    pictures stay so. Each bool N."""

    errors: NDArray[np.bool_]
    placebo: NDArray[np.bool_]
    correct: NDArray[np.bool_]


def rescued(predict: Predict, pictures: Pictures, one: Weighed, errors: Cases, correct: Cases) -> Rescued:
    """`pictures`: the inspected ones, at the run's size."""
    return Rescued(
        read_rightly(predict, one.method, pictures, errors),
        read_rightly(predict, one.strongest, pictures, errors),
        read_rightly(predict, one.method, pictures, correct),
    )


def with_rescue(one: Evidence, found: Rescued) -> Evidence:
    """The same evidence, with this question answered."""
    errors, placebo, correct = (int(part.sum()) for part in (found.errors, found.placebo, found.correct))
    return replace(
        one,
        rescued=errors,
        rescued_interval=wilson_interval(errors, one.errors),
        placebo_rescued=placebo,
        placebo_rescued_interval=wilson_interval(placebo, one.errors),
        correct_rescued=correct,
        correct_rescued_interval=wilson_interval(correct, one.correct),
    )


def read_rightly(predict: Predict, transform: Transform | None, pictures: Pictures, cases: Cases) -> NDArray[np.bool_]:
    """Which cases the run reads rightly after some try of `transform`, forwards. bool N."""
    found = np.zeros(len(cases), np.bool_)
    if transform is None:
        return found
    for first in range(0, len(cases), _CUT):
        rows = np.arange(first, min(first + _CUT, len(cases)))
        images = pictures.take(cases.rows[rows])
        for number in range(transform.tries):
            left = ~found[rows]
            if not left.any():
                break
            read = predict(transform.forwards(images[left], number)).logits.argmax(1)
            found[rows[left]] = read == cases.labels[rows[left]]
    return found
