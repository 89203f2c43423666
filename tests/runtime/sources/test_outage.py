"""A real RTSP server that goes away for ten seconds, comes back, and comes back in another size."""

from __future__ import annotations

import threading
import time

import pytest

from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline
from edgecrack.runtime.sources.open import open_live_source
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.sources.reconnecting import ReconnectPolicy
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.stats import StreamStats, StreamSummary
from tests.runtime.fakes import BrightDetector
from tests.runtime.rtsp import RtspServer
from tests.waiting import PATIENCE_S, wait_until

OUTAGE_S = 10.0


class Sizes:
    """Counts results by size."""

    name = "sizes"

    def __init__(self) -> None:
        self.counts: dict[tuple[int, int], int] = {}
        self.indices: list[int] = []

    def write(self, result: FrameResult) -> None:
        self.counts[result.frame.hw] = self.counts.get(result.frame.hw, 0) + 1
        self.indices.append(result.frame.index)

    def close(self) -> None:
        pass


@pytest.mark.slow
def test_a_camera_that_is_away_for_ten_seconds_and_comes_back_twice() -> None:
    stop, events, stats, sizes = threading.Event(), EventLog(), StreamStats(), Sizes()
    summaries: list[StreamSummary] = []
    policy = ReconnectPolicy(stall_timeout_s=30.0, longest_delay_s=1.0)
    with RtspServer() as server:
        server.start(320, 240)
        source = open_live_source(server.url, SourceOptions(timeout_ms=20_000), policy, events)
        config = PipelineConfig(stop=stop, events=events, stats=stats)
        runner = threading.Thread(
            target=lambda: summaries.append(run_pipeline(source, BrightDetector(), [sizes], config))
        )
        runner.start()
        try:
            through_two_outages(server, stats, sizes)
        finally:
            stop.set()
            runner.join(PATIENCE_S)
            source.close()
    assert not runner.is_alive()
    (summary,) = summaries
    assert summary.end_reason == "stopped"
    assert summary.stats.reconnects == 2
    assert summary.stats.size_changes == 1
    assert set(sizes.counts) == {(240, 320), (304, 400)}
    assert sizes.indices == sorted(set(sizes.indices))
    # A camera that loses its power in the middle of a picture has sent half of it.
    assert summary.stats.corrupt_frames <= 2
    kinds = [event.kind for event in events.recent() if event.kind != "source.corrupt"]
    assert kinds == ["source.lost", "source.recovered"] * 2 + ["source.size_changed"]


def through_two_outages(server: RtspServer, stats: StreamStats, sizes: Sizes) -> None:
    wait_until(lambda: sizes.counts.get((240, 320), 0) >= 10, "no frames")
    server.stop()
    wait_until(lambda: stats.snapshot().source_state == "lost", "the loss was not noticed")
    time.sleep(1)  # what was on its way when the loss was noticed still comes through
    before = len(sizes.indices)
    time.sleep(OUTAGE_S)
    wait_until(lambda: stats.snapshot().open_failures >= 5, "attempts")
    assert stats.snapshot().source_state == "lost"
    assert len(sizes.indices) == before
    server.start(320, 240)
    wait_until(lambda: len(sizes.indices) >= before + 10, "it did not come back")

    server.stop()
    server.start(400, 304)
    wait_until(lambda: sizes.counts.get((304, 400), 0) >= 10, "not in the new size")
