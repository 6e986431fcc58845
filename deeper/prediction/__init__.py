"""From pictures of any kind to ranked class names, and what people do with those."""

from __future__ import annotations

from deeper.prediction.answers import Failed, Named, Pause, Prediction
from deeper.prediction.classifier import Classifier, OnError, Picture

__all__ = ["Classifier", "Failed", "Named", "OnError", "Pause", "Picture", "Prediction"]
