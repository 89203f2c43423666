"""ONNX Runtime as a processor without AVX-512 runs it, on one that has it; shared by benchmarks.

Its kernels (MLAS) ask the processor and no environment variable, so a copy of the installed package
has the answer changed: the test of CPUID's bit for AVX-512F, wherever it follows the question which
registers the system saves. Without it, MLAS takes its kernels for AVX2 and FMA. The copy is in a
temporary folder and runs in a separate process, which reports how long each round took.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

# XGETBV, and within the same function TEST r32, 0x10000: with 0, AVX-512F is never found.
_ASKED = re.compile(rb"\x0f\x01\xd0.{0,1200}?\xf7[\xc0-\xc7](\x00\x00\x01\x00)", re.DOTALL)
_BATCH = 4
_PACKAGE = "onnxruntime"


def patched_copy(folder: Path) -> int:
    """Copy the installed ONNX Runtime into a folder and forbid it AVX-512.

    Returns:
        In how many places; 0 where the package is built otherwise, and then nothing is forbidden.
    """
    spec = find_spec(_PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    shutil.copytree(Path(spec.origin).parent, folder / _PACKAGE)
    (library,) = (folder / _PACKAGE / "capi").glob("onnxruntime_pybind11_state*.so")
    content = bytearray(library.read_bytes())
    places = [found.start(1) for found in _ASKED.finditer(bytes(content))]
    for place in places:
        content[place : place + 4] = bytes(4)
    library.write_bytes(content)
    return len(places)


class PatchedRuntime:
    """Bare ONNX Runtime without AVX-512 in a separate process.

    Args:
        folder: an empty one, for the copy.
        model: an ONNX file's bytes.
        frames: uint8 [n, 1, H, W] each.
        threads: CPU threads.
    """

    def __init__(
        self, folder: Path, model: bytes, frames: list[NDArray[np.uint8]], threads: int
    ) -> None:
        if not patched_copy(folder):
            raise RuntimeError("this build of ONNX Runtime asks for AVX-512 in another way")
        (folder / "model.onnx").write_bytes(model)
        np.savez(folder / "frames.npz", *frames)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def seconds(self) -> float:
        """Of one round over all frames."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def __enter__(self) -> PatchedRuntime:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _serve(folder: Path, threads: int) -> None:
    sys.path.insert(0, str(folder))
    import onnxruntime

    assert Path(onnxruntime.__file__).is_relative_to(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    with np.load(folder / "frames.npz") as kept:
        frames = [kept[name] for name in kept.files]
    for _ in sys.stdin:
        began = time.perf_counter()
        for tiles in frames:
            for first in range(0, len(tiles), _BATCH):
                session.run(None, {"tiles": tiles[first : first + _BATCH]})
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
