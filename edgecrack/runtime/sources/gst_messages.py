"""What `gst-launch-1.0` says when a pipeline fails, as one sentence with a remedy.

Knows text only; takes passwords out of it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Sequence

from edgecrack.errors import EdgecrackError, MissingDependencyError, SourceError

INSTALL = (
    "run: sudo apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good"
)
# Those that are put behind every pipeline.
_OUR_ELEMENTS = ("videoconvert", "queue", "rtpgstpay", "rtpstreampay", "fdsink", "capsfilter")

_USER_INFO = re.compile(r"(?<=://).*@", re.DOTALL)
_SECRET_PROPERTY = re.compile(
    r"(?P<key>\b[a-z-]*(?:user|user-id|pw|pass\w*|key|token|secret|auth\w*)=).+",
    re.IGNORECASE | re.DOTALL,
)
# GStreamer takes blanks around the sign; and cameras take secrets in the query of an address.
_SPACED_SECRET = re.compile(
    r"(?P<key>\b[a-z-]*(?:user|user-id|pw|psw|pas\w*|pwd|key|token|secret|sig|auth\w*|login\w*)\s*=\s*)"
    r"(?:\"[^\"]*\"|[^\s&;]+)",
    re.IGNORECASE,
)
_NO_ELEMENT = re.compile(r"no element \"([^\"]+)\"")
_ERRONEOUS = re.compile(r"(?:erroneous pipeline|could not be constructed): (.+)")
_FROM_ELEMENT = re.compile(r"ERROR: from element (?:.*:)?([^:/]+): (.+)")
_LONGEST_REASON = 300


def without_passwords(words: Iterable[str]) -> str:
    """A pipeline's words in one line, with users and passwords replaced by `***`."""
    line = " ".join(
        _SECRET_PROPERTY.sub(r"\g<key>***", _USER_INFO.sub("***@", word)) for word in words
    )
    return _SPACED_SECRET.sub(r"\g<key>***", line)


def failure(name: str, lines: Sequence[str], exit_status: int | None) -> EdgecrackError:
    """The error of a pipeline that has ended.

    Args:
        name: the source's, without passwords.
        lines: what it said last.
        exit_status: as `Child` gives it.
    """
    if missing := _NO_ELEMENT.search("\n".join(lines)):
        return _missing(name, missing[1])
    reason = _reason(lines) or _by_status(exit_status)
    # What it says may quote an address with its password, in whatever form.
    words = without_passwords(reason.split(" "))
    return SourceError(
        f"{name} stopped: {words[:_LONGEST_REASON].rstrip('.')}",
        "try the pipeline with gst-launch-1.0; here it must end in raw video, without a sink",
    )


def _missing(name: str, element: str) -> EdgecrackError:
    if element in _OUR_ELEMENTS:
        return MissingDependencyError(f"{name} needs GStreamer's element {element}", INSTALL)
    if element.startswith("nv"):
        return SourceError(
            f"{name} needs GStreamer's element {element}, which only a Jetson has",
            "run it on a Jetson with JetPack's GStreamer, or give camera:0 or another gst://",
        )
    return SourceError(
        f"{name} needs GStreamer's element {element}, which is not installed",
        f"check its spelling, or find its package with: apt-cache search gstreamer1.0-plugins; "
        f"gst-inspect-1.0 {element} tells whether it is there",
    )


def _reason(lines: Sequence[str]) -> str:
    """The first error with its detail; failing that, the last line that speaks of one."""
    for number, line in enumerate(lines):
        if found := _ERRONEOUS.search(line):
            return found[1]
        if found := _FROM_ELEMENT.search(line):
            # Two lines further stands what the system said: "No such file".
            is_detailed = lines[number + 1 : number + 2] == ["Additional debug info:"]
            detail = " ".join(lines[number + 3 : number + 4]) if is_detailed else ""
            return f"{found[1]}: {found[2]} {detail}".strip()
    said = [line for line in lines if re.search(r"error|fail|no cameras", line, re.IGNORECASE)]
    return said[-1] if said else ""


def _by_status(exit_status: int | None) -> str:
    if exit_status is None:
        return "it sends nothing more"
    if exit_status < 0:
        return f"it was ended by {signal.Signals(-exit_status).name}"
    return "its end is reached" if exit_status == 0 else f"it gave the exit code {exit_status}"
