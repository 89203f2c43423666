"""A stream on a machine that throttles, from the kernel's files to `summary.json`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import httpx
import pytest

from edgecrack.runtime import session as session_module
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline
from edgecrack.runtime.session import open_session
from edgecrack.runtime.stream_config import StreamConfig
from edgecrack.runtime.telemetry import throttle_watch
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.throttle_watch import ThrottleWatch
from edgecrack.runtime.web.config import ServeConfig
from tests.machine_sensors.trees import orin, write
from tests.runtime.models import write_quick_model
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.usefixtures("one_demo_wall")


def test_it_is_in_the_events_and_in_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = write(tmp_path / "machine", orin(temperature_mc=99_500, alert=1))
    monkeypatch.setattr(session_module, "MACHINE_ROOT", machine)
    often = partial(ThrottleWatch, interval_s=0.01)
    monkeypatch.setattr(session_module, "ThrottleWatch", often)
    monkeypatch.setattr(throttle_watch, "ENDS_AFTER_S", 0.0)
    model = write_quick_model(tmp_path / "quick.onnx")
    config = StreamConfig(
        "demo?frames=2",
        tmp_path / "out",
        model=model,
        threads=1,
        save=("jsonl",),
        serve=ServeConfig(port=0),
    )
    events = EventLog()
    with open_session(config, events) as session:
        wait_until(lambda: "machine.throttled" in events.counts())
        assert session.page is not None
        shown = httpx.get(session.page + "api/status", timeout=PATIENCE_S).json()
        write(machine, orin())
        wait_until(lambda: "machine.recovered" in events.counts())
        pipeline = PipelineConfig(events=events, stats=session.stats, on_summary=session.part.end)
        run_pipeline(session.source, session.detector, session.sinks, pipeline)
    assert shown["stats"]["throttling"] == shown["throttling"]["state"] == "throttled"
    assert shown["throttling"]["temperature_c"] == 99.5
    lines = (tmp_path / "out" / "events.jsonl").read_text().splitlines()
    told = {line["kind"]: line for line in map(json.loads, lines)}
    begin = told["machine.throttled"]
    assert "100 °C, 1.3 of 1.3 GHz" in begin["message"]
    assert {each["kind"] for each in begin["evidence"]} == {"cooling", "trip point"}
    assert begin["power_mode"] == "pmode:0002"
    assert told["machine.recovered"]["state"] == "not throttled"
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["throttling"], summary["throttle_episodes"]) == ("not throttled", 1)
    assert summary["throttled_s"] >= 0
    assert summary["frames"] == 2
