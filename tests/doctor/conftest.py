"""Machines that the doctor looks at: folder trees, with literal answers of the libraries."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecrack.doctor.machine import Machine, Probed
from edgecrack.extras import Origin

Files = Mapping[str, str | bytes]
Make = Callable[..., Machine]

MEMINFO = "MemTotal:       15656180 kB\nMemFree:         9000000 kB\nMemAvailable:   12000000 kB\n"
BUILD = """
  Video I/O:
    FFMPEG:                      YES
      avcodec:                   YES (58.134.100)
    GStreamer:                   {gstreamer}
    v4l/v4l2:                    YES (linux/videodev2.h)
"""
DPKG = """Package: base-files
Status: install ok installed
Version: 12ubuntu4

Package: nvidia-jetpack
Status: install ok installed
Architecture: arm64
Version: 6.2+b77
Description: NVIDIA Jetpack Meta Package
 .

Package: zlib1g
Status: install ok installed
"""
NVPMODEL = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
KERNEL_MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n"

LIBRARIES = {
    "numpy": Probed({"version": "1.26.4"}),
    "av": Probed({"version": "17.1.0", "ffmpeg": "8.1", "encoders": ["libx264", "libvpx-vp9"]}),
    "onnxruntime": Probed({"version": "1.23.2", "providers": ["CPUExecutionProvider"]}),
    "run": Probed({}),
}
SYSTEM_OPENCV = Probed({"version": "4.8.0", "build": BUILD.format(gstreamer="YES (1.20.3)")})
WHEEL = Probed({"version": "4.10.0", "build": BUILD.format(gstreamer="NO")})
NO_GPU = Probed({"why": "this machine has no NVIDIA driver (libcuda.so.1)", "devices": []})
TENSORRT = Probed({"version": "10.3.0", "builder": True})

PLUGINS = "usr/lib/aarch64-linux-gnu/gstreamer-1.0"
EXTRAS_OF_ROBOTS = (
    "mcap", "lz4", "zstandard", "pillow_heif",
    "starlette", "uvicorn", "websockets", "prometheus_client", "psutil",
)  # fmt: skip
# As Ubuntu 22.04 and JetPack 6 name them.
GSTREAMER = {
    "usr/bin/gst-launch-1.0": "#!/bin/sh\n",
    f"{PLUGINS}/libgstvideoconvert.so": "",
    f"{PLUGINS}/libgstrtp.so": "",
}
CSI = {
    f"{PLUGINS}/libgstnvarguscamerasrc.so": "",
    f"{PLUGINS}/libgstnvvidconv.so": "",
    "usr/sbin/nvargus-daemon": "",
    "proc/812/comm": "nvargus-daemon\n",
}


def one_gpu(name: str, capability: str, gigabytes: float, cuda: int = 12) -> Probed:
    devices = [[name, capability, int(gigabytes * 1e9)]]
    return Probed({"why": None, "cuda": cuda, "cuda_minor": 6, "devices": devices})


def release(l4t: str) -> str:
    major, _, revision = l4t.partition(".")
    return (
        f"# R{major} (release), REVISION: {revision}, GCID: 38968081, BOARD: generic, "
        "EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n"
    )


def jetson_files(chip: str, model: str, l4t: str) -> dict[str, str | bytes]:
    return {
        "proc/device-tree/model": model.encode() + b"\0",
        "proc/device-tree/compatible": f"nvidia,p3768-0000\0nvidia,{chip}\0".encode(),
        "etc/nv_tegra_release": release(l4t),
        "etc/os-release": 'ID=ubuntu\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
        "proc/driver/nvidia/version": KERNEL_MODULE,
    }


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a machine with files and a sound model; one without any NVIDIA hardware."""

    def build(files: Files | None = None, probes: Any = None, **values: Any) -> Machine:
        root = tmp_path / "root"
        standard: Files = {
            "proc/meminfo": MEMINFO,
            "etc/os-release": 'ID=ubuntu\nPRETTY_NAME="Ubuntu 24.04 LTS"\n',
        }
        for name, content in {**standard, **(files or {})}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            if path.parent.name == "bin":
                path.chmod(0o755)
        model = tmp_path / "model" / "edgecrack-bundled.onnx"
        model.parent.mkdir(exist_ok=True)
        bundled = Machine().model
        for suffix in ("", ".json"):
            shutil.copy(f"{bundled}{suffix}", f"{model}{suffix}")
        machine = Machine(
            root=root,
            system="linux",
            architecture="x86_64",
            python=(3, 10, 12),
            cores=6,
            results=tmp_path / "runs",
            model=model,
            probes={**LIBRARIES, "cv2": WHEEL, "gpu": NO_GPU, **(probes or {})},
            origin=Origin("/srv/edgecrack", editable=True),
            may_use=lambda path: True,
            capture=lambda path: "camera",
        )
        return replace(machine, **values)

    return build


@pytest.fixture
def orin(make: Make) -> Make:
    """Makes a Jetson Orin Nano with JetPack 6.2 on which nothing is missing."""

    def build(files: Files | None = None, probes: Any = None, **values: Any) -> Machine:
        model = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
        own: Files = {
            **jetson_files("tegra234", model, "36.4.3"),
            **GSTREAMER,
            **CSI,
            "var/lib/dpkg/status": DPKG,
            "var/lib/nvpmodel/status": "pmode:0002",
            "etc/nvpmodel.conf": NVPMODEL,
            "dev/video0": "",
            "sys/class/video4linux/video0/name": "vi-output, imx219 9-0010\n",
            "usr/lib/python3.10/dist-packages/tensorrt/__init__.py": "",
            "usr/lib/python3.10/dist-packages/cv2/__init__.py": "",
        }
        answers = {
            "cv2": SYSTEM_OPENCV,
            "gpu": one_gpu("Orin", "8.7", 8.0),
            "tensorrt": TENSORRT,
            "cuda": Probed({"version": "12.6.2", "brings": 12060, "error": ""}),
        }
        modules = frozenset(EXTRAS_OF_ROBOTS)
        given = {"architecture": "aarch64", "modules": modules, **values}
        return make({**own, **(files or {})}, {**answers, **(probes or {})}, **given)

    return build
