"""The model specification and the sidecar JSON beside every model file.

A sidecar has the model file's name plus `.json`. It describes the file, what it was made from and
how its input must be prepared, and contains the file's hash, so that a file that was swapped,
truncated or edited is refused before anything loads it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from annotated_types import Predicate
from pydantic import Field

from edgecrack.errors import EdgecrackError, ModelFileError
from edgecrack.extras import origin
from edgecrack.files import replacing, write_atomic
from edgecrack.nvidia.engine_info import ENGINE_SUFFIXES, rebuild_command
from edgecrack.onnx_contents import DamagedOnnxError, read_contents
from edgecrack.outside_text import read_json
from edgecrack.preprocess import PreprocessConfig
from edgecrack.settings import settings

SCHEMA_VERSION = 2
Kind = Literal["checkpoint", "onnx", "engine"]
Pooling = Literal["gated-scale", "stacked", "max"]
Precision = Literal["fp32", "fp16", "int8"]
Layout = Literal["nchw", "nhwc"]
KINDS: tuple[Kind, ...] = get_args(Kind)
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
# Input and output tensor of every ONNX file and engine.
INPUT_NAME, OUTPUT_NAME = "tiles", "crack"
MIN_SCALE, MAX_SCALE = 1 / 64, 4.0
MOST_SCALES = 8
Merge = Literal["max", "wide-max"]
MERGES: tuple[Merge, ...] = get_args(Merge)
_HASH_BLOCK_BYTES = 1 << 20
_MOST_SIDECAR_BYTES = 1 << 24
_MOST_TILE_PX = 16384
# Fields of version 2. A version-1 file with one of them was edited by hand or means something else
# by it: an older program ignored it, this one would apply it.
_SINCE_2 = ("scales", "merge", "channels", "layout", "temperature")
_PREPROCESS_SINCE_2 = ("stretch", "low_percentile", "high_percentile", "stretch_margin")


def _refuse(name: str, value: str | None, _remedy: str = "") -> ModelFileError:
    described = f"without {name}" if value is None else f"with {name} {value}"
    return ModelFileError(
        f"a model is described {described}", "export it again with `edgecrack export`"
    )


@settings(_refuse)
class ModelSpec:
    """Description of a model file for the runtime.

        >>> from edgecrack import open_detector
        >>> with open_detector(threads=1) as detector:
        ...     spec = detector.runner.spec
        >>> spec.kind, spec.pooling, spec.tile_hw
        ('onnx', 'gated-scale', (256, 256))

    Attributes:
        kind: "checkpoint", "onnx" or "engine".
        pooling: "gated-scale", "stacked" or "max".
        width: channels of the network's first block.
        gate_bias: whether the gating filters have a bias.
        tile_hw: height and width of a tile in pixels, multiples of 8; (0, 0) for a checkpoint.
        batch: tiles per call, or None for any number.
        preprocess: how a frame is prepared.
        threshold: crack probability from which a pixel counts as crack, in 0..1.
        precision: "fp32", "fp16" or "int8".
        sha256: hash of the model file, hexadecimal.
        parent_sha256: hash of the file it was made from, or None.
        calibration: calibration-set hash and method of an INT8 file, or None.
        engine: TensorRT flavour, version, compute capability and platform of an engine, or None.
        scores: accuracy figures, each with the data it was measured on.
        scales: frame sizes at which the network runs, as factors from 1/64 to 4; at most eight,
            all different.
        merge: how the maps of several sizes are merged; see `runtime.scales.ScalesConfig`.
        channels: 1 for gray, 3 for colour.
        layout: order of the graph's input, "nchw" or "nhwc".
        temperature: divisor of the network's logits, above 0.
        extra: unknown fields, kept unchanged.
    """

    kind: Kind
    pooling: Pooling
    width: Annotated[int, Field(ge=1, le=4096)]
    gate_bias: bool = False
    tile_hw: Annotated[tuple[int, int], Field(strict=False)] = (0, 0)
    batch: Annotated[int, Field(ge=1, le=65536)] | None = None
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    precision: Precision = "fp32"
    sha256: str = ""
    parent_sha256: str | None = None
    calibration: Mapping[str, Any] | None = None
    engine: Mapping[str, Any] | None = None
    scores: Annotated[tuple[Mapping[str, Any], ...], Field(strict=False)] = ()
    scales: Annotated[
        tuple[Annotated[float, Field(ge=MIN_SCALE, le=MAX_SCALE)], ...],
        Field(min_length=1, max_length=MOST_SCALES, strict=False),
    ] = (1.0,)
    merge: Merge = "max"
    channels: Annotated[int, Predicate((1, 3).__contains__)] = 1
    layout: Layout = "nchw"
    temperature: Annotated[float, Field(gt=0)] = 1.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        height, width = self.tile_hw
        fits = all(8 <= side <= _MOST_TILE_PX and side % 8 == 0 for side in self.tile_hw)
        if self.kind != "checkpoint" and not fits:
            raise _refuse("tile", f"{width}x{height} px")
        if len(set(self.scales)) < len(self.scales):
            raise _refuse("a scale given twice,", f"{list(self.scales)}")

    def to_dict(self) -> dict[str, Any]:
        """The specification as the sidecar stores it."""
        document = dataclasses.asdict(self)
        extra = document.pop("extra")
        document["tile_hw"] = list(self.tile_hw)
        document["scores"] = [dict(score) for score in self.scores]
        document["scales"] = list(self.scales)
        return {"schema_version": SCHEMA_VERSION, **document, **extra}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ModelSpec:
        """Read a specification; the inverse of `to_dict`.

        A version-1 description keeps its meaning: frames are stretched from their darkest to their
        brightest pixel.

        Raises:
            ModelFileError: a field is missing, wrong, or newer than the description's version; or
                the schema is newer than this program.
        """
        if not isinstance(document, Mapping):
            raise ModelFileError(
                f"the description is a {type(document).__name__}, not a mapping",
                "export the model with `edgecrack export`",
            )
        version = document.get("schema_version")
        if not isinstance(version, int) or version is True or version < 1:
            raise ModelFileError(
                "the description has no schema_version", "export the model with `edgecrack export`"
            )
        if version > SCHEMA_VERSION:
            raise ModelFileError(
                f"the description has schema version {version}, this program supports "
                f"{SCHEMA_VERSION}",
                origin().update(),
            )
        if version < 2:
            _refuse_later_fields(document)
        names = {item.name for item in dataclasses.fields(cls)} - {"extra"}
        known = {key: value for key, value in document.items() if key in names}
        extra = {
            key: value
            for key, value in document.items()
            if key not in names and key != "schema_version"
        }
        for name in ("preprocess", "sha256"):
            if name not in known:
                raise _refuse(name, None)
        if isinstance(known["preprocess"], Mapping):
            known["preprocess"] = _preparation(known["preprocess"])
        return cls(**known, extra=extra)


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A model file, read once and verified; its bytes are used from memory.

    Attributes:
        path: its path, for messages and for files beside it.
        spec: its description.
        content: its bytes, whose hash is in the description.
    """

    path: Path
    spec: ModelSpec
    content: bytes = field(repr=False)


def _preparation(values: Mapping[str, Any]) -> PreprocessConfig:
    """How frames are prepared; without a `stretch`, that of version 1."""
    try:
        return PreprocessConfig(**{"stretch": "minmax", **values})
    except TypeError as error:
        raise _refuse("preprocess", f"{values!r:.60}") from error


def _refuse_later_fields(document: Mapping[str, Any]) -> None:
    """Refuse a version-1 description with a field that came with version 2."""
    preparation = document.get("preprocess")
    later = [name for name in _SINCE_2 if name in document]
    if isinstance(preparation, Mapping):
        later += [f"preprocess.{name}" for name in _PREPROCESS_SINCE_2 if name in preparation]
    if later:
        raise ModelFileError(
            f"the description has schema version 1 and contains {later[0]!r}, which came with "
            "version 2",
            'remove it, or write "schema_version": 2 if it is intended',
        )


def sidecar_path(model: Path) -> Path:
    """The sidecar of a model file."""
    return model.with_name(model.name + ".json")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        ModelFileError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_HASH_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise _unreadable(path, error) from error
    return digest.hexdigest()


def _unreadable(path: Path, error: OSError) -> ModelFileError:
    return ModelFileError(
        f"cannot read model file {path}: {error.strerror}", "check the path and its permissions"
    )


def write_sidecar(model: Path, spec: ModelSpec) -> ModelSpec:
    """Hash a finished model file and write its sidecar.

    Returns:
        The specification with the file's hash.

    Raises:
        OutputError: the sidecar cannot be written.
    """
    spec = dataclasses.replace(spec, sha256=file_sha256(model))
    write_atomic(sidecar_path(model), json.dumps(spec.to_dict(), indent=2) + "\n")
    return spec


def write_model(model: Path, content: bytes, spec: ModelSpec) -> ModelSpec:
    """Write a model file and its sidecar: both whole, or neither.

    Both are completely on the disk before either gets its name, so a full disk leaves an older pair
    unchanged. A kill between the two renames leaves a pair that does not match, which every reader
    refuses.

    Args:
        model: the model file; its folder must exist.
        content: its bytes.
        spec: its description without the hash.

    Returns:
        The description with the hash of `content`.

    Raises:
        OutputError: one of the two cannot be written.
    """
    spec = dataclasses.replace(spec, sha256=hashlib.sha256(content).hexdigest())
    with replacing(sidecar_path(model)) as partial:
        partial.write_text(json.dumps(spec.to_dict(), indent=2) + "\n", encoding="utf-8")
        write_atomic(model, content)
    return spec


def read_model_file(model: Path | ModelFile) -> ModelFile:
    """Read a model file, once, and check that its sidecar belongs to it.

    An engine file is executable code, and a file may be swapped after the check, so a model must be
    loaded from the returned bytes and not from the file. An ONNX file must contain all its tensors:
    those in other files would be read from beside it or from the working folder, and no hash covers
    them.

    Args:
        model: the file; one that was already read is returned unchanged.

    Raises:
        ModelFileError: the file or its sidecar is missing, damaged, or they do not match; or an
            ONNX file has no graph, or not all of it.
    """
    if isinstance(model, ModelFile):
        return model
    model = Path(model)
    spec = _read_sidecar(model)
    try:
        content = model.read_bytes()
    except OSError as error:
        raise _unreadable(model, error) from error
    _check_hash(model, spec, hashlib.sha256(content).hexdigest())
    if spec.kind == "onnx":
        _refuse_tensors_elsewhere(model, content)
    return ModelFile(model, spec, content)


def _refuse_tensors_elsewhere(model: Path, content: bytes) -> None:
    try:
        elsewhere = read_contents(content).external_tensors
    except DamagedOnnxError as error:
        raise ModelFileError(f"{model} is no ONNX file ({error})", _make_again(model)) from error
    if elsewhere:
        others = f" and {len(elsewhere) - 1} more" if len(elsewhere) > 1 else ""
        raise ModelFileError(
            f"{model} keeps the tensor {elsewhere[0]!r}{others} in another file, which no hash "
            "covers",
            f"{_make_again(model)}, which puts all of it into one file",
        )


def read_verified_spec(model: Path) -> ModelSpec:
    """The description of a model file, checked against the file, which itself is not kept.

    Raises:
        ModelFileError: the file or its sidecar is missing, damaged, or they do not match.
    """
    model = Path(model)
    spec = _read_sidecar(model)
    _check_hash(model, spec, file_sha256(model))
    return spec


def _read_sidecar(model: Path) -> ModelSpec:
    try:
        is_file, is_folder = model.is_file(), model.is_dir()
    except OSError as error:
        raise _unreadable(model, error) from error
    if not is_file:
        problem = "is a folder, not a file" if is_folder else "does not exist"
        raise ModelFileError(f"model file {model} {problem}", "check its path")
    sidecar = sidecar_path(model)
    if not sidecar.is_file():
        raise ModelFileError(
            f"model file {model} has no sidecar {sidecar.name}",
            f"copy it along with the model, or {_make_again(model)}",
        )
    try:
        document = read_json(sidecar, most_bytes=_MOST_SIDECAR_BYTES)
        if not isinstance(document, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"cannot read sidecar {sidecar}: {error}", _make_again(model)
        ) from error
    try:
        spec = ModelSpec.from_dict(document)
    except EdgecrackError as error:
        # The remedy to update stays; the remedy to make the file again depends on the file.
        remedy = _make_again(model) if "edgecrack export" in error.remedy else error.remedy
        raise ModelFileError(f"sidecar {sidecar}: {error.problem}", remedy) from error
    return spec


def _check_hash(model: Path, spec: ModelSpec, actual: str) -> None:
    if spec.sha256 != actual:
        remedy = "copy both files again from where they were made"
        if spec.kind == "engine":
            remedy += f", or {_make_again(model, spec.engine or {})}"
        raise ModelFileError(
            f"{model} does not match its sidecar (sha256 {actual[:12]}..., expected "
            f"{spec.sha256[:12]}...)",
            remedy,
        )


def _make_again(model: Path, engine: Mapping[str, Any] | None = None) -> str:
    """The remedy for a model file that cannot be trusted, as a clause.

    Args:
        model: the file.
        engine: the `engine` field of its sidecar, if that can be read.
    """
    if engine is None and model.suffix.lower() not in ENGINE_SUFFIXES:
        return "export the model again with `edgecrack export`"
    source = (engine or {}).get("source")
    command = rebuild_command(model, source if isinstance(source, str) else None)
    return f"build the engine again: {command}"
