"""Whether an aarch64 robot finds what this x86-64 machine finds: the real wheels under emulation.

    python benchmarks/aarch64_emulation.py WORK [--tiles 2] [--processor cortex-a76]

WORK is a folder (400 MB) that is filled on the first run: qemu's user emulation, a Debian
aarch64 Python 3.11 with its libraries, and the aarch64 wheels of the robot install. Nothing is
installed on this machine and its list of architectures stays as it is: apt works on lists of its
own in WORK. It needs apt, dpkg-deb, pip and an x86-64 Debian or Ubuntu.

Three comparisons, each with ONNX Runtime on both sides:

- network: the same tiles through the runner, values of 255;
- frame: a generated frame from its pixels to its probability map, with preprocessing and scales;
- stream: `edgecrack stream --source demo --max-frames 1`, its mask file.

And what the wheel of ONNX Runtime holds: its providers, KleidiAI, XNNPACK, ACL; and in which type
it computes each node of a small graph in FP16.
An emulator says nothing of speed: each instruction is translated, so no time is reported.
qemu 7.2, as Debian 12 has it, crashes on loading ONNX Runtime 1.31; the one of Debian 13 does not.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.artifacts import read_model_file  # noqa: E402
from edgecrack.metrics.counting import uint8_level  # noqa: E402
from edgecrack.runtime.backends.cpu_self_test import built_in_tiles  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
# A library's package by what needs it: Python, and OpenCV, PyAV and ONNX Runtime's C++.
PYTHON = [
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "libgcc-s1",
    "libstdc++6", "zlib1g", "libexpat1", "libffi8", "libssl3", "libbz2-1.0", "liblzma5",
    "libsqlite3-0", "libuuid1", "libcrypt1", "media-types",
]  # fmt: skip
# The robot install on aarch64: numpy before 2, as pyproject.toml asks for there, and for want of
# JetPack's OpenCV the last wheel that numpy 1 imports.
WHEELS = ("numpy==1.26.4", "opencv-python-headless==4.11.0.86")
PINNED = ("onnxruntime", "av", "simplejpeg", "pillow", "typer", "rich")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
SAID = {
    "KleidiAI": r"ArmKleidiAI|^kai_run_",
    "KleidiAI without SME": r"^kai_run_.*neon",
    "KleidiAI float32 or float16, all for SME": r"^kai_run_(i?matmul)_clamp_(f32_f32|f16_f16)",
    "XNNPACK": r"^xnn_|XNNPACK",
    "Arm Compute Library": r"arm_compute",
}
ABOUT = """
import json, sys, cv2, numpy, onnxruntime
facts = [onnxruntime.__version__, onnxruntime.get_available_providers()]
with open(sys.argv[1], "w") as file:
    json.dump([*facts, cv2.__version__, numpy.__version__], file)
"""
HALF = """
import json, sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.enable_profiling, options.profile_file_prefix = True, sys.argv[2]
session = onnxruntime.InferenceSession(sys.argv[1], options)
session.run(None, {"x": numpy.ones((1, 16, 32, 32), numpy.float16)})
with open(session.end_profiling()) as file:
    events = [each for each in json.load(file) if each["name"].endswith("kernel_time")]
rows = [each["args"] for each in events if "op_name" in each["args"]]
found = [each["op_name"] + " " + next(iter(each["input_type_shape"][0])) for each in rows]
with open(sys.argv[3], "w") as file:
    json.dump(found, file)
"""


def debian(work: Path, release: str, architecture: str, packages: list[str], into: Path) -> None:
    """Unpack packages of a Debian release, by package lists of our own."""
    state, debs = work / f"apt-{release}-{architecture}", work / f"debs-{release}-{architecture}"
    for folder in (state / "lists/partial", state / "cache/archives/partial", debs):
        folder.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    sites = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    site = next(each for each in sites if each.endswith("/debian"))
    (state / "sources.list").write_text(f"deb [signed-by={KEYS}] {site} {release} main\n")
    values = {
        "APT::Architecture": architecture, "APT::Architectures": architecture,
        "APT::Sandbox::User": "root", "Dir::State": state, "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache", "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "/nonexistent",
    }  # fmt: skip
    settings = [f"-o{name}={value}" for name, value in values.items()]
    subprocess.run(["apt-get", "-qq", *settings, "update"], check=True)
    subprocess.run(["apt-get", "-qq", *settings, "download", *packages], check=True, cwd=debs)
    for package in debs.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, into], check=True)


def fill(work: Path) -> None:
    """Everything that the emulated side needs; what is there stays."""
    if not (work / "qemu").exists():
        debian(work, "trixie", "amd64", ["qemu-user"], work / "qemu")
    if not (work / "root").exists():
        debian(work, "bookworm", "arm64", PYTHON, work / "root")
    if not (work / "site").exists():
        lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        fits = [each for each in lines if "python_version <" not in each]
        pins = [each.partition(";")[0] for each in fits if each.partition("==")[0] in PINNED]
        platforms = [word for name in PLATFORMS for word in ("--platform", name)]
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--target",
             work / "site", *platforms, "--only-binary=:all:", "--python-version", "3.11",
             *WHEELS, *pins, "pyyaml"], check=True,
        )  # fmt: skip


def emulated(work: Path, processor: str, *words: str) -> None:
    """Run the aarch64 Python on this checkout."""
    paths = f"{ROOT}:{work / 'site'}"
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": paths, "HOME": str(work),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    command: list[str | Path] = [
        work / "qemu/usr/bin/qemu-aarch64", "-cpu", processor, "-L", work / "root",
        work / "root/usr/bin/python3.11", *words,
    ]  # fmt: skip
    subprocess.run(command, check=True, env=environment)


def frame() -> NDArray[np.uint8]:
    """A picture that is the same everywhere: integers and no library's random numbers."""
    y, x = np.mgrid[0:300, 0:400]
    wall = 150 + (x * 7919 + y * 104729) % 13 + x // 40
    crack = np.abs(y - 60 - x // 2 - (x // 25 * 37) % 11) <= 1 + x // 200
    gray = np.where(crack, 70 + (x + y) % 5, wall).astype(np.uint8)
    return np.repeat(gray[:, :, None], 3, axis=2)


def write_maps(tiles: Path, target: Path) -> None:
    """What this machine makes of the tiles and of the frame; both sides run this."""
    with open_detector(threads=2, backend="onnxruntime") as detector:
        found: dict[str, Any] = {
            "network": detector.runner.infer(np.load(tiles)),
            "prepared": np.asarray(detector.prepare(frame())),
            "frame": detector.probability_of(frame()),
        }
    np.savez(target, **found)


def stream_words(folder: Path) -> list[str]:
    words = f"-m edgecrack.cli stream --source demo --max-frames 1 --save mask,jsonl --out {folder}"
    # An emulated frame takes longer than what `stream` takes for a network that hangs.
    return [*words.split(), "--backend", "onnxruntime", "--stall-after", "500"]


def mask_of(folder: Path) -> NDArray[np.uint8]:
    path = sorted(folder.rglob("*.png"))[-1]  # of the newest run
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)


def compared(
    found: NDArray[np.uint8], wanted: NDArray[np.uint8], level: int | None
) -> dict[str, Any]:
    apart = np.abs(found.astype(np.int16) - wanted)
    row: dict[str, Any] = {
        "largest_difference": int(apart.max()),
        "share_of_pixels_apart": round(float((apart > 0).mean()), 6),
    }
    if level is not None:
        one, other = found >= level, wanted >= level
        row["mask_pixels"] = int(other.sum())
        row["mask_pixels_apart"] = int((one != other).sum())
    return row


def half_graph() -> bytes:
    """A convolution, a pooling and a transposed convolution in FP16."""
    from onnx import TensorProto, helper, numpy_helper  # the emulated side has none

    weights = np.random.default_rng(0).normal(0, 0.1, (16, 16, 3, 3)).astype(np.float16)
    constants = {"w": weights, "v": weights[:, :, :2, :2].copy()}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ConvTranspose", ["c", "v"], ["y"], strides=[2, 2]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT16, [1, 16, 32, 32]) for name in "xy"
    ]
    values = [numpy_helper.from_array(item, name) for name, item in constants.items()]
    graph = helper.make_graph(nodes, "half", ports[:1], ports[1:], values)
    opset = [helper.make_opsetid("", 20)]
    content: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return content


def half_nodes(work: Path, processor: str) -> dict[str, list[str]]:
    """On either side the nodes that ran, each with the type of what it reads."""
    (work / "half.onnx").write_bytes(half_graph())
    words = ["-c", HALF, str(work / "half.onnx"), str(work / "profile")]
    subprocess.run([sys.executable, *words, str(work / "half-x86-64.json")], check=True)
    emulated(work, processor, *words, str(work / "half-aarch64.json"))
    return {side: json.loads((work / f"half-{side}.json").read_text(encoding="utf-8"))
            for side in ("aarch64", "x86-64")}  # fmt: skip


def wheel(work: Path) -> dict[str, Any]:
    """What the strings of ONNX Runtime's library say that it holds."""
    (library,) = (work / "site/onnxruntime/capi").glob("onnxruntime_pybind11_state*.so")
    text = {each.decode("ascii") for each in re.findall(rb"[ -~]{6,}", library.read_bytes())}
    counts = {
        name: sum(bool(re.search(said, each)) for each in text) for name, said in SAID.items()
    }
    kernels = sorted(each for each in text if each.startswith("kai_run_"))
    return {"strings_of": counts, "kleidiai_kernels": kernels}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--tiles", type=int, default=2)
    # The cores of a Jetson Orin are Cortex-A78AE, which qemu does not have; A76 has the same
    # instructions for half precision and dot products.
    parser.add_argument("--processor", default="cortex-a76", help="as qemu calls it")
    parser.add_argument("--maps", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.maps:
        write_maps(*options.maps)
        return
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    fill(work)
    bundled = read_model_file(BUNDLED_MODEL)
    level = uint8_level(bundled.spec.threshold)
    np.save(work / "tiles.npy", built_in_tiles(bundled, 2)[: options.tiles])
    own = [str(Path(__file__)), str(work), "--maps", str(work / "tiles.npy")]
    write_maps(work / "tiles.npy", work / "x86.npz")
    emulated(work, options.processor, *own, str(work / "aarch64.npz"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *stream_words(work / "run-x86")], check=True, env=environment)
    emulated(work, options.processor, *stream_words(work / "run-aarch64"))
    emulated(work, options.processor, "-c", ABOUT, str(work / "about.json"))
    versions = json.loads((work / "about.json").read_text(encoding="utf-8"))
    with np.load(work / "aarch64.npz") as found, np.load(work / "x86.npz") as wanted:
        rows = {name: compared(found[name], wanted[name], None if name == "prepared" else level)
                for name in ("network", "prepared", "frame")}  # fmt: skip
    masks = [mask_of(work / name) for name in ("run-aarch64", "run-x86")]
    rows["stream, mask"] = compared(masks[0], masks[1], 128)
    figures = {
        "processor": options.processor,
        "tiles": options.tiles,
        "onnxruntime": versions[0],
        "providers": versions[1],
        "opencv": {"aarch64": versions[2], "x86-64": cv2.__version__},
        "numpy": {"aarch64": versions[3], "x86-64": np.__version__},
        "half_precision_nodes": half_nodes(work, options.processor),
        "rows": rows,
        "wheel": wheel(work),
    }
    for name, row in rows.items():
        print(name, row)
    write_result("aarch64_emulation", figures, "onnxruntime")


if __name__ == "__main__":
    main()
