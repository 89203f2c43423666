"""An RTSP camera for tests: H.264 whose pictures tell their number and when they were made.

Runs under the system's Python, which alone has GStreamer's bindings, never under the tests':

    /usr/bin/python3 rtsp_server.py PORT WIDTH HEIGHT RATE

Serves rtsp://127.0.0.1:PORT/live and prints "ready PORT" once it listens; PORT 0 takes a free one.
The pictures are read by `rtsp.read_numbers`.
"""

import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

BITS = 24
DARK, MIDDLE, BRIGHT = 40, 128, 220
PIPELINE = (
    "( appsrc name=camera is-live=true do-timestamp=true format=time"
    " caps=video/x-raw,format=I420,width={width},height={height},framerate={rate}/1"
    " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={rate} bitrate=2000"
    " ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)


def row(number: int, width: int) -> bytes:
    """One row of pixels: `number` in black and white blocks, the highest bit first."""
    block = width // BITS
    bits = [number >> bit & 1 for bit in reversed(range(BITS))]
    line = b"".join(bytes([BRIGHT if bit else DARK]) * block for bit in bits)
    return line.ljust(width, bytes([MIDDLE]))


def picture(index: int, width: int, height: int) -> bytes:
    """Gray I420: the picture's number in the upper quarter, the time in ms in the next one."""
    quarter = height // 4
    made_ms = time.monotonic_ns() // 1_000_000 % (1 << BITS)
    luma = row(index, width) * quarter + row(made_ms, width) * quarter
    luma = luma.ljust(width * height, bytes([MIDDLE]))
    return luma + bytes([128]) * (2 * ((width + 1) // 2) * ((height + 1) // 2))


def feed(camera: Gst.Element, width: int, height: int, rate: int) -> None:
    """Push a picture per frame time, until the viewers have gone."""
    state = {"index": 0}

    def push() -> bool:
        data = Gst.Buffer.new_wrapped(picture(state["index"], width, height))
        state["index"] += 1
        return bool(camera.emit("push-buffer", data) == Gst.FlowReturn.OK)

    GLib.timeout_add(1000 // rate, push)


def main() -> None:
    port, width, height, rate = map(int, sys.argv[1:5])
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE.format(width=width, height=height, rate=rate))
    factory.set_shared(True)
    factory.connect(
        "media-configure",
        lambda _, media: feed(
            media.get_element().get_by_name_recurse_up("camera"), width, height, rate
        ),
    )
    server.get_mount_points().add_factory("/live", factory)
    if server.attach(None) == 0:
        sys.exit(f"port {port} cannot be used")
    print("ready", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
