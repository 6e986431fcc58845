"""What the training pictures cost the network, and which of them a stage of the hardest shows.

Once a network answers most of its training pictures without doubt, most of a step is spent on what it knows. A stage with
`hardest` shows those that cost the most when they were judged, once, before the first such stage (Loshchilov and Hutter,
Online Batch Selection for Faster Training of Neural Networks, arXiv 1511.06343; Shrivastava et al., Training Region-based
Object Detectors with Online Hard Example Mining, arXiv 1604.03540). Pictures with wrong labels are among the hardest
too, and are learned: go through `deeper labels` first.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from deeper import draws
from deeper.batches import Pictures
from deeper.inference.network import evaluating

UNKNOWN = float("-inf")
"""The cost of a picture that was not judged: never among the hardest while another is left."""
# Seconds without a line at most.
SILENT = 20.0


def hardest(costs: Tensor, count: int) -> NDArray[np.int64]:
    """Positions of the `count` pictures that cost the most, rising. `costs`: float32 N. Of equal ones the earlier."""
    ranked = np.argsort(-costs.cpu().numpy(), kind="stable")
    return np.sort(ranked[:count]).astype(np.int64)


def judged(
    model: nn.Module,
    pictures: Pictures,
    shown: Callable[[NDArray[np.int64]], Tensor],
    *,
    seed: int,
    most: int,
    batch: int,
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
) -> Tensor | None:
    """What each picture costs the model in evaluation mode: the cross-entropy of its label. float32 N, on the processor.

    `shown`: pictures by position as the model takes them. `most`: how many are judged, those that the first epoch shows
    first; the others' costs are UNKNOWN. `batch`: how many at once. `stop`: asked after each batch; None where it said so.
    `say`: told how far it is, where that takes long.
    """
    told = time.perf_counter()
    costs = torch.full((len(pictures),), UNKNOWN)
    order = draws.order(seed, 0, pictures.keys)[:most].astype(np.int64)
    with evaluating(model), torch.no_grad():
        for start in range(0, len(order), batch):
            positions = order[start : start + batch]
            logits = model(shown(positions)).logits.float().cpu()
            labels = torch.from_numpy(pictures.labels[positions])
            costs[torch.from_numpy(positions)] = F.cross_entropy(logits, labels, reduction="none")
            done = start + len(positions)
            if done < len(order) and stop():
                return None
            if done < len(order) and time.perf_counter() - told > SILENT:
                say(f"judged {done:,} of {len(order):,} training pictures")
                told = time.perf_counter()
    return costs
