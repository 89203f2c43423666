"""What the commands' option declarations share. Imports nothing that costs time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from edgecrack.calibration import defaults
from edgecrack.constants import OVERLAP_PX
from edgecrack.errors import ConfigError

if TYPE_CHECKING:
    from edgecrack.calibration.config import CalibrationConfig
    from edgecrack.calibration.gate import Gate
    from edgecrack.runtime.web.config import ServeConfig, TlsFiles

_MODULES = {
    "training": ("torch", "lightning", "safetensors", "matplotlib", "yaml"),
    "export": ("torch", "lightning", "safetensors", "onnx", "onnxscript"),
    "calibration": ("onnx",),
}


def scales_of(text: str | None) -> tuple[float, ...] | None:
    """What `--scales` gives, or None where it is left out.

    Raises:
        ConfigError: it gives no scales.
    """
    from edgecrack.runtime.scales import parse_scales

    return None if text is None else parse_scales(text)


def heading(panel: str) -> Callable[..., Any]:
    """Makes options that stand under one heading of a help page."""

    def option(metavar: str, text: str, *names: str, show_default: bool = True) -> Any:
        return typer.Option(
            *names, metavar=metavar, help=text, rich_help_panel=panel, show_default=show_default
        )

    return option


_LONGEST_TOKEN_FILE = 4096
results = heading("Results")
_detection, _accuracy = map(heading, ("Detection", "Accuracy"))

ModelOption = Annotated[
    Path | None,
    _detection(
        "FILE",
        "Model file (*.onnx, its *.onnx.json beside it); default: the one that "
        "`edgecrack model use` installed, or the bundled one.",
        "--model",
    ),
]
ThresholdOption = Annotated[
    float | None,
    _detection(
        "NUMBER",
        "Crack probability from which a pixel counts, above 0 and below 1; "
        "default: the model's own.",
    ),
]
MinAreaOption = Annotated[
    int, _detection("PIXELS", "Smaller groups of crack pixels are dropped as specks.", "--min-area")
]
OverlapOption = Annotated[
    int | None,
    _detection(
        "PIXELS", f"Smallest overlap of neighbouring tiles; default: {OVERLAP_PX}.", "--overlap"
    ),
]
ScalesOption = Annotated[
    str | None,
    _detection(
        "FACTORS",
        "Sizes of the frame at which the model runs, such as 1,0.5: reduced ones find wider "
        "cracks; default: the model's own.",
        "--scales",
    ),
]
IgnoreOption = Annotated[
    Path | None,
    _detection(
        "FILE",
        "Where nothing is to be inspected: an image, white there, or polygons as *.json; see "
        "docs/runtime.md.",
        "--ignore",
    ),
]
ThreadsOption = Annotated[int | None, _detection("COUNT", "CPU threads; default: all.")]
BackendOption = Annotated[
    str | None,
    _detection(
        "NAME",
        "What runs an ONNX file: onnxruntime, openvino, openvino-bf16 (faster on some processors, "
        "other values), or auto, the default, which tries once what is fastest.",
    ),
]

_input, _scale = map(heading, ("Input", "Scale"))
MmPerPixelOption = Annotated[
    str | None,
    _scale(
        "MM",
        "Millimetres that a pixel shows, with what they are sure to: 0.12+-0.005 (95 %).",
        "--mm-per-pixel",
    ),
]
DistanceOption = Annotated[
    str | None, _scale("METRES", "From the camera to the wall: 1.5+-0.02 (95 %).", "--distance-m")
]
TiltOption = Annotated[
    str | None,
    _scale(
        "DEGREES",
        "Angle between the view and the wall's perpendicular: 20+-2; default: 0+-5.",
        "--tilt-deg",
    ),
]
TowardsOption = Annotated[
    float | None,
    _scale(
        "DEGREES",
        "Where in the image the wall recedes: 0 right, 90 down, 180 left, 270 up; without it, all "
        "are as likely, and millimetres less sure.",
        "--tilt-towards-deg",
    ),
]
FolderOption = Annotated[
    Path,
    results(
        "FOLDER",
        "Where the results go; beside it, as FOLDER-2, where it holds those of an earlier run.",
        "--out",
        "-o",
    ),
]
OverwriteOption = Annotated[
    bool, results("", "Remove the results of the earlier run in the folder.", "--overwrite")
]
MegapixelsOption = Annotated[
    float,
    _input(
        "COUNT",
        "Larger pictures are not read; some 8 bytes of memory a pixel.",
        "--max-megapixels",
    ),
]
LocationOption = Annotated[
    bool, _input("", "Whether results say where a photo was taken.", "--location/--no-location")
]
OutputOption = Annotated[Path, results("FILE", "Where to.", "--out", "-o")]
MethodOption = Annotated[
    str, _accuracy("NAME", "How INT8 ranges are chosen: entropy, percentile, minmax or mse.")
]
MaxDropOption = Annotated[
    float | None,
    _accuracy(
        "POINTS",
        "Most that INT8 may lose of each score, at the upper end of what the images leave open; "
        f"default: {defaults.MAX_DROP:g}, without labels {defaults.MAX_DISAGREEMENT:g} of the "
        f"agreement with FP32 and {defaults.MAX_THIN_DISAGREEMENT:g} of its thin cracks.",
    ),
]
MaxFlaggedOption = Annotated[
    float,
    _accuracy("PERCENT", "Most that INT8 may flag beyond FP32 of the area that is free of cracks."),
]
TilesOption = Annotated[int, _accuracy("COUNT", "Tiles that set the ranges, 64 or more.")]
HeldOutOption = Annotated[int, _accuracy("COUNT", "Tiles that judge the result, 16 or more.")]
SeedOption = Annotated[int, _accuracy("NUMBER", "Draws the tiles.")]
JsonOption = Annotated[bool, results("", "Print the report as JSON, and nothing else.", "--json")]


def choices(text: str) -> tuple[str, ...]:
    """The words of a list with commas; empty ones are left out."""
    return tuple(part for part in (item.strip() for item in text.split(",")) if part)


def warn(text: str) -> None:
    """Say on standard error what a user is to know, and go on."""
    typer.echo(f"edgecrack: warning: {text}", err=True)


def require_extra(purpose: str = "training") -> None:
    """Check that what a command needs beyond the base install is there.

    Raises:
        MissingDependencyError: it is not.
    """
    from edgecrack.extras import require

    extra = {"export": "export", "calibration": "quantize"}.get(purpose, "train")
    for module in _MODULES.get(purpose, ("matplotlib",)):
        require(module, extra=extra, purpose=purpose)


def calibration_of(
    data: Path,
    method: str,
    gate: Gate,
    tiles: int,
    held_out: int,
    seed: int,
    made_for: str = defaults.MADE_FOR,
) -> CalibrationConfig:
    """What the options of `calibrate` and `build-engine` ask for.

    Raises:
        ConfigError: a value is out of range.
    """
    from edgecrack.calibration.config import CalibrationConfig
    from edgecrack.calibration.sampler import SamplerConfig

    sampler = SamplerConfig(tiles, held_out, seed)
    # A name that is none is refused where the configuration is made.
    return CalibrationConfig(data, cast(Any, method), gate, sampler, cast(Any, made_for))


def whole_number(option: str, text: str) -> int:
    """The number that an option gives.

    Raises:
        ConfigError: it gives none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise ConfigError(f"{option} is {text[:40]!r}", "give a whole number of at most 9 digits")
    return int(text)


def tile_hw_of(text: str) -> tuple[int, int]:
    """Height and width that `--tile` gives.

    Raises:
        ConfigError: it gives none.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise ConfigError(
            f"--tile is {text!r}", "give a whole number, or HEIGHTxWIDTH as in 256x320"
        )
    return int(sides[0]), int(sides[-1])


def serve_config(
    address: str | None,
    token_file: Path | None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> ServeConfig | None:
    """Where and how a page is served, or None where it is left out.

    Raises:
        ConfigError: the address, the token, the certificate or its key cannot be used.
    """
    if address is None:
        if tls_cert is not None or tls_key is not None:
            raise ConfigError("a certificate is given and no page", "give `serve` HOST:PORT, too")
        return None
    from edgecrack.runtime.web.config import ServeConfig, parse_serve

    host, port = parse_serve(address)
    return ServeConfig(
        host=host, port=port, token=_token(token_file), tls=_tls_files(tls_cert, tls_key)
    )


def _tls_files(certificate: Path | None, key: Path | None) -> TlsFiles | None:
    """Certificate and key, looked at before a model is loaded and a camera opened."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "`tls_cert`" if certificate is None else "`tls_key`"
        raise ConfigError(f"{missing} is not given", "give `tls_cert` FILE and `tls_key` FILE")
    from edgecrack.runtime.web.config import TlsFiles
    from edgecrack.runtime.web.tls import server_context

    files = TlsFiles(certificate, key)
    server_context(files)
    if _is_open_to_others(key):
        _warn(f"every user of this machine can read the key {key}; chmod 600 {key}")
    return files


def _token(file: Path | None) -> str | None:
    """The token in a file, in EDGECRACK_TOKEN, or among systemd's credentials; None without any.

    Raises:
        ConfigError: the file cannot be read or is empty.
    """
    if file is None:
        if token := os.environ.get("EDGECRACK_TOKEN"):
            return token
        file = _credential()
        if file is None:
            return None
    elif file.is_file() and _is_open_to_others(file):
        _warn(f"every user of this machine can read the token file {file}; chmod 600 {file}")
    if not file.is_file():
        raise ConfigError(f"the token file {file} is not a file", "give a file with the token")
    try:
        with file.open(encoding="utf-8") as opened:
            token = opened.read(_LONGEST_TOKEN_FILE).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(
            f"the token file {file} cannot be read: {reason}", "give a file that this user may read"
        ) from error
    if not token:
        raise ConfigError(f"the token file {file} is empty", "put the token into it")
    return token


def _credential() -> Path | None:
    """The token that the service was given by `LoadCredential=edgecrack-token:FILE`."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder, "edgecrack-token") if folder else None
    return path if path is not None and path.is_file() else None


def _is_open_to_others(path: Path) -> bool:
    from edgecrack.runtime.web.tls import is_open_to_others

    return is_open_to_others(path)


def _warn(sentence: str) -> None:
    typer.echo(f"warning: {sentence}", err=True)
