"""What the doctor says of machines that are only folder trees: Jetsons, desktops, damaged ones."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecrack.doctor.machine import NUMPY_MISMATCH, Check, Machine, Probed
from edgecrack.doctor.report import Examination, examine, show
from edgecrack.extras import MODULES
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from tests.machine_sensors import trees

Make = Callable[..., Machine]
CLOSED = Path("/opt/edge crack/.venv")
UNSEAL = (
    "sed -i 's/^include-system-site-packages *=.*/include-system-site-packages = true/' "
    f"'{CLOSED}/pyvenv.cfg'"
)


def line(report: Examination, name: str) -> Check:
    (found,) = [check for check in report.checks if check.name == name]
    return found


def readiness(report: Examination) -> dict[str, bool]:
    return {item.name: item.ready for item in report.ready}


def release(l4t: str) -> str:
    major, _, revision = l4t.partition(".")
    return f"# R{major} (release), REVISION: {revision}, GCID: 1, BOARD: generic, EABI: aarch64\n"


def gpu(name: str, capability: str, cuda: int = 12) -> Probed:
    return Probed({"why": None, "cuda": cuda, "devices": [[name, capability, 8_000_000_000]]})


RTX_3060 = {"gpu": gpu("NVIDIA GeForce RTX 3060", "8.6")}
TENSORRT_RTX = Probed({"version": "1.7.1", "builder": True, "targets": ["12.0", "7.5", "8.6"]})
NO_BUILD = "Video I/O:\n  FFMPEG: NO\n  GStreamer: NO\n  v4l/v4l2: {v4l}\n"


class TestThrottling:
    def test_a_container_reports_no_throttling(self, make: Make) -> None:
        found = line(examine(make({".dockerenv": ""})), "throttling")
        assert found.status == "not needed here"
        assert found.found.startswith("unknown: this container does not report")

    def test_a_jetson_that_is_well(self, orin: Make) -> None:
        files = {name: f"{value}\n" for name, value in trees.orin(alarms=3).items()}
        found = line(examine(orin(files)), "throttling")
        assert found.status == "ok"
        assert found.found.startswith("none now, 61 °C, 1.3 of 1.3 GHz (according to cooling, ")
        assert found.found.endswith("since the machine started: power alarms came (oc3 3 times)")

    def test_one_that_throttles_at_this_moment(self, orin: Make) -> None:
        files = {name: f"{value}\n" for name, value in trees.orin(99_500, alert=1).items()}
        found = line(examine(orin(files)), "throttling")
        assert found.status == "warning"
        assert found.found.startswith("the machine is throttling now at 100 °C, 1.3 of 1.3 GHz: ")
        assert "fan" in found.remedy

    def test_a_counter_that_rises_while_it_looks(self, make: Make) -> None:
        counters = trees.heat_counters(40, 900)
        machine = make({name: f"{value}\n" for name, value in counters.items()})
        assert line(examine(machine), "throttling").status == "ok"

        def pause() -> None:
            trees.write(machine.root, trees.heat_counters(43, 900))

        found = line(examine(replace(machine, pause=pause)), "throttling")
        assert (found.status, "3 times for heat" in found.found) == ("warning", True)

    def test_a_weak_supply_has_another_remedy(self, make: Make) -> None:
        found = line(examine(make({trees.RASPBERRY: "50005\n"})), "throttling")
        assert found.remedy.startswith("check the power supply")
        assert "since the machine started: the supply's voltage was too low" in found.found


def test_orin_with_jetpack_6_2_lacks_nothing(orin: Make) -> None:
    report = examine(orin())

    assert {check.status for check in report.checks} == {"ok", "not needed here"}
    assert line(report, "JetPack").found == "6.2 (Jetson Linux R36.4.3)"
    assert line(report, "Jetson").found.endswith("Developer Kit Super")
    assert line(report, "power mode").found == "MAXN_SUPER (mode 2)"
    assert line(report, "NVIDIA driver").found == "540.4.0, runs CUDA 12.6"
    assert "8.7" in line(report, "GPU 0").found
    assert line(report, "CUDA for Python").found == "cuda-python 12.6.2, with CUDA graphs"
    assert line(report, "OpenCV").found == "4.8.0, with V4L2"
    assert line(report, "GStreamer").status == "ok"
    assert line(report, "CSI camera stack").status == "ok"
    assert line(report, "camera 0").found == "vi-output, imx219 9-0010 (/dev/video0)"
    assert line(report, "extra train").status == "not needed here"
    assert line(report, "extra record").status == "ok"
    assert line(report, "extra serve").status == "ok"
    assert readiness(report) == {"stream": True, "build_engines": True, "run_engines": True}


@pytest.mark.parametrize(
    ("l4t", "jetpack", "status", "remedy"),
    [
        ("35.1.0", "5.0.2", "missing", "flash"),
        ("35.2.1", "5.1", "missing", "flash"),
        ("35.3.1", "5.1.1", "missing", "flash"),
        ("35.4.1", "5.1.2", "missing", "flash"),
        ("35.5.0", "5.1.3", "missing", "flash"),
        ("35.6.0", "5.1.4", "missing", "flash"),
        ("35.9.9", "5", "missing", "flash"),
        ("36.2.0", "6.0 DP", "missing", "flash"),
        ("36.3", "6.0", "missing", "sudo sed -i 's/r36\\.3/r36.4/' /etc/apt/"),
        ("36.4.0", "6.1", "ok", ""),
        ("36.4.3", "6.2", "ok", ""),
        ("36.4.4", "6.2.1", "ok", ""),
        ("36.9.1", "6", "ok", ""),
        ("38.2.0", "7.0", "ok", ""),
        ("38.9.0", "7", "ok", ""),
        ("40.1.0", "unknown", "ok", ""),
    ],
)
def test_jetpack_is_told_from_the_release(
    orin: Make, l4t: str, jetpack: str, status: str, remedy: str
) -> None:
    files = {"etc/nv_tegra_release": release(l4t), "var/lib/dpkg/status": ""}
    found = line(examine(orin(files)), "JetPack")
    assert found.found.startswith(f"{jetpack} (Jetson Linux R{l4t}")
    assert found.status == status
    assert found.remedy.startswith(remedy)
    assert bool(found.remedy) == bool(remedy)


def test_orin_with_jetpack_5_streams_but_has_no_engines(orin: Make) -> None:
    files = {"etc/nv_tegra_release": release("35.4.1"), "var/lib/dpkg/status": ""}
    old = {"tensorrt": Probed({"version": "8.5.2.2", "builder": True})}
    report = examine(orin(files, old))

    assert "10.3" in line(report, "JetPack").found
    assert line(report, "TensorRT").status == "missing"
    assert line(report, "TensorRT").found == "8.5.2.2 is too old; 10.3 or later is needed"
    assert line(report, "TensorRT").remedy == "upgrade JetPack"
    assert readiness(report) == {"stream": True, "build_engines": False, "run_engines": False}


def test_xavier_is_told_that_no_upgrade_helps(orin: Make) -> None:
    files = {
        "proc/device-tree/model": b"Jetson-AGX\0",
        "proc/device-tree/compatible": b"nvidia,p2972-0000\0nvidia,tegra194\0",
        "etc/nv_tegra_release": release("35.4.1"),
        "var/lib/dpkg/status": "",
    }
    old = {
        "tensorrt": Probed({"version": "8.5.2.2", "builder": True}),
        "gpu": gpu("Xavier", "7.2", cuda=11),
    }
    report = examine(orin(files, old))

    assert line(report, "Jetson").found == "Jetson-AGX (Jetson Xavier)"
    assert line(report, "JetPack").status == "warning"
    assert "JetPack 5 is the last for Jetson Xavier" in line(report, "JetPack").found
    assert not line(report, "JetPack").remedy
    assert not line(report, "TensorRT").remedy
    assert readiness(report) == {"stream": True, "build_engines": False, "run_engines": False}


def test_pip_s_opencv_on_a_jetson_is_no_fault(orin: Make) -> None:
    build = "FFMPEG: YES\nGStreamer: NO\nv4l/v4l2: YES\n"
    found = line(
        examine(orin(probes={"cv2": Probed({"version": "4.10", "build": build})})), "OpenCV"
    )
    assert (found.status, found.remedy) == ("ok", "")
    assert found.found == "4.10, with V4L2"


@pytest.mark.parametrize(
    ("values", "why", "remedy"),
    [
        ({"virtual_environment": CLOSED}, "this virtual environment hides", UNSEAL),
        (
            {"python": (3, 12, 1)},
            "for Python 3.10, this is 3.12",
            "python3.10 -m venv --system-site-packages .venv",
        ),
    ],
)
def test_a_system_package_that_is_not_seen_is_shown(
    orin: Make, values: dict[str, Any], why: str, remedy: str
) -> None:
    machine = orin(**values)
    probes = {k: v for k, v in machine.probes.items() if k not in ("tensorrt", "cv2")}
    report = examine(
        Machine(**{**vars(machine), "probes": {**probes, "run": Probed(failure="no cv2")}})
    )
    for name in ("TensorRT", "OpenCV"):
        assert line(report, name).status == "missing"
        assert why in line(report, name).found
        assert line(report, name).remedy == remedy
    assert not report.can_stream


def test_jetson_without_tensorrt_installs_it_with_apt(orin: Make) -> None:
    machine = orin()
    probes = {k: v for k, v in machine.probes.items() if k not in ("tensorrt", "cuda")}
    report = examine(Machine(**{**vars(machine), "probes": probes}))
    assert line(report, "TensorRT").remedy == "sudo apt-get install python3-libnvinfer"
    assert line(report, "CUDA for Python").remedy == "pip install 'cuda-python==12.6.*'"


NEWER = Probed({"version": "13.5.0", "brings": 13050, "error": "cudaErrorInsufficientDriver"})
PYCUDA = Probed({"version": "2024.1.2"})


def test_a_cuda_python_that_jetpack_s_driver_cannot_start(orin: Make) -> None:
    report = examine(orin(probes={"cuda": NEWER}))
    found = line(report, "CUDA for Python")
    assert (found.status, found.remedy) == ("missing", "pip install 'cuda-python==12.6.*'")
    assert "needs CUDA 13.5, and the driver supports CUDA 12.6" in found.found
    assert not readiness(report)["run_engines"]


def test_pycuda_serves_then_and_what_it_lacks_is_said(orin: Make) -> None:
    report = examine(orin(probes={"cuda": NEWER, "pycuda": PYCUDA}))
    found = line(report, "CUDA for Python")
    assert (found.status, found.remedy) == ("ok", "pip install 'cuda-python==12.6.*'")
    assert found.found.startswith(
        "pycuda 2024.1.2, without CUDA graphs, because cuda-python cannot"
    )
    assert readiness(report)["run_engines"]


def test_the_library_that_captures_graphs_is_the_one_that_serves(orin: Make) -> None:
    found = line(examine(orin(probes={"pycuda": PYCUDA})), "CUDA for Python")
    assert found.found == "cuda-python 12.6.2, with CUDA graphs"


def test_a_slow_power_mode_is_hinted_at(orin: Make) -> None:
    found = line(examine(orin({"var/lib/nvpmodel/status": "pmode:0000"})), "power mode")
    assert (found.status, found.remedy) == ("ok", "sudo nvpmodel -m 2")
    assert found.found == "15W (mode 0); MAXN_SUPER is faster"


def test_in_a_container_the_release_comes_from_dpkg(orin: Make) -> None:
    core = "Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: 36.4.3-2025\n"
    files = {"etc/nv_tegra_release": "", "var/lib/dpkg/status": core, ".dockerenv": ""}
    report = examine(orin(files))
    assert line(report, "JetPack").found == "6.2 (Jetson Linux R36.4.3)"
    assert line(report, "system").found.endswith("in a container")


def test_desktop_without_tensorrt_is_told_both_commands(make: Make) -> None:
    report = examine(make(probes=RTX_3060))
    assert line(report, "TensorRT for RTX").remedy == "pip install -e '/srv/edgecrack[rtx]'"
    assert line(report, "CUDA for Python").remedy == "pip install 'cuda-python>=12.6,<13'"
    assert line(report, "TensorRT").status == "not needed here"
    assert line(report, "extra train").remedy == "pip install -e '/srv/edgecrack[train]'"
    assert readiness(report) == {"stream": True, "build_engines": False, "run_engines": False}


def test_desktop_with_everything_is_ready(make: Make) -> None:
    cuda = {"tensorrt_rtx": TENSORRT_RTX, "cuda": Probed({"version": "12.9"})}
    report = examine(make(probes={**RTX_3060, **cuda}))
    assert readiness(report) == {"stream": True, "build_engines": True, "run_engines": True}
    assert "7.5, 8.6, 12.0" in report.ready[1].sentence


def test_rtx_does_not_run_on_a_gpu_that_it_does_not_build_for(make: Make) -> None:
    probes = {"gpu": gpu("NVIDIA H100", "9.0"), "tensorrt_rtx": TENSORRT_RTX}
    report = examine(make(probes={**probes, "cuda": Probed({"version": "12.9"})}))
    assert line(report, "TensorRT for RTX").status == "warning"
    assert "not for this machine's GPU (9.0)" in line(report, "TensorRT for RTX").found
    assert line(report, "TensorRT").remedy == "pip install -U tensorrt"
    assert readiness(report) == {"stream": True, "build_engines": True, "run_engines": False}


def test_rtx_builds_without_a_gpu(make: Make) -> None:
    report = examine(make(probes={"tensorrt_rtx": TENSORRT_RTX}))
    assert line(report, "NVIDIA GPU").status == "not needed here"
    assert line(report, "CUDA for Python").status == "not needed here"
    assert readiness(report) == {"stream": True, "build_engines": True, "run_engines": False}


@pytest.mark.parametrize(
    ("files", "remedy"),
    [
        ({}, "sudo ubuntu-drivers install && sudo reboot"),
        ({"etc/os-release": "ID=debian\n"}, "sudo apt-get install nvidia-driver && sudo reboot"),
        ({".dockerenv": ""}, "start the container with: docker run --gpus all"),
        ({"proc/driver/nvidia/version": "Kernel Module  550.54.14  Thu"}, "sudo reboot"),
    ],
)
def test_a_card_without_driver_is_noticed(make: Make, files: dict[str, str], remedy: str) -> None:
    card = {
        "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
        "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
    }
    found = line(examine(make({**card, **files})), "NVIDIA driver")
    assert (found.status, found.remedy) == ("missing", remedy)
    assert "libcuda.so.1" in found.found


@pytest.mark.parametrize(
    ("probe", "remedy"),
    [
        (Probed(failure=NUMPY_MISMATCH), 'pip install "numpy<2"'),
        (Probed(failure="ImportError: libGL.so.1: cannot open"), "pip uninstall -y opencv-python "),
        (Probed({"version": "4", "build": NO_BUILD.format(v4l="NO")}), "pip uninstall"),
        (Probed({"version": "4", "build": NO_BUILD.format(v4l="YES")}), ""),
        (Probed({"version": "4", "build": "GStreamer: YES\nv4l/v4l2: YES\n"}), ""),
    ],
)
def test_an_opencv_that_lacks_something(make: Make, probe: Probed, remedy: str) -> None:
    run = Probed(failure=probe.failure)
    report = examine(make(probes={"cv2": probe, "run": run}))
    assert line(report, "OpenCV").remedy.startswith(remedy)
    assert report.can_stream == (not probe.failure)
    if probe.failure:
        assert line(report, "bundled model").status == "warning"
        assert "OpenCV" in line(report, "bundled model").found


@pytest.mark.parametrize(
    ("encoders", "status", "words"),
    [
        (["libx264", "libvpx-vp9"], "ok", "overlay in H.264"),
        (["libvpx-vp9"], "ok", "overlay in VP9"),
        ([], "warning", "no encoder"),
    ],
)
def test_pyav_says_what_the_overlay_is_written_in(
    make: Make, encoders: list[str], status: str, words: str
) -> None:
    probe = Probed({"version": "18.1.0", "ffmpeg": "8.1.2", "encoders": encoders})
    found = line(examine(make(probes={"av": probe})), "PyAV")
    assert (found.status, words in found.found) == (status, True)
    assert "gst://" not in found.found


def test_on_aarch64_videos_are_decoded_on_the_cpu_and_that_is_said(orin: Make) -> None:
    assert "decodes on the CPU" in line(examine(orin()), "PyAV").found


def test_without_pyav_nothing_streams(make: Make) -> None:
    machine = make()
    probes = {name: one for name, one in machine.probes.items() if name != "av"}
    report = examine(make(probes={**probes, "av": Probed(failure="ImportError: libX11")}))
    assert line(report, "PyAV").status == "missing"
    assert not report.can_stream


@pytest.mark.parametrize("damage", ["model", "sidecar", "gone", "no json"])
def test_a_damaged_model_stops_the_stream(make: Make, damage: str) -> None:
    machine = make()
    sidecar = machine.model.with_name(f"{machine.model.name}.json")
    if damage == "model":
        machine.model.write_bytes(machine.model.read_bytes()[:-1])
    elif damage == "sidecar":
        sidecar.write_text("[]")
    elif damage == "gone":
        machine.model.unlink()
    else:
        sidecar.write_bytes(b"\xff\0")
    report = examine(machine)
    assert line(report, "bundled model").status == "missing"
    assert line(report, "bundled model").remedy.startswith("pip install")
    assert not report.can_stream
    assert "bundled model" in report.ready[0].sentence


def test_a_model_that_does_not_run_stops_the_stream(make: Make) -> None:
    report = examine(make(probes={"run": Probed(failure="it crashes (SIGILL)")}))
    assert "SIGILL" in line(report, "bundled model").found
    assert not report.can_stream


def test_the_bundled_model_is_the_runtime_s() -> None:
    assert Machine().model.samefile(BUNDLED_MODEL)


def test_cameras_are_told_apart(make: Make) -> None:
    files = {f"dev/video{number}": "" for number in (0, 1, 2, 10)} | {
        f"sys/class/video4linux/video{number}/name": "C920\x1b[31m\n" for number in (0, 1, 2, 10)
    }
    kinds = {"video0": "camera", "video1": "metadata", "video2": "no camera", "video10": "camera"}
    machine = make(
        files,
        capture=lambda path: kinds[path.name],
        may_use=lambda path: path.name != "video10",
    )
    lines = [check for check in examine(machine).checks if "C920" in check.found]
    assert [(check.name, check.status) for check in lines] == [
        ("camera 0", "ok"),
        ("/dev/video1", "not needed here"),
        ("/dev/video2", "not needed here"),
        ("camera 10", "missing"),
    ]
    assert lines[-1].remedy == "sudo usermod -aG video $USER"
    assert all(check.found.isprintable() for check in lines)


def plug_in(root: Path, number: int, name: str, link: str = "") -> None:
    (root / "dev" / f"video{number}").touch()
    folder = root / f"sys/class/video4linux/video{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    if link:
        (root / "dev/v4l/by-id" / link).symlink_to(f"../../video{number}")


def test_a_camera_s_stable_path_is_told_where_there_is_one(make: Make) -> None:
    machine = make()
    (machine.root / "dev/v4l/by-id").mkdir(parents=True)
    plug_in(machine.root, 0, "C920", "usb-046d_C920_ABCD-video-index0")
    plug_in(machine.root, 1, "C920", "usb-046d_C920_ABCD-video-index1")
    plug_in(machine.root, 2, "vi-output, imx219 9-0010")
    report = examine(machine)
    stable = "/dev/v4l/by-id/usb-046d_C920_ABCD-video-index0"
    assert line(report, "camera 0").found == f"C920 (/dev/video0; always {stable})"
    assert line(report, "camera 2").found == "vi-output, imx219 9-0010 (/dev/video2)"


def test_a_link_that_two_equal_cameras_fight_for_is_not_called_stable(make: Make) -> None:
    machine = make()
    (machine.root / "dev/v4l/by-id").mkdir(parents=True)
    plug_in(machine.root, 0, "HD Webcam")
    plug_in(machine.root, 2, "HD Webcam", "usb-Sonix_HD_Webcam-video-index0")
    (machine.root / "dev/v4l/by-id/usb-Gone_Camera-video-index0").symlink_to("../../video7")
    report = examine(machine)
    assert line(report, "camera 0").found == "HD Webcam (/dev/video0)"
    assert line(report, "camera 2").found == "HD Webcam (/dev/video2)"


INSTALL_GSTREAMER = (
    "sudo apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
)
PLUGINS = "usr/lib/aarch64-linux-gnu/gstreamer-1.0"
ARGUS_IN_DOCKER = "docker run --runtime nvidia -v /tmp/argus_socket:/tmp/argus_socket"


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("usr/bin/gst-launch-1.0", "no gst-launch-1.0"),
        (f"{PLUGINS}/libgstrtp.so", "without gstreamer1.0-plugins-good"),
        (f"{PLUGINS}/libgstvideoconvert.so", "without gstreamer1.0-plugins-base"),
    ],
)
def test_a_jetson_without_all_of_gstreamer(orin: Make, gone: str, told: str) -> None:
    machine = orin()
    (machine.root / gone).unlink()
    report = examine(machine)
    found = line(report, "GStreamer")
    assert (found.status, found.remedy) == ("missing", INSTALL_GSTREAMER)
    assert told in found.found
    assert "csi://" in found.found
    assert report.can_stream


def test_a_program_that_may_not_be_run_is_none(orin: Make) -> None:
    machine = orin()
    (machine.root / "usr/bin/gst-launch-1.0").chmod(0o644)
    assert line(examine(machine), "GStreamer").status == "missing"


def test_a_desktop_does_without_gstreamer(make: Make) -> None:
    found = line(examine(make()), "GStreamer")
    assert (found.status, found.remedy) == ("not needed here", INSTALL_GSTREAMER)
    assert "CSI camera stack" not in {check.name for check in examine(make()).checks}


def test_a_desktop_with_a_newer_gstreamer_elsewhere(make: Make) -> None:
    files = {
        "opt/gst/bin/gst-launch-1.0": "",
        "opt/gst/lib64/gstreamer-1.0/libgstvideoconvertscale.so": "",
        "opt/gst/lib64/gstreamer-1.0/libgstrtp.so": "",
    }
    report = examine(make(files, search_path=("", "bin", "/usr/bin", "/opt/gst/bin")))
    assert line(report, "GStreamer").status == "ok"


@pytest.mark.parametrize(
    ("gone", "status", "remedy"),
    [
        (
            [f"{PLUGINS}/libgstnvarguscamerasrc.so"],
            "missing",
            "sudo apt-get install --reinstall nvidia-l4t-gstreamer",
        ),
        (
            [f"{PLUGINS}/libgstnvvidconv.so", "usr/sbin/nvargus-daemon"],
            "missing",
            "sudo apt-get install --reinstall nvidia-l4t-gstreamer nvidia-l4t-camera",
        ),
        (["proc/812/comm"], "warning", "sudo systemctl enable --now nvargus-daemon"),
    ],
)
def test_a_jetson_that_cannot_read_csi_cameras(
    orin: Make, gone: list[str], status: str, remedy: str
) -> None:
    machine = orin({"proc/1/comm": "systemd\n"})
    for name in gone:
        (machine.root / name).unlink()
    found = line(examine(machine), "CSI camera stack")
    assert (found.status, found.remedy) == (status, remedy)
    assert examine(machine).can_stream


def test_a_container_on_a_jetson_needs_the_daemon_s_socket(orin: Make) -> None:
    machine = orin({".dockerenv": ""})
    found = line(examine(machine), "CSI camera stack")
    assert (found.status, found.remedy) == (
        "missing",
        f"start the container with: {ARGUS_IN_DOCKER}",
    )
    (machine.root / "tmp").mkdir()
    (machine.root / "tmp/argus_socket").touch()
    (machine.root / "proc/812/comm").unlink()  # it runs outside
    assert line(examine(machine), "CSI camera stack").status == "ok"


@pytest.mark.parametrize("extra", ["record", "serve"])
def test_what_a_robot_may_add_is_hinted_at(make: Make, orin: Make, extra: str) -> None:
    for machine in (make(), orin(modules=frozenset({"websockets", "lz4"}))):
        found = line(examine(machine), f"extra {extra}")
        assert found.status == "not needed here"
        assert f"edgecrack stream --{extra}" in found.found
        assert found.remedy == f"pip install -e '/srv/edgecrack[{extra}]'"


def test_every_extra_has_a_line() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    section = text.split("[project.optional-dependencies]\n")[1].split("\n[")[0]
    extras = set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))
    # TensorRT for RTX has its own line; the others are for this project's developers.
    assert set(MODULES) == extras - {"rtx", "dev", "all"}


def test_no_camera_is_no_fault(make: Make) -> None:
    report = examine(make())
    assert line(report, "cameras").status == "warning"
    assert "--source demo" in line(report, "cameras").remedy
    assert report.can_stream


GARBAGE = bytes(range(256)) * 40


def test_damaged_files_become_lines(orin: Make) -> None:
    files = {
        name: GARBAGE
        for name in (
            "etc/nv_tegra_release",
            "etc/os-release",
            "etc/nvpmodel.conf",
            "proc/meminfo",
            "proc/device-tree/model",
            "proc/driver/nvidia/version",
            "sys/class/video4linux/video0/name",
            "sys/fs/cgroup/cpu.max",
            "var/lib/dpkg/status",
            "var/lib/nvpmodel/status",
        )
    }
    report = examine(orin(files))
    assert line(report, "JetPack").status == "warning"
    assert line(report, "memory").found == "unknown: /proc/meminfo does not say"
    assert all(check.found.isprintable() for check in report.checks)
    show(report, io.StringIO())


def test_libraries_that_tell_nonsense_become_lines(make: Make) -> None:
    names = ("numpy", "cv2", "av", "onnxruntime", "tensorrt", "tensorrt_rtx", "pycuda", "cuda")
    for answer in (Probed({}), Probed({"version": None}), Probed({"version": "", "builder": 1})):
        report = examine(make(probes=dict.fromkeys(names, answer)))
        assert {check.name for check in report.checks} >= {"NumPy", "OpenCV", "TensorRT"}


def test_a_check_that_fails_becomes_a_line(make: Make) -> None:
    def fail(path: Path) -> bool:
        raise RuntimeError("no such luck")

    report = examine(make({"dev/video0": ""}, may_use=fail))
    found = line(report, "cameras")
    assert found.status == "warning"
    assert "no such luck" in found.found


@pytest.mark.parametrize(
    ("meminfo", "status"),
    [("MemTotal: 2000000 kB\nMemAvailable: 100000 kB\n", "warning"), ("", "warning")],
)
def test_little_memory_is_a_warning(make: Make, meminfo: str, status: str) -> None:
    assert line(examine(make({"proc/meminfo": meminfo})), "memory").status == status


@pytest.mark.parametrize(
    ("values", "name", "status"),
    [
        ({"python": (3, 9, 18)}, "Python", "missing"),
        ({"python": (3, 13, 0)}, "Python", "warning"),
        ({"python": (3, 12, 0)}, "Python", "ok"),
        ({"architecture": "armv7l"}, "system", "warning"),
        ({"system": "darwin"}, "system", "warning"),
    ],
)
def test_python_and_system(make: Make, values: dict[str, Any], name: str, status: str) -> None:
    assert line(examine(make(**values)), name).status == status


def test_a_container_s_share_of_the_cores_is_told(make: Make) -> None:
    limited = examine(make({"sys/fs/cgroup/cpu.max": "150000 100000\n"}))
    assert line(limited, "CPU cores").found == "6 usable, limited to the time of 1.5"
    assert line(examine(make({"sys/fs/cgroup/cpu.max": "max 100000\n"})), "CPU cores").found == (
        "6 usable"
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_wraps_what_was_found_and_never_a_command(
    orin: Make, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    report = examine(orin({"etc/nv_tegra_release": release("36.3.0"), "var/lib/dpkg/status": ""}))
    out = Terminal()
    show(report, out)
    rows = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()
    commands = [row for row in rows if "fix: " in row]
    assert f"            fix: {line(report, 'JetPack').remedy}" in commands
    # A path has a row to itself where it fits no other.
    assert all(len(row) <= columns or len(row.split()) == 1 for row in rows if row not in commands)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_breaks_up_no_path(
    make: Make, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    machine = make()
    (machine.root / "dev/v4l/by-id").mkdir(parents=True)
    link = "usb-046d_HD_Pro_Webcam_C920_A1B2C3D4-video-index0"
    plug_in(machine.root, 0, "HD Pro Webcam C920", link)
    out = Terminal()
    show(examine(machine), out)
    assert f"/dev/v4l/by-id/{link}" in out.getvalue()


def test_what_is_piped_has_a_line_each(orin: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    report = examine(orin())
    out = io.StringIO()
    show(report, out)
    rows = out.getvalue().splitlines()
    assert len(rows) == len(report.checks) + 1 + len(report.ready)
    assert rows[-1] == "ready to run engines"
