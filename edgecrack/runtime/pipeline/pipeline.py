"""Source -> prepare -> infer -> measure -> sinks, in threads that all end.

    capture thread   reads frames
    prepare thread   turns each into network input
    calling thread   infers and measures; Ctrl-C and the stop event reach it here
    writer thread    gives each result to the sinks

A recording never loses a frame: every thread waits for the next one. A live source keeps
only its newest frame, and what it replaced is counted. An error in any thread travels to
the calling thread and is raised there. Knows nothing of cameras, models or file formats.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgecrack.metrics.counting import uint8_level
from edgecrack.runtime.outputs.sinks import Sink
from edgecrack.runtime.pipeline.config import Detector, PipelineConfig
from edgecrack.runtime.pipeline.pipeline_run import PipelineRun
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.telemetry.stats import StreamSummary

__all__ = ["Detector", "PipelineConfig", "run_pipeline"]


def run_pipeline(
    source: Source,
    detector: Detector,
    sinks: Sequence[Sink],
    config: PipelineConfig | None = None,
) -> StreamSummary:
    """Run a source through a detector into sinks, and say what happened.

    The sinks are closed on every way out, so that what was written stays usable; the source
    stays the caller's to close. No thread is left behind, unless a camera driver hangs in a
    read that ignores its timeout.

    Raises:
        ConfigError: the detector's threshold is out of range.
        SourceError: the source failed; results up to there are written.
        OutputError: a sink failed; the error names it.
    """
    config = config or PipelineConfig()
    uint8_level(detector.threshold)
    return PipelineRun(source, detector, sinks, config).run()
