"""Options that several commands share, and readers of their values.

Imports nothing slow, since every command imports this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from edgecrack.calibration import defaults
from edgecrack.constants import OVERLAP_PX
from edgecrack.errors import ConfigError, UnreadableInputsError
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgecrack.calibration.config import CalibrationConfig
    from edgecrack.calibration.gate import Gate
    from edgecrack.runtime.web.config import ServeConfig, TlsFiles

_MODULES = {
    "training": ("torch", "lightning", "safetensors", "matplotlib", "yaml"),
    "export": ("torch", "lightning", "safetensors", "onnx", "onnxscript"),
    "calibration": ("onnx",),
}
_LONGEST_TOKEN_FILE = 4096
_SHOWN_PROBLEMS = 5


def heading(panel: str) -> Callable[..., Any]:
    """Return a function that declares options under one heading of a help page.

    An option without a text takes its help from the docstring of the command.
    """

    def option(metavar: str, *names: str, text: str = "", show_default: bool = True) -> Any:
        return typer.Option(
            *names, metavar=metavar, help=text, rich_help_panel=panel, show_default=show_default
        )

    return option


def group(text: str) -> typer.Typer:
    """A command with subcommands, such as `model use`.

    Args:
        text: its help text.
    """
    return typer.Typer(
        help=text,
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


_input, _scale, _detection, results = map(heading, ("Input", "Scale", "Detection", "Results"))
_accuracy, _page = map(heading, ("Accuracy", "Live page"))

MaxFramesOption = Annotated[int | None, _input("COUNT", text="Stop after this many frames.")]
MegapixelsOption = Annotated[
    float,
    _input("COUNT", text="Skip larger images; a pixel takes about 8 bytes of memory."),
]
LocationOption = Annotated[
    bool, _input("", "--location/--no-location", text="Keep a photo's GPS location in the results.")
]

ModelOption = Annotated[
    Path | None,
    _detection(
        "FILE",
        text="Model file (*.onnx or engine, with its sidecar beside it); default: the model set by "
        "`edgecrack model use`, else the bundled one.",
    ),
]
ThresholdOption = Annotated[
    float | None,
    _detection(
        "NUMBER",
        text="Minimum crack probability of a pixel, between 0 and 1; default: the model's own.",
    ),
]
MinAreaOption = Annotated[
    int, _detection("PIXELS", "--min-area", text="Discard smaller groups of crack pixels.")
]
OverlapOption = Annotated[
    int | None,
    _detection("PIXELS", text=f"Minimum overlap of neighbouring tiles; default: {OVERLAP_PX}."),
]
ScalesOption = Annotated[
    str | None,
    _detection(
        "FACTORS",
        text="Frame sizes at which the model runs, such as 1,0.5; smaller ones find wider cracks. "
        "Default: the model's own.",
    ),
]
IgnoreOption = Annotated[
    Path | None,
    _detection(
        "FILE",
        text="Area to ignore: an image that is white there, or polygons in a *.json file; see "
        "docs/runtime.md.",
    ),
]
ThreadsOption = Annotated[int | None, _detection("COUNT", text="CPU threads; default: all.")]
BackendOption = Annotated[
    str | None,
    _detection(
        "NAME",
        text="Backend for ONNX files: onnxruntime, openvino, openvino-bf16 (faster on some "
        "processors, slightly different values), or auto (default), which tests once which is "
        "fastest.",
    ),
]

MmPerPixelOption = Annotated[
    str | None,
    _scale("MM", text="Millimetres per pixel, with 95 % uncertainty: 0.12+-0.005."),
]
SurveyCameraOption = Annotated[
    str | None,
    _scale("FILE", text="Calibrated camera, with --distance-m, instead of --mm-per-pixel."),
]
DistanceOption = Annotated[
    str | None, _scale("METRES", text="Distance from the camera to the wall: 1.5+-0.02 (95 %).")
]
TiltOption = Annotated[
    str | None,
    _scale(
        "DEGREES",
        text="Angle between the viewing direction and the wall's normal: 20+-2; default: 0+-5.",
    ),
]
TowardsOption = Annotated[
    float | None,
    _scale(
        "DEGREES",
        "--tilt-towards-deg",
        text="Direction in the image in which the wall recedes: 0 right, 90 down, 180 left, "
        "270 up. If omitted, millimetres are less certain.",
    ),
]

FolderOption = Annotated[
    Path,
    results(
        "FOLDER",
        "--out",
        "-o",
        text="Folder for the results; FOLDER-2 if it contains those of an earlier run.",
    ),
]
OverwriteOption = Annotated[
    bool, results("", "--overwrite", text="Delete the earlier run's results.")
]
OutputOption = Annotated[Path, results("FILE", "--out", "-o", text="Output file.")]
JsonOption = Annotated[bool, results("", "--json", text="Print the result as JSON only.")]
SeverityOption = Annotated[
    str | None,
    results("TABLE", text="Width classes, such as en-1992:xc3, or your own JSON or YAML file."),
]
CommaOption = Annotated[
    bool, results("", "--decimal-comma", text="Use a decimal comma in cracks.csv: 0,38.")
]

MethodOption = Annotated[
    str, _accuracy("NAME", text="Method for INT8 ranges: entropy, percentile, minmax or mse.")
]
MaxDropOption = Annotated[
    float | None,
    _accuracy(
        "POINTS",
        text="Maximum loss of each score from INT8, at the upper end of its confidence interval; "
        f"default: {defaults.MAX_DROP:g}; without labels {defaults.MAX_DISAGREEMENT:g} of the "
        f"agreement with FP32 and {defaults.MAX_THIN_DISAGREEMENT:g} of its thin cracks.",
    ),
]
MaxFlaggedOption = Annotated[
    float,
    _accuracy("PERCENT", text="Maximum share of crack-free area that INT8 flags beyond FP32."),
]
TilesOption = Annotated[int, _accuracy("COUNT", text="Tiles that set the ranges; at least 64.")]
HeldOutOption = Annotated[int, _accuracy("COUNT", text="Tiles that test the result; at least 16.")]
SeedOption = Annotated[int, _accuracy("NUMBER", text="Random seed for the choice of tiles.")]

TokenFileOption = Annotated[
    Path | None,
    _page("FILE", text="File with the token for viewers; default: EDGECRACK_TOKEN."),
]
TlsCertOption = Annotated[
    Path | None, _page("FILE", text="Serve over HTTPS: certificate chain as PEM.")
]
TlsKeyOption = Annotated[
    Path | None, _page("FILE", text="Private key of the certificate as PEM, without a password.")
]


def scales_of(text: str | None) -> tuple[float, ...] | None:
    """The value of `--scales`, or None if it is not given.

    Raises:
        ConfigError: the text is not a list of scales.
    """
    from edgecrack.runtime.scales import parse_scales

    return None if text is None else parse_scales(text)


def choices(text: str) -> tuple[str, ...]:
    """The words of a comma-separated list, without empty ones."""
    return tuple(part for part in (item.strip() for item in text.split(",")) if part)


def say(text: str) -> None:
    """Write a line for the user to standard error."""
    typer.echo(f"edgecrack: {text}", err=True)


def warn(text: str) -> None:
    """Write a warning to standard error."""
    say(f"warning: {text}")


def unreadable_inputs(
    problems: Sequence[str], what: str, verb: str, remedy: str
) -> UnreadableInputsError:
    """The error at the end of a batch in which some inputs failed.

    Args:
        problems: source and reason of each, as text.
        what: noun for one input, such as "photo".
        verb: such as "could not be read".
        remedy: where the user finds all of them.
    """
    first = "; ".join(problems[:_SHOWN_PROBLEMS])
    more = len(problems) - _SHOWN_PROBLEMS
    text = f"{counted(len(problems), what)} {verb}: {first}"
    return UnreadableInputsError(text + (f" and {more} more" if more > 0 else ""), remedy)


def require_extra(purpose: str = "training") -> None:
    """Check that the packages that a command needs beyond the base install exist.

    Raises:
        MissingDependencyError: one is missing.
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
    """The configuration of the options that `calibrate` and `build-engine` share.

    Raises:
        ConfigError: a value is out of range.
    """
    from edgecrack.calibration.config import CalibrationConfig
    from edgecrack.calibration.sampler import SamplerConfig

    sampler = SamplerConfig(tiles, held_out, seed)
    # A name that is none is refused where the configuration is made.
    return CalibrationConfig(data, cast(Any, method), gate, sampler, cast(Any, made_for))


def whole_number(option: str, text: str) -> int:
    """The value of an option as a whole number.

    Raises:
        ConfigError: it is not a whole number.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise ConfigError(f"{option} is {text[:40]!r}", "give a whole number of at most 9 digits")
    return int(text)


def tile_hw_of(text: str) -> tuple[int, int]:
    """Height and width from `--tile`.

    Raises:
        ConfigError: the text is not a size.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise ConfigError(
            f"--tile is {text!r}", "give a whole number, or HEIGHTxWIDTH such as 256x320"
        )
    return int(sides[0]), int(sides[-1])


def serve_config(
    address: str | None,
    token_file: Path | None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> ServeConfig | None:
    """The configuration of a page, or None without an address.

    Raises:
        ConfigError: the address, token, certificate or key is unusable.
    """
    if address is None:
        if tls_cert is not None or tls_key is not None:
            raise ConfigError("a certificate is given without a page", "add `serve` HOST:PORT")
        return None
    from edgecrack.runtime.web.config import ServeConfig, parse_serve

    host, port = parse_serve(address)
    return ServeConfig(
        host=host, port=port, token=_token(token_file), tls=_tls_files(tls_cert, tls_key)
    )


def _tls_files(certificate: Path | None, key: Path | None) -> TlsFiles | None:
    """Certificate and key, checked before a model is loaded and a camera opened."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "`tls_cert`" if certificate is None else "`tls_key`"
        raise ConfigError(f"{missing} is not given", "give `tls_cert` FILE and `tls_key` FILE")
    from edgecrack.runtime.web.config import TlsFiles
    from edgecrack.runtime.web.tls import server_context

    files = TlsFiles(certificate, key)
    server_context(files)
    _warn_if_open(key, "the key")
    return files


def _token(file: Path | None) -> str | None:
    """The token from a file, EDGECRACK_TOKEN or systemd's credentials; None without any.

    Raises:
        ConfigError: the file is unreadable or empty.
    """
    if file is None:
        if token := os.environ.get("EDGECRACK_TOKEN"):
            return token
        file = _credential()
        if file is None:
            return None
    elif file.is_file():
        _warn_if_open(file, "the token file")
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
        raise ConfigError(f"the token file {file} is empty", "write the token into it")
    return token


def _credential() -> Path | None:
    """The token file from the service's `LoadCredential=edgecrack-token:FILE`."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder, "edgecrack-token") if folder else None
    return path if path is not None and path.is_file() else None


def _warn_if_open(path: Path, what: str) -> None:
    from edgecrack.runtime.web.tls import is_open_to_others

    if is_open_to_others(path):
        typer.echo(
            f"warning: every user of this machine can read {what} {path}; chmod 600 {path}",
            err=True,
        )
