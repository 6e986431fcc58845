"""Events of the training loop → screen, `metrics.jsonl`, TensorBoard.

    for event in train(…):
        for monitor in (console, metrics, board):
            monitor.handle(event)

Every monitor has `handle(event)` and `close()`. None of them changes the model, the gradients or any random
generator: a run is the same with and without them.
"""

from __future__ import annotations

from deeper.monitor.console import Console
from deeper.monitor.metrics_file import WALL_CLOCK_FIELDS, MetricsFile
from deeper.monitor.tensorboard import TensorBoard

__all__ = ["WALL_CLOCK_FIELDS", "Console", "MetricsFile", "TensorBoard"]
