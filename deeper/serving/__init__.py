"""The prediction server: a page for people, and the protocols that clients speak.

    deeper serve runs/first cats=runs/second

One queue and one engine per model; every way to ask, from the page to a binary tensor, ends in the same batch.
"""

from __future__ import annotations

from deeper.serving.application import ServingOptions, application
from deeper.serving.batching import Batcher
from deeper.serving.hosted import Hosted, Models

__all__ = ["Batcher", "Hosted", "Models", "ServingOptions", "application"]
