"""Records which classes, methods and enum members each TensorRT has, for a test.

    python tools/tensorrt_api.py [VERSION ...]

No machine has every version of TensorRT, and its libraries are not on the public index; the Python
bindings are. This fetches them, gives them empty libraries to link against (a C compiler makes
those), imports them and asks what they define. Nothing of TensorRT runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "export" / "tensorrt_api"
# JetPack 6.1 has the first; the last of the 10 series that the ordinary index names with its
# build; the newest; and TensorRT for RTX.
BINDINGS = {
    "tensorrt 10.3.0": "tensorrt-cu12-bindings==10.3.0",
    "tensorrt 10.13.0.35": "tensorrt-cu12-bindings==10.13.0.35",
    "tensorrt 11.4.0.106": "tensorrt-cu13-bindings==11.4.0.106",
    "tensorrt_rtx 1.7.1.116": "tensorrt-rtx-cu13-bindings==1.7.1.116",
}
# What the bindings call while they are imported, or name without calling.
_FUNCTIONS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry", "getInferLibVersion", "getNvOnnxParserVersion",
    "getPluginRegistry", "initLibNvInferPlugins",
)  # fmt: skip
# Classes used to build, check and run an engine; for others the name is enough.
_CLASSES = (
    "Builder", "BuilderFlag", "ComputeCapability", "CudaGraphStrategy", "DataType", "DeviceType",
    "Dims", "EngineInspector", "EngineInvalidityDiagnostics", "EngineValidity",
    "ExecutionContextAllocationStrategy", "HardwareCompatibilityLevel", "IBuilderConfig",
    "ICudaEngine", "IExecutionContext", "IHostMemory", "ILayer", "ILogger",
    "INetworkDefinition", "IOptimizationProfile", "IProgressMonitor", "IRuntimeCache",
    "IRuntimeConfig", "ITensor", "ITimingCache", "LayerInformationFormat", "LayerType",
    "Logger", "MemoryPoolType", "NetworkDefinitionCreationFlag", "OnnxParser", "OnnxParserFlag",
    "ParserError", "ProfilingVerbosity", "Runtime", "TensorIOMode",
)  # fmt: skip
_READER = """
import importlib.machinery, importlib.util, json, os, sys
sys.setdlopenflags(os.RTLD_LAZY)
path, name, wanted = sys.argv[1], sys.argv[2], set(sys.argv[3].split(","))
loader = importlib.machinery.ExtensionFileLoader(name, path)
spec = importlib.util.spec_from_loader(name, loader)
module = importlib.util.module_from_spec(spec)
loader.exec_module(module)
public = lambda thing: sorted(item for item in dir(thing) if not item.startswith("_"))
classes = {item: public(getattr(module, item)) for item in public(module) if item in wanted}
json.dump({"names": public(module), "classes": classes}, sys.stdout)
"""


def main(wanted: list[str]) -> int:
    """Write the file of each version that is named, or of all."""
    unknown = sorted(set(wanted) - set(BINDINGS))
    if unknown:
        print(f"no such version: {unknown}; known: {list(BINDINGS)}", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    for version in wanted or BINDINGS:
        with tempfile.TemporaryDirectory() as folder:
            library = _unpack(BINDINGS[version], Path(folder))
            document = _read(library, Path(folder))
        target = FOLDER / f"{version.replace(' ', '-')}.json"
        target.write_text(_text({"version": version, **document}), encoding="utf-8")
        print(f"{target.name}: {len(document['names'])} names")
    return 0


def _unpack(requirement: str, folder: Path) -> Path:
    """Fetch a wheel and unpack it.

    Returns:
        The bindings' compiled module.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), requirement]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (library,) = folder.glob("*_bindings/tensorrt*.so")
    return library


def _read(library: Path, folder: Path) -> dict[str, Any]:
    """Import the bindings in a separate process, with empty libraries."""
    source = "".join(f"long {name}(void) {{ return 0; }}\n" for name in _FUNCTIONS)
    for name in _needed(library):
        command = ["cc", "-shared", "-fPIC", "-xc", "-", "-o", str(folder / name)]
        subprocess.run([*command, f"-Wl,-soname,{name}"], input=source.encode(), check=True)
    command = [sys.executable, "-c", _READER, str(library)]
    command += [f"{library.parent.name}.{library.stem}", ",".join(_CLASSES)]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _needed(library: Path) -> list[str]:
    """Names of NVIDIA's libraries that the bindings are linked against."""
    listing = subprocess.run(
        ["readelf", "-d", str(library)], check=True, capture_output=True, text=True
    ).stdout
    needed = [line.split("[")[1].split("]")[0] for line in listing.splitlines() if "NEEDED" in line]
    return [name for name in needed if "nvinfer" in name or "nvonnx" in name or "tensorrt" in name]


def _text(document: dict[str, Any]) -> str:
    """JSON with one line per class, so that a change of version reads well as a difference."""
    lines = [f'  "{key}": {json.dumps(value)}' for key, value in document["classes"].items()]
    return (
        f'{{\n "version": {json.dumps(document["version"])},\n'
        f' "names": {json.dumps(document["names"])},\n'
        ' "classes": {\n' + ",\n".join(lines) + "\n }\n}\n"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
