"""Numbers for Prometheus: requests, latencies, batches, the queue, and what the answers look like over time."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from deeper.prediction import Prediction
from deeper.serving.hosted import Models

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_CONFIDENCES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
# Paths that are counted by name; of others anyone could make up a million.
_PATHS = ("/predict", "/metrics", "/livez", "/readyz", "/api/models", "/")


class Metrics:
    """A registry of one server, so that several can live in a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "deeper_requests", "Requests by kind and status.", ["kind", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "deeper_request_seconds",
            "From the whole request to its answer.",
            ["kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "deeper_batch_pictures", "Pictures in a batch.", ["model"], buckets=_BATCHES, registry=self.registry
        )
        self.engine = Histogram(
            "deeper_batch_seconds", "A batch in the engine.", ["model"], buckets=_SECONDS, registry=self.registry
        )
        self.queued = Gauge(
            "deeper_queued_pictures", "Pictures that wait or are decoded now.", ["model"], registry=self.registry
        )
        # Drift shows here first: class shares that move, confidence that sinks, inputs that are unlike the training's.
        self.answers = Counter("deeper_answers", "Answers by class.", ["model", "class"], registry=self.registry)
        self.unsure = Counter("deeper_unsure_answers", "Answers not to be trusted.", ["model"], registry=self.registry)
        self.confidence = Histogram(
            "deeper_confidence", "Probability of the answer.", ["model"], buckets=_CONFIDENCES, registry=self.registry
        )

    def note_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """One answered request."""
        kind = _kind(path)
        self.requests.labels(kind, str(status)).inc()
        self.seconds.labels(kind).observe(seconds)

    def note_answers(self, model: str, predictions: Iterable[Prediction]) -> None:
        """What was answered."""
        for one in predictions:
            self.answers.labels(model, one.label).inc()
            self.confidence.labels(model).observe(one.probability)
            if one.unsure:
                self.unsure.labels(model).inc()

    def text(self, models: Models) -> bytes:
        """In Prometheus' text format."""
        for name, hosted in models.by_name.items():
            self.queued.labels(name).set(hosted.batcher.pictures + hosted.batcher.coming if hosted.batcher else 0)
        return generate_latest(self.registry)


def _kind(path: str) -> str:
    if path in _PATHS:
        return path
    for start, name in (("/v2", "v2"), ("/v1", "v1"), ("/page/", "page")):
        if path.startswith(start):
            return name
    return "other"
