from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from edgecrack.machine_sensors.evidence import Evidence
from edgecrack.machine_sensors.throttling import ThrottleLook
from edgecrack.runtime.telemetry.machine_load import MachineSnapshot
from edgecrack.runtime.telemetry.stats import SourceHealth
from tests.runtime.web.rig import Rig, client
from tests.runtime.web.sockets import viewer

Samples = dict[tuple[str, str], float]


def read(text: str) -> tuple[Samples, dict[str, tuple[str, str]]]:
    """Values by name and labels; type and help by name."""
    values: Samples = {}
    kinds: dict[str, tuple[str, str]] = {}
    for family in text_string_to_metric_families(text):
        kinds[family.name] = (family.type, family.documentation)
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            assert (sample.name, labels) not in values
            values[sample.name, labels] = sample.value
    return values, kinds


def scrape(rig: Rig) -> tuple[Samples, dict[str, tuple[str, str]]]:
    with rig.server() as server, client(server) as http:
        answer = http.get("metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        return read(answer.text)


def test_the_counters_are_those_of_the_stream(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for index in range(5):
        rig.show_bar(index)
    rig.stats.set_counts(drops=7, skipped=3, findings=(2, 1))
    rig.stats.add_stale()
    health = SourceHealth("lost", reconnects=4, stalls=5, open_failures=6, corrupt_frames=8)
    rig.stats.set_state(health, "every second frame", True)
    rig.events.emit("source.lost", "gone")
    rig.events.emit("source.lost", "gone again")
    rig.recorder.start()
    rig.recorder.bytes_written = 12_345
    values, kinds = scrape(rig)
    expected = {
        "edgecrack_frames_total": 5, "edgecrack_frames_dropped_total": 7,
        "edgecrack_frames_skipped_total": 3, "edgecrack_frames_stale_total": 1,
        "edgecrack_frames_corrupt_total": 8, "edgecrack_frames_with_cracks_total": 5,
        "edgecrack_findings_total": 2, "edgecrack_source_reconnects_total": 4,
        "edgecrack_source_stalls_total": 5, "edgecrack_source_open_failures_total": 6,
        "edgecrack_paused": 1, "edgecrack_overloaded": 1, "edgecrack_threshold": 0.5,
        "edgecrack_recording_active": 1, "edgecrack_recording_failed": 0,
        "edgecrack_recording_bytes_total": 12_345,
        "edgecrack_recording_frames_dropped_total": 0, "edgecrack_viewers": 0,
        "edgecrack_page_pictures_total": 0,
    }  # fmt: skip
    assert {name: values[name, ""] for name in expected} == expected
    assert values["edgecrack_events_total", "kind=source.lost"] == 2
    assert values["edgecrack_source_state", "state=lost"] == 1
    assert values["edgecrack_source_state", "state=live"] == 0
    assert values["edgecrack_latency_seconds", "quantile=0.5"] == 0.012
    assert values["edgecrack_inference_seconds", "quantile=0.5"] == 0.003
    info = "model=bright.onnx,source=test camera,version=0.0"
    assert values["edgecrack_run_info", info] == 1
    assert kinds["edgecrack_frames"][0] == "counter"


def test_names_follow_the_conventions() -> None:
    _, kinds = scrape(Rig())
    assert len(kinds) > 25
    for name, (kind, text) in kinds.items():
        assert name.startswith("edgecrack_")
        assert text.endswith(".")
        assert kind in ("counter", "gauge")
        assert not name.endswith(("_ms", "_mb", "_percent", "_milliseconds"))


def test_the_machine_in_base_units(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    sample = MachineSnapshot(25.0, 50.0, 100.0, 61.0, {"cpu-thermal": 61.0}, 9, 20, 10**9)
    rig.context.machine.sample = lambda: sample  # type: ignore[method-assign]
    values, _ = scrape(rig)
    assert values["edgecrack_cpu_usage_ratio", ""] == 0.25
    assert values["edgecrack_memory_usage_ratio", ""] == 0.5
    assert values["edgecrack_resident_memory_bytes", ""] == 100e6
    assert values["edgecrack_temperature_celsius", "sensor=cpu-thermal"] == 61
    assert values["edgecrack_threads", ""] == 9
    assert values["edgecrack_disk_free_bytes", ""] == 1e9


def test_what_is_not_known_is_left_out() -> None:
    rig = Rig()
    rig.controls.recorder = None
    rig.context.machine.sample = lambda: MachineSnapshot(0, 1, 1, None)  # type: ignore[method-assign]
    values, _ = scrape(rig)
    names = {name for name, _ in values}
    for unknown in ("disk_free_bytes", "open_files", "temperature_celsius", "recording_active",
                    "picture_age_seconds"):  # fmt: skip
        assert f"edgecrack_{unknown}" not in names


def test_throttling_is_told_by_its_state_and_by_its_seconds() -> None:
    rig = Rig()
    values, _ = scrape(rig)
    assert values["edgecrack_throttling_state", "state=unknown"] == 1
    rig.machine(ThrottleLook("throttled", (Evidence("firmware", "too hot"),)), 6)
    values, kinds = scrape(rig)
    states = {state: values["edgecrack_throttling_state", f"state={state}"]
              for state in ("throttled", "not throttled", "unknown")}  # fmt: skip
    assert states == {"throttled": 1, "not throttled": 0, "unknown": 0}
    assert values["edgecrack_throttled_seconds_total", ""] == 6
    assert values["edgecrack_throttle_episodes_total", ""] == 1
    assert values["edgecrack_events_total", "kind=machine.throttled"] == 1
    assert kinds["edgecrack_throttled_seconds"][0] == "counter"


def test_a_machine_that_throttles_still_delivers() -> None:
    rig = Rig()
    rig.machine(ThrottleLook("throttled", (Evidence("firmware", "too hot"),)), 4)
    with rig.server() as server, client(server) as http:
        assert http.get("healthz").status_code == 200
        status = http.get("api/status").json()
        (event,) = http.get("api/events").json()["events"]
    assert (status["throttling"]["state"], status["stats"]["throttling"]) == ("throttled",) * 2
    assert status["throttling"]["evidence"] == [{"kind": "firmware", "text": "too hot"}]
    assert event["kind"] == "machine.throttled"


def test_labels_may_hold_anything() -> None:
    rig = Rig()
    odd = 'quo"te \\ back\nline'
    rig.context.about["source"] = odd  # type: ignore[index]
    values, _ = scrape(rig)
    assert any("quo" in labels and "\n" in labels for name, labels in values if "info" in name)


def test_viewers_and_their_pictures_are_counted() -> None:
    rig = Rig()
    rig.show_bar(0)
    with rig.server() as server, viewer(server) as page, client(server) as http:
        page.picture()
        values, _ = read(http.get("metrics").text)
    assert values["edgecrack_viewers", ""] == 1
    assert values["edgecrack_page_pictures_total", ""] == 1
    assert values["edgecrack_picture_age_seconds", ""] >= 0


def test_two_streams_in_one_process_do_not_meet() -> None:
    first, second = Rig(), Rig()
    first.show_bar(0)
    assert scrape(first)[0]["edgecrack_frames_total", ""] == 1
    assert scrape(second)[0]["edgecrack_frames_total", ""] == 0
