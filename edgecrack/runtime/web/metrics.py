"""The run as Prometheus metrics, collected on request.

Each stream has its own registry, so two streams in one process do not collide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from edgecrack.machine_sensors.throttling import ThrottleState
from edgecrack.runtime.telemetry.machine_load import MachineSnapshot
from edgecrack.runtime.telemetry.stats import SourceState, StatsSnapshot
from edgecrack.runtime.web.status import LiveContext

__all__ = ["CONTENT_TYPE_LATEST", "StreamCollector", "metrics_text"]

# Name after "edgecrack_", the field of StatsSnapshot, and what it says.
_COUNTERS = (
    ("frames", "frames", "Frames inspected."),
    ("frames_dropped", "drops", "Frames of a live source replaced by newer ones."),
    ("frames_skipped", "skipped", "Frames left out on purpose: target rate or pause."),
    ("frames_stale", "stale", "Results thrown away because they were too old."),
    ("frames_corrupt", "corrupt_frames", "Frames that arrived damaged and were left out."),
    ("frames_with_cracks", "frames_with_cracks", "Frames with at least one crack pixel."),
    ("crack_pixels", "crack_pixels_total", "Crack pixels in all frames."),
    ("findings", "findings", "Cracks, each once."),
    ("source_reconnects", "reconnects", "Times that a lost source came back."),
    ("source_stalls", "stalls", "Times that an open source delivered nothing for too long."),
    ("source_open_failures", "open_failures", "Attempts to open the source that failed."),
    ("source_size_changes", "size_changes", "Times that the frames' size changed."),
    ("throttle_episodes", "throttle_episodes", "Times that the machine began to be throttled."),
    ("throttled_seconds", "throttled_s", "Seconds that the machine was throttled."),
    ("throttled_frames", "throttled_frames", "Frames inspected while it was throttled."),
)
_GAUGES = (
    ("frame_rate_hertz", "fps", "Frames inspected per second over the last three seconds."),
    ("last_frame_crack_pixels", "crack_pixels", "Crack pixels in the last frame."),
    ("inspected_ratio", "inspected_ratio", "Share of the last frame that was inspected, 0 to 1."),
    ("ignored_ratio", "ignored_ratio", "Share of the last frame ignored on purpose, 0 to 1."),
    ("paused", "paused", "1 while a person has paused the inspection."),
    ("uptime_seconds", "elapsed_s", "Seconds since the stream started."),
)


def metrics_text(collector: Collector) -> bytes:
    """The text that Prometheus scrapes."""
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry)


class StreamCollector(Collector):
    """Reads all values at the time of the scrape.

    Args:
        context: the stream.
        viewers: returns the number of viewers.
        pictures_made: returns the number of pictures encoded for them.
    """

    def __init__(
        self, context: LiveContext, viewers: Callable[[], int], pictures_made: Callable[[], int]
    ) -> None:
        self._context, self._viewers, self._pictures_made = context, viewers, pictures_made

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        yield from _stream_metrics(self._context.stats())
        yield from _machine_metrics(self._context.machine.sample())
        yield from self._event_metrics()
        yield from self._recording_metrics()
        yield from self._page_metrics()

    def _event_metrics(self) -> Iterator[Metric]:
        counter = CounterMetricFamily("edgecrack_events", "Events by kind.", labels=["kind"])
        for kind, count in sorted(self._context.events.counts().items()):
            counter.add_metric([kind], count)
        yield counter

    def _recording_metrics(self) -> Iterator[Metric]:
        recorder = self._context.controls.recorder
        if recorder is None:
            return
        status = recorder.status()
        yield _gauge("recording_active", "1 while results are recorded.", status.active)
        yield _gauge("recording_failed", "1 where it stopped by itself.", bool(status.problem))
        yield _counter("recording_bytes", "Bytes recorded.", status.bytes_written)
        yield _counter("recording_parts", "Parts begun.", status.parts)
        text = "Frames not recorded since the disk was too slow."
        yield _counter("recording_frames_dropped", text, status.dropped)

    def _page_metrics(self) -> Iterator[Metric]:
        age_ms = self._context.latest.age_ms()
        if age_ms is not None:
            yield _gauge("picture_age_seconds", "Age of the newest picture.", age_ms / 1000)
        yield _gauge("threshold", "Decision threshold, 0 to 1.", self._context.controls.threshold)
        yield _gauge("viewers", "Viewers of the live page.", self._viewers())
        yield _counter("page_pictures", "Pictures encoded for viewers.", self._pictures_made())
        info = GaugeMetricFamily(
            "edgecrack_run_info", "What runs; always 1.", labels=["source", "model", "version"]
        )
        about = self._context.about
        info.add_metric([about.get(key, "") for key in ("source", "model", "version")], 1)
        yield info


def _stream_metrics(stats: StatsSnapshot) -> Iterator[Metric]:
    for name, field, text in _COUNTERS:
        yield _counter(name, text, getattr(stats, field))
    for name, field, text in _GAUGES:
        yield _gauge(name, text, getattr(stats, field))
    latency = GaugeMetricFamily(
        "edgecrack_latency_seconds",
        "From capture to result, over the last 512 frames.",
        labels=["quantile"],
    )
    latency.add_metric(["0.5"], stats.latency_p50_ms / 1000)
    latency.add_metric(["0.95"], stats.latency_p95_ms / 1000)
    yield latency
    inference = GaugeMetricFamily(
        "edgecrack_inference_seconds",
        "Inside the network, over the last 512 frames.",
        labels=["quantile"],
    )
    inference.add_metric(["0.5"], stats.inference_p50_ms / 1000)
    yield inference
    state = GaugeMetricFamily(
        "edgecrack_source_state", "1 for the state that the source is in.", labels=["state"]
    )
    for name in get_args(SourceState):
        state.add_metric([name], stats.source_state == name)
    yield state
    throttling = GaugeMetricFamily(
        "edgecrack_throttling_state",
        "1 for what is known of throttling; unknown where the machine does not report it.",
        labels=["state"],
    )
    for name in get_args(ThrottleState):
        throttling.add_metric([name], stats.throttling == name)
    yield throttling
    shedding = stats.shedding != "nothing"
    yield _gauge("overloaded", "1 while an overloaded stream leaves work out.", shedding)


def _machine_metrics(machine: MachineSnapshot) -> Iterator[Metric]:
    yield _gauge("cpu_usage_ratio", "Load of all cores, 0 to 1.", machine.cpu_percent / 100)
    yield _gauge("memory_usage_ratio", "Memory in use, 0 to 1.", machine.memory_percent / 100)
    yield _gauge("resident_memory_bytes", "Memory of this process.", machine.process_rss_mb * 1e6)
    yield _gauge("threads", "Threads of this process.", machine.threads)
    if machine.open_files is not None:
        yield _gauge("open_files", "Open files and sockets.", machine.open_files)
    if machine.disk_free_bytes is not None:
        yield _gauge("disk_free_bytes", "Free where results go.", machine.disk_free_bytes)
    temperature = GaugeMetricFamily(
        "edgecrack_temperature_celsius", "Temperature by sensor.", labels=["sensor"]
    )
    for sensor, value_c in sorted(machine.temperatures.items()):
        temperature.add_metric([sensor], value_c)
    yield temperature


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"edgecrack_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"edgecrack_{name}", text, value=float(value))
