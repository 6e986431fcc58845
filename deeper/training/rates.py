"""A search for the learning rate: train with a rate that rises from step to step, watch the loss, read a rate off.

Smith, Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186, section 3.3: the range test shows a lower
rate, with which the loss falls well, and an upper one, from which on it no longer does. Here the rise is exponential, as
in Gugger, How Do You Find A Good Learning Rate (2018), and the peak of a schedule is put midway between the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeper.errors import UsageError
from deeper.training.state import State
from deeper.training.stepping import Feed, Stepper

# The sweep ends when the loss is this many times its lowest smoothed value so far.
STOP_FACTOR = 4.0
# Deviation of the Gaussian, in powers of ten of the rate, within which neighbouring losses are smoothed. Unlike a
# running mean it looks both ways, so what it finds is not shifted towards larger rates.
SMOOTHING = 0.2
# A fall is believed when it is at least this share of the first loss and its slope this many standard errors steep.
LEAST_FALL, LEAST_CERTAINTY = 0.03, 3.0
_FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class RateSearch:
    """What a sweep showed. Arrays have one entry per step that was taken, in order.

    `rates`, `losses` (total loss of the step's batch), `smoothed`; `slopes`: change of the smoothed loss for a
    tenfold rate. `steepest`: the rate at which the smoothed loss falls most steeply. `lowest`: the rate at the lowest
    smoothed loss: from there on it is too high. `suggestion`: midway between them on the logarithmic scale, or None,
    and then `reason` says why. `diverged`: the rate at which the sweep was stopped, or None where it came to its end.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    slopes: NDArray[np.float64]
    suggestion: float | None
    steepest: float
    lowest: float
    diverged: float | None
    reason: str | None


def sweep(
    state: State,
    feed: Feed,
    *,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[list[float], list[float], float | None]:
    """Take `state.steps` real steps at the rates of its schedule, or fewer: until the loss is far above its lowest.

    Returns rates, losses of the batches at those rates before the step, and the rate at which it diverged or None.
    """
    stepper = Stepper(state, feed)
    rates: list[float] = []
    losses: list[float] = []
    mean, lowest = 0.0, math.inf
    for batch in feed.batches(state, 0, state.steps):
        rate = stepper.rate()
        state.meter.zero_()
        stepper.forward_backward(batch)
        loss = state.read_meter()["loss"]
        if not math.isfinite(loss):
            return rates, losses, rate
        rates.append(rate)
        losses.append(loss)
        # A running mean without its bias towards zero at the start: what can be known while the sweep runs.
        mean = 0.8 * mean + 0.2 * loss
        smooth = mean / (1 - 0.8 ** len(losses))
        lowest = min(lowest, smooth)
        if len(losses) > _FEWEST // 2 and smooth > STOP_FACTOR * lowest:
            return rates, losses, rate
        stepper.move()
        if progress:
            progress(len(losses), state.steps)
        if stop():
            raise KeyboardInterrupt
    return rates, losses, None


def _local_lines(
    x: NDArray[np.float64], y: NDArray[np.float64], deviation: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """At each x a line through its Gaussian neighbourhood: its height there, its slope, the slope's standard error."""
    heights, slopes, errors = (np.empty_like(x) for _ in range(3))
    for number, at in enumerate(x):
        weights = np.exp(-0.5 * ((x - at) / deviation) ** 2)
        total = weights.sum()
        middle = (weights * x).sum() / total
        spread = (weights * (x - middle) ** 2).sum()
        slope = (weights * (x - middle) * y).sum() / spread
        level = (weights * y).sum() / total
        heights[number], slopes[number] = level + slope * (at - middle), slope
        residuals = y - level - slope * (x - middle)
        count = total**2 / (weights**2).sum()  # Kish's effective number of points
        variance = (weights * residuals**2).sum() / total * count / max(1.0, count - 2)
        errors[number] = math.sqrt(variance * (weights**2 * (x - middle) ** 2).sum()) / spread
    return heights, slopes, errors


def read(rates: list[float], losses: list[float], diverged: float | None) -> RateSearch:
    """Smooth a sweep and read a rate off it.

    The rule: smooth the loss over the logarithm of the rate by local lines. Of the rates up to that of the lowest
    smoothed loss, take the one where it falls most steeply, and suggest the geometric mean of the two: as the peak of a
    schedule the former is too careful and the latter too bold (`benchmarks/found_rate.py`). No rate is suggested where
    the fall is not clear.

    Raises: UsageError, when the sweep took fewer than 20 steps before it diverged.
    """
    if len(losses) < _FEWEST:
        raise UsageError(
            f"the loss diverged after {len(losses)} steps, at a rate of {diverged or rates[-1]:.3g}: "
            "begin with a smaller one (--low), or take more steps (--steps)"
        )
    x = np.log10(np.array(rates))
    # One wild loss at the end must not tilt what is read before it.
    y = np.minimum(np.array(losses), STOP_FACTOR * np.median(losses[: len(losses) // 2]))
    smoothed, slopes, errors = _local_lines(x, y, SMOOTHING)
    bottom = int(np.argmin(smoothed))
    reason, suggestion = None, None
    fall = (smoothed[:bottom].max() - smoothed[bottom]) / abs(smoothed[0]) if bottom else 0.0
    steepest = int(np.argmin(slopes[: bottom + 1]))
    if fall < LEAST_FALL or slopes[steepest] > -LEAST_CERTAINTY * errors[steepest]:
        reason = "the loss never falls clearly: take more steps (--steps) or a larger batch (--batch)"
    elif x[steepest] - x[0] < SMOOTHING:
        reason = "the loss falls most steeply at the smallest rates that were tried: begin with a smaller one (--low)"
    elif diverged is None and x[-1] - x[bottom] < SMOOTHING:
        reason = "the loss still falls at the largest rate that was tried: end with a larger one (--high)"
    else:
        # Two digits: what is read off a noisy curve has no more.
        suggestion = float(f"{math.sqrt(rates[steepest] * rates[bottom]):.1e}")
    return RateSearch(
        rates=np.array(rates),
        losses=np.array(losses),
        smoothed=smoothed,
        slopes=slopes,
        suggestion=suggestion,
        steepest=float(rates[steepest]),
        lowest=float(rates[bottom]),
        diverged=diverged,
        reason=reason,
    )
