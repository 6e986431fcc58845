"""Would more pictures help? Errors at growing numbers of training pictures, a power law through them, and what it says.

Errors of networks fall as a power of the number of training pictures over wide ranges (Hestness et al., Deep Learning
Scaling is Predictable, Empirically, arXiv 1712.00409), until they come near what no number of pictures removes, such
as wrong labels. So an extrapolation is an upper bound of what to hope for, and short ones only are made here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deeper import draws
from deeper.errors import UsageError
from deeper.statistics import student_quantile, wilson_interval

Verdict = Literal["yes", "hardly", "cannot tell"]
# Resamples of the pictures and seeds; what is read off are the 2.5 and 97.5 % points.
RESAMPLES = 2000
# A gain below this share of the errors left, or below so much accuracy, is not worth more photographs.
SMALL_SHARE, SMALL_GAIN = 0.1, 0.002
# How far the law is followed, in times the pictures there are; first, what it gives for those.
TIMES = (1.0, 1.5, 2.0, 4.0)


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What the law gives for `times` as many pictures: accuracy and its 95 % interval."""

    times: float
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """Whether more pictures would help.

    `exponent`: of error = constant · pictures^−exponent, with its 95 % interval; twice the pictures divide the errors
    by 2^exponent. `flattens`: whether the curve bends at its end; then only its last two points are used. `gain`: of
    accuracy by twice the pictures, with its 95 % interval. `text`: the answer in words.
    """

    verdict: Verdict
    text: str
    exponent: float | None
    exponent_interval: tuple[float, float] | None
    flattens: bool
    gain: float | None
    gain_interval: tuple[float, float] | None
    reaches: tuple[Reach, ...]


def accuracy_interval(accuracies: Sequence[float], pictures: int) -> tuple[float, float]:
    """95 % interval of the mean accuracy of several seeds judged on the same `pictures`: Wilson's for the pictures,
    and Student's for the mean of the seeds, added in quadrature. Of a single seed Wilson's alone.

    The deviation is that of these seeds alone, since training on fewer pictures is more erratic: two or three seeds tell
    it badly, and Student's quantile is as wide as that.
    """
    mean = sum(accuracies) / len(accuracies)
    low, high = wilson_interval(round(mean * pictures), pictures)
    low, high = min(low, mean), max(high, mean)
    if len(accuracies) > 1:
        freedom = len(accuracies) - 1
        deviation = math.sqrt(sum((one - mean) ** 2 for one in accuracies) / freedom)
        seeds = student_quantile(freedom) * deviation / math.sqrt(len(accuracies))
        low, high = mean - math.hypot(mean - low, seeds), mean + math.hypot(high - mean, seeds)
    return max(0.0, low), min(1.0, high)


def _law(
    pictures: NDArray[np.float64], errors: NDArray[np.float64], judged: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Exponent and logarithm of the constant, by least squares of log error on log pictures.

    `errors`: shares of the `judged` pictures, … × shares. Half an error more of one picture more, so that none is not
    minus infinity. Weights: the inverse variance of the logarithm of a share, (1 − e) / (e · judged).
    """
    smooth = (errors * judged + 0.5) / (judged + 1)
    x, y = np.log(pictures), np.log(smooth)
    weights = smooth / (1 - smooth)
    weights = weights / weights.sum(-1, keepdims=True)
    middle_x, middle_y = (weights * x).sum(-1), (weights * y).sum(-1)
    across = x - middle_x[..., None]
    slope = (weights * across * y).sum(-1) / (weights * across**2).sum(-1)
    return -slope, middle_y - slope * middle_x


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _resampled(wrong: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Error shares that might have come out. Shape: RESAMPLES × shares.

    Pictures are weighted anew, the same for all shares since all judged the same ones (the Bayesian bootstrap: Rubin,
    Annals of Statistics 9:130, 1981), with one picture more for each share on which it alone errs: that the shares
    never disagreed on a hundred pictures does not mean that they never would. Seeds are too few for that: each mean
    moves by Student's t times its standard error, from the deviation of log errors between seeds pooled over the
    shares. With one seed per share only the pictures vary.
    """
    generator = np.random.Generator(np.random.PCG64(draws.derive(0, 0, "learning curve")))
    runs = np.concatenate(wrong)
    judged = runs.shape[1]
    # Pictures on which all runs did alike are as one: few kinds are left, since most are right throughout.
    kinds, counts = np.unique(runs, axis=1, return_counts=True)
    ends = np.cumsum([len(one) for one in wrong])
    alone = np.zeros((len(runs), len(wrong)), bool)
    for share, end in enumerate(ends):
        alone[end - len(wrong[share]) : end, share] = True
    kinds = np.concatenate([kinds, alone], axis=1)
    weights = generator.standard_gamma(np.concatenate([counts, np.ones(len(wrong))]), (RESAMPLES, kinds.shape[1]))
    per_run = weights @ kinds.T.astype(np.float64) / weights.sum(1, keepdims=True)  # RESAMPLES × runs
    shares = np.stack([part.mean(1) for part in np.split(per_run, ends[:-1], axis=1)], 1)
    freedom = sum(len(one) - 1 for one in wrong)
    if freedom:
        logs = [np.log((one.sum(1) + 0.5) / (judged + 1)) for one in wrong]
        variance = sum(float(((one - one.mean()) ** 2).sum()) for one in logs) / freedom
        errors = np.sqrt([variance / len(one) for one in wrong])
        shares = np.minimum(1.0, shares * np.exp(generator.standard_t(freedom, shares.shape) * errors))
    return shares


def extrapolate(pictures: Sequence[int], wrong: Sequence[NDArray[np.bool_]], *, guessing: float = 0.0) -> Extrapolation:
    """The answer from `wrong`: per share seeds × judged pictures, the same pictures throughout, rising shares. `guessing`:
    the accuracy of always giving the most frequent class; runs that may be no better have not learned, and tell nothing.

    The verdict: `hardly`, where the whole interval of the gain by twice the pictures is below what would be worth it, a
    tenth of the errors left or 0.2 points; else `yes`, where it is above 0.

    Raises: UsageError, for fewer than three shares: a line through two points says nothing about itself; and for counts
    that do not rise, through which there is none.
    """
    if len(pictures) < 3:
        raise UsageError(f"an extrapolation needs at least three shares, got {len(pictures)}")
    if any(few >= many for few, many in pairwise(pictures)):
        raise UsageError(f"an extrapolation needs rising numbers of pictures, got {', '.join(map(str, pictures))}")
    x = np.array(pictures, np.float64)
    judged = wrong[0].shape[1]
    errors = np.array([one.mean() for one in wrong])
    resampled = _resampled(wrong)
    if not wrong[-1].any():
        return _none(f"cannot tell: no error is left on the {judged:,} validation pictures; judge by more of them")
    right = (~wrong[-1]).mean(1).tolist()
    if accuracy_interval(right, judged)[0] <= guessing:
        return _none(
            f"cannot tell: the runs on most photographs are not surely better than always giving the most frequent class "
            f"({100 * float(np.mean(right)):.2f} % right instead of {100 * guessing:.2f} %); train longer, or judge by more "
            "validation pictures"
        )
    first, _ = _law(x[:2], resampled[:, :2], judged)
    last, _ = _law(x[-2:], resampled[:, -2:], judged)
    flattens = float(np.quantile(first - last, 0.025)) > 0
    used = slice(-2, None) if flattens else slice(None)
    exponent, constant = _law(x[used], errors[used], judged)
    # A curve may bend too little to be seen and still betray the law: intervals hold what its end alone would say, too.
    laws = [_law(x[part], resampled[:, part], judged) for part in (used, slice(-2, None))]

    def share(times: float, power: NDArray[np.float64], factor: NDArray[np.float64]) -> NDArray[np.float64]:
        errors_there: NDArray[np.float64] = np.minimum(1.0, np.exp(factor - power * np.log(times * x[-1])))
        return errors_there

    def hull(values: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
        ranges = [_range(one) for one in values]
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    reaches = tuple(
        Reach(
            times=times,
            accuracy=float(1 - share(times, exponent, constant)),
            interval=hull([1 - share(times, *law) for law in laws]),
        )
        for times in TIMES
    )
    gain = float(share(1, exponent, constant) - share(2, exponent, constant))
    interval = hull([share(1, *law) - share(2, *law) for law in laws])
    small = max(SMALL_GAIN, SMALL_SHARE * float(errors[-1]))
    verdict: Verdict = "cannot tell"
    if interval[1] < small:
        verdict = "hardly"
    elif interval[0] > 0:
        verdict = "yes"
    shown = f"{gain * 100:+.2f} points of accuracy by twice the photographs (95 % interval {_points(interval)})"
    text = {
        "yes": f"yes, most likely{'' if gain > small else ', a little'}: {shown}, if the curve goes on as it did",
        "hardly": f"hardly: {shown}",
        "cannot tell": f"cannot tell: {shown}; more seeds (--seeds) or more validation pictures would tell",
    }[verdict]
    if exponent < 0 and verdict == "cannot tell":
        text = f"cannot tell: errors do not fall with the number of photographs ({shown}); train longer, or with more seeds"
    if flattens:
        text += "; the curve flattens, so only its end was followed"
    return Extrapolation(
        verdict=verdict,
        text=text,
        exponent=float(exponent),
        exponent_interval=hull([powers for powers, _ in laws]),
        flattens=flattens,
        gain=gain,
        gain_interval=interval,
        reaches=reaches,
    )


def _points(interval: tuple[float, float]) -> str:
    return f"{interval[0] * 100:+.2f} to {interval[1] * 100:+.2f}"


def _none(text: str) -> Extrapolation:
    return Extrapolation(
        verdict="cannot tell",
        text=text,
        exponent=None,
        exponent_interval=None,
        flattens=False,
        gain=None,
        gain_interval=None,
        reaches=(),
    )
