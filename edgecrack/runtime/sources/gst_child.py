"""Replaces `gst-launch-1.0` for a pipeline with a password; run as a program of its own.

Every user can read a process's command line, the only way to pass `gst-launch-1.0` a pipeline. This
program reads it from the environment, which only its user can read. It words its errors as
`gst-launch-1.0` does and imports only the standard library.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

VARIABLE = "EDGECRACK_PIPELINE"
LIBRARY = "libgstreamer-1.0.so.0"

_NULL, _PAUSED, _PLAYING = 1, 3, 4
_FAILURE = 0
_EOS, _ERROR, _CLOCK_LOST, _LATENCY = 1 << 0, 1 << 1, 1 << 10, 1 << 19
# Between two looks, a signal can end the program.
_LOOK_NS = 100_000_000


class _Error(ctypes.Structure):
    _fields_ = (
        ("domain", ctypes.c_uint32),
        ("code", ctypes.c_int),
        ("message", ctypes.c_char_p),
    )


class _Message(ctypes.Structure):
    """GstMessage as far as it is read: its head is a GstMiniObject."""

    _fields_ = (
        ("object_type", ctypes.c_size_t),
        ("counts_and_flags", ctypes.c_int * 3),
        ("functions", ctypes.c_void_p * 3),
        ("private_count", ctypes.c_uint),
        ("private", ctypes.c_void_p),
        ("type", ctypes.c_int),
        ("timestamp", ctypes.c_uint64),
        ("source", ctypes.c_void_p),
    )


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(LIBRARY)
    library.gst_parse_launchv.restype = ctypes.c_void_p
    library.gst_element_get_bus.restype = ctypes.c_void_p
    library.gst_element_get_bus.argtypes = (ctypes.c_void_p,)
    library.gst_element_set_state.argtypes = (ctypes.c_void_p, ctypes.c_int)
    library.gst_bus_timed_pop.restype = ctypes.POINTER(_Message)
    library.gst_bus_timed_pop.argtypes = (ctypes.c_void_p, ctypes.c_uint64)
    library.gst_message_parse_error.argtypes = (ctypes.c_void_p,) * 3
    library.gst_object_get_path_string.restype = ctypes.c_char_p
    library.gst_object_get_path_string.argtypes = (ctypes.c_void_p,)
    library.gst_bin_recalculate_latency.argtypes = (ctypes.c_void_p,)
    library.gst_mini_object_unref.argtypes = (ctypes.c_void_p,)
    library.gst_init(None, None)
    return library


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


def _say_error(library: ctypes.CDLL, message: ctypes._Pointer[_Message]) -> None:
    error, detail = ctypes.POINTER(_Error)(), ctypes.c_char_p()
    library.gst_message_parse_error(message, ctypes.byref(error), ctypes.byref(detail))
    origin = _text(library.gst_object_get_path_string(message.contents.source))
    print(f"ERROR: from element {origin}: {_text(error.contents.message)}")
    print(f"Additional debug info:\n{_text(detail.value)}", flush=True)


def _run(library: ctypes.CDLL, pipeline: int) -> int:
    """Play a pipeline to its end; the exit code."""
    bus = library.gst_element_get_bus(pipeline)
    failed = library.gst_element_set_state(pipeline, _PLAYING) == _FAILURE
    while True:
        message = library.gst_bus_timed_pop(bus, 0 if failed else _LOOK_NS)
        if not message:
            if failed:
                print("ERROR: the pipeline cannot be started", flush=True)
                return 1
            continue
        kind = message.contents.type
        if kind == _ERROR:
            _say_error(library, message)
            return 1
        if kind == _EOS:
            return 0
        if kind == _LATENCY:
            library.gst_bin_recalculate_latency(pipeline)
        elif kind == _CLOCK_LOST:
            library.gst_element_set_state(pipeline, _PAUSED)
            library.gst_element_set_state(pipeline, _PLAYING)
        library.gst_mini_object_unref(message)


def main() -> int:
    """Play the pipeline whose words the environment holds as JSON."""
    words = [word.encode() for word in json.loads(os.environ.pop(VARIABLE))]
    library = _library()
    error = ctypes.POINTER(_Error)()
    arguments = (ctypes.c_char_p * (len(words) + 1))(*words, None)
    pipeline = library.gst_parse_launchv(arguments, ctypes.byref(error))
    if not pipeline or error:
        said = _text(error.contents.message) if error else "it is empty"
        print(f"WARNING: erroneous pipeline: {said}", flush=True)
        return 1
    try:
        return _run(library, pipeline)
    except KeyboardInterrupt:
        return 130
    finally:
        library.gst_element_set_state(pipeline, _NULL)


if __name__ == "__main__":
    sys.exit(main())
