"""What a server counts, in the text format of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "headstart_requests", "Requests answered.", ["path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "headstart_request_seconds",
            "From a request's first line to its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batches = Histogram(
            "headstart_batch_images",
            "Images that passed through a network together.",
            ["model"],
            buckets=_BATCHES,
            registry=self._registry,
        )
        self._computed = Counter(
            "headstart_compute_seconds", "Seconds in the network.", ["model"], registry=self._registry
        )
        self.in_flight = Gauge(
            "headstart_requests_in_flight", "Requests being handled.", registry=self._registry
        )

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Counts one answer."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def computed(self, model: str, images: int, seconds: float) -> None:
        """Counts one batch."""
        self._batches.labels(model).observe(images)
        self._computed.labels(model).inc(seconds)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
