"""Any GStreamer pipeline as a live source, and with it the CSI cameras of a Jetson.

Knows how an address becomes a pipeline that ends in raw video; `pipeline_source` runs it.
"""

from __future__ import annotations

import re
import shlex
from fractions import Fraction

from edgecrack.errors import SourceError
from edgecrack.runtime.sources.gst_messages import without_passwords
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.sources.pipeline_source import PipelineSource

_FORM = 'give a pipeline that ends in raw video, e.g. "gst://v4l2src device=/dev/video0"'
_CSI_SIZE = (1920, 1080)
_CSI_RATE_HZ = 30.0


def is_pipeline(address: str) -> bool:
    """Whether an address means a pipeline or a Jetson's camera."""
    return address.lower().startswith(("gst://", "csi://"))


def open_pipeline(address: str, options: SourceOptions | None = None) -> PipelineSource:
    """Open `gst://PIPELINE` or `csi://N`.

    Args:
        address: `gst://` and a pipeline as `gst-launch-1.0` takes it, up to raw video and
            without a sink; or `csi://` and the number of a camera on a Jetson's CSI connector.
        options: size and rate that the pipeline has to deliver.

    Raises:
        SourceError: the pipeline is wrong, or delivers nothing in time.
        MissingDependencyError: GStreamer is not installed.
    """
    options = options or SourceOptions()
    scheme, _, rest = address.partition("://")
    if scheme.lower() == "csi":
        return PipelineSource(_csi(address, rest, options), address.lower(), options.timeout_ms)
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise SourceError(f"the pipeline of a gst:// address is wrong: {error}", _FORM) from error
    words = _without_sink(words)
    if not words:
        raise SourceError("gst:// has no pipeline behind it", _FORM)
    name = f"gst://{without_passwords(words)}"
    # BT.601 is what the pictures are decoded as.
    caps = "video/x-raw,format=I420,colorimetry=bt601" + _asked(options)
    return PipelineSource([*words, "!", "videoconvert", "!", caps], name, options.timeout_ms)


def _csi(address: str, rest: str, options: SourceOptions) -> list[str]:
    match = re.fullmatch(r"(\d{1,2})/?", rest)
    if match is None:
        raise SourceError(f"{address} is not a CSI camera", "give csi://0")
    width, height = options.width or _CSI_SIZE[0], options.height or _CSI_SIZE[1]
    rate = _fraction(options.frame_rate_hz or _CSI_RATE_HZ)
    size = f"width={width},height={height},framerate={rate}"
    # The camera's memory is the GPU's; nvvidconv makes I420 of it in hardware.
    return (
        f"nvarguscamerasrc sensor-id={match[1]} ! video/x-raw(memory:NVMM),format=NV12,{size}"
        " ! nvvidconv ! video/x-raw,format=I420"
    ).split()


def _asked(options: SourceOptions) -> str:
    caps = ""
    if options.width is not None and options.height is not None:
        caps += f",width={options.width},height={options.height}"
    if options.frame_rate_hz is not None:
        caps += f",framerate={_fraction(options.frame_rate_hz)}"
    return caps


def _fraction(rate_hz: float) -> str:
    """As GStreamer writes rates: 30/1, 25/2, and 30000/1001 for 29.97."""
    broadcast = Fraction(round(rate_hz * 1.001) * 1000, 1001)
    is_broadcast = abs(float(broadcast) - rate_hz) < 3e-4 * rate_hz
    exact = broadcast if is_broadcast else Fraction(rate_hz).limit_denominator(1000)
    return f"{exact.numerator}/{exact.denominator}"


def _without_sink(words: list[str]) -> list[str]:
    """Leave out an `! appsink ...` at the end, as pipelines written for OpenCV have it."""
    ends = [place for place, word in enumerate(words) if word == "!"]
    if ends and (words[ends[-1] + 1 :] or ["appsink"])[0] == "appsink":
        return words[: ends[-1]]
    return words
