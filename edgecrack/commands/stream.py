"""The options of `stream`: parse, build a configuration, call."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from edgecrack.commands.shared_options import (
    BackendOption,
    DistanceOption,
    IgnoreOption,
    MinAreaOption,
    MmPerPixelOption,
    ModelOption,
    OverlapOption,
    ScalesOption,
    ThreadsOption,
    ThresholdOption,
    TiltOption,
    TowardsOption,
    choices,
    heading,
    results,
    scales_of,
    serve_config,
)
from edgecrack.constants import MIN_AREA_PX
from edgecrack.errors import ConfigError
from edgecrack.images.kinds import DEFAULT_MEGAPIXELS
from edgecrack.runtime.sources.options import DEFAULT_TIMEOUT_MS
from edgecrack.terminal.redaction import redact

if TYPE_CHECKING:
    from edgecrack.runtime.recording.config import RecordingConfig

_SOURCE_VARIABLE, _SOURCE_FILE_VARIABLE = "EDGECRACK_SOURCE", "EDGECRACK_SOURCE_FILE"
_GIVE_A_SOURCE = "give --camera 0, or --source with a video, address or demo"
_LONGEST_ADDRESS = 16_384

_input, _scale, _live, _page, _recording = map(
    heading, ("Input", "Scale", "Faults and overload", "Live page", "Recording")
)


def stream(
    source: Annotated[
        str | None,
        _input(
            "SOURCE",
            "Video, folder or pattern of images, recording (*.mcap), camera (/dev/v4l/by-id/...), "
            "csi://0, gst://PIPELINE, rtsp:// or http:// address; or demo, a wall that needs no "
            "camera.",
        ),
    ] = None,
    source_file: Annotated[
        Path | None,
        _input(
            "FILE",
            "File with the source's address, for one with a password: everybody on a machine can "
            "read its command lines; else EDGECRACK_SOURCE_FILE, EDGECRACK_SOURCE.",
        ),
    ] = None,
    camera: Annotated[int | None, _input("NUMBER", "Camera of this machine; 0: the first.")] = None,
    width: Annotated[int | None, _input("PIXELS", "Ask the camera for this width.")] = None,
    height: Annotated[int | None, _input("PIXELS", "Ask the camera for this height.")] = None,
    rate: Annotated[float | None, _input("HZ", "Ask the camera for this frame rate.")] = None,
    pixel_format: Annotated[
        str | None, _input("FOURCC", "Ask the camera for this format, such as MJPG or YUYV.")
    ] = None,
    flip: Annotated[
        str, _input("HOW", "none, horizontal, vertical, or both: a camera that hangs upside down.")
    ] = "none",
    loop: Annotated[bool, _input("", "Begin a file again at its end.", "--loop")] = False,
    topic: Annotated[
        str | None, _input("TOPIC", "Image topic of a recording; default: its only one.")
    ] = None,
    track: Annotated[
        int | None, _input("NUMBER", "Which of a file's several video tracks, from 0.")
    ] = None,
    capture_delay_ms: Annotated[
        float,
        _input(
            "MS",
            "How long before it arrives a picture was taken, where a live source does not say.",
        ),
    ] = 0.0,
    max_megapixels: Annotated[
        float, _input("COUNT", "Larger pictures are not read; some 8 bytes of memory a pixel.")
    ] = DEFAULT_MEGAPIXELS,
    location: Annotated[
        bool,
        _input("", "Whether results say where a photo was taken.", "--location/--no-location"),
    ] = True,
    position: Annotated[
        str | None,
        _input(
            "ADDRESS",
            "Where the robot is: udp://127.0.0.1:PORT (JSON lines), or recording, the topics of "
            "the *.mcap that is replayed.",
        ),
    ] = None,
    mm_per_pixel: MmPerPixelOption = None,
    camera_file: Annotated[
        str | None,
        _scale(
            "FILE",
            "In its place, a calibrated camera, as calibrate-camera and ROS write it; recording: "
            "the CameraInfo of the *.mcap that is replayed. Takes the range that comes with "
            "--position, or --distance-m.",
        ),
    ] = None,
    distance_m: DistanceOption = None,
    tilt_deg: TiltOption = None,
    tilt_towards_deg: TowardsOption = None,
    max_frames: Annotated[int | None, _input("COUNT", "Stop after so many frames.")] = None,
    wait: Annotated[
        bool, _live("", "Also wait for a source that is not there yet.", "--wait")
    ] = False,
    give_up_after: Annotated[
        float | None,
        _live("SECONDS", "End when a live source was away for so long; default: never."),
    ] = None,
    stall_after: Annotated[
        float, _live("SECONDS", "A live source that is silent for so long is opened again.")
    ] = 5.0,
    max_age_ms: Annotated[
        float | None,
        _live("MS", "Results older than this are never published; default: all are."),
    ] = None,
    target_fps: Annotated[
        float | None,
        _live(
            "RATE",
            "Results per second to keep to: skips frames above it; where it is not reached, tiles "
            "overlap less, then take turns.",
        ),
    ] = None,
    serve: Annotated[
        str | None,
        _page(
            "HOST:PORT", "Show the stream on a page; an address other than 127.0.0.1 needs a token."
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        _page("FILE", "File with the token that viewers give; else EDGECRACK_TOKEN."),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        _page("FILE", "Serve by HTTPS: the certificate, with those between, as PEM."),
    ] = None,
    tls_key: Annotated[
        Path | None, _page("FILE", "The certificate's key as PEM, without a password.")
    ] = None,
    record: Annotated[
        Path | None,
        _recording("FILE", "Record to FILE_0001.mcap and so on, for Foxglove and ROS 2."),
    ] = None,
    record_part_size: Annotated[
        str, _recording("SIZE", "Begin a new part after this size.")
    ] = "512MiB",
    record_part_time: Annotated[
        str, _recording("TIME", "Begin a new part after this time.")
    ] = "10min",
    record_when_full: Annotated[
        str, _recording("HOW", "stop, or delete-oldest: the oldest finished part makes room.")
    ] = "stop",
    record_reserve: Annotated[str, _recording("SIZE", "Disk space to leave free.")] = "512MiB",
    out: Annotated[
        Path,
        results(
            "FOLDER",
            "Where the results go; beside it, as FOLDER-2, where an earlier run's are. {date} and "
            "{time} in it become those of the start.",
            "--out",
            "-o",
        ),
    ] = Path("runs/stream"),
    overwrite: Annotated[
        bool, results("", "Remove the earlier run's results in --out.", "--overwrite")
    ] = False,
    go_on: Annotated[
        bool,
        results(
            "",
            "Go on with the earlier run in --out, in a folder part-2 there, unless it is complete "
            "or had other settings; for services that are started again.",
            "--continue",
        ),
    ] = False,
    save: Annotated[
        str,
        results(
            "KINDS", "Some of overlay, mask, prob, jsonl, widths; or none. A scale adds widths."
        ),
    ] = "overlay,mask,jsonl",
    survey: Annotated[
        bool,
        results(
            "",
            "Keep undrawn key frames and where each frame lies, for `edgecrack survey FOLDER`.",
            "--survey",
        ),
    ] = False,
    json_output: Annotated[
        bool, results("", "Print the summary as JSON, and nothing else.", "--json")
    ] = False,
    log_format: Annotated[
        str, results("FORMAT", "Log on standard error: text, or json lines with counters.")
    ] = "text",
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    min_area: MinAreaOption = MIN_AREA_PX,
    overlap: OverlapOption = None,
    scales: ScalesOption = None,
    ignore: IgnoreOption = None,
    threads: ThreadsOption = None,
    backend: BackendOption = None,
) -> None:
    """Find cracks in a camera, stream, video, folder or recording, live.

    Cameras and streams that drop out are opened again. Ctrl-C or SIGTERM ends it cleanly: what
    was found until then is complete and readable.
    """
    from edgecrack.runtime.measuring.stream_scale import stream_scale
    from edgecrack.runtime.outputs.output_place import existing_of
    from edgecrack.runtime.sources.options import Flip, SourceOptions
    from edgecrack.runtime.sources.reconnecting import ReconnectPolicy
    from edgecrack.runtime.stream import run_stream
    from edgecrack.runtime.stream_config import StreamConfig
    from edgecrack.runtime.telemetry.events import LogFormat

    config = StreamConfig(
        source=source_address(source, camera, source_file),
        shows_password=source is not None and redact(source.strip()) != source.strip(),
        out=with_time(out),
        existing=existing_of(overwrite=overwrite, go_on=go_on),
        model=model,
        save=choices(save),
        max_frames=max_frames,
        threshold=threshold,
        min_area_px=min_area,
        overlap_px=overlap,
        scales=scales_of(scales),
        ignore=ignore,
        threads=threads,
        backend=backend,
        source_options=SourceOptions(
            width,
            height,
            rate,
            pixel_format,
            cast(Flip, flip),
            loop,
            timeout_ms=_timeout_ms(stall_after),
            topic=topic,
            track=track,
            capture_delay_ms=capture_delay_ms,
            max_megapixels=max_megapixels,
            keeps_location=location,
        ),
        policy=ReconnectPolicy(
            open_timeout_s=_timeout_ms(stall_after) / 1000 + 3,
            stall_timeout_s=stall_after,
            give_up_after_s=give_up_after,
            wait_for_first=wait,
        ),
        max_age_ms=max_age_ms,
        target_fps=target_fps,
        record=_recording_config(
            record, record_part_size, record_part_time, record_when_full, record_reserve
        ),
        serve=serve_config(serve, token_file, tls_cert, tls_key),
        position=position,
        scale=stream_scale(mm_per_pixel, camera_file, distance_m, tilt_deg, tilt_towards_deg),
        survey=survey,
        log_format=cast(LogFormat, log_format),
    )
    run_stream(config, as_json=json_output)


def source_address(source: str | None, camera: int | None, source_file: Path | None = None) -> str:
    """The address that an option gives or, without one, the environment.

    Raises:
        ConfigError: there is none, or there are several, or the file cannot be read.
    """
    options = {"--source": source, "--camera": camera, "--source-file": source_file}
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        both = "both " if len(given) == 2 else ""
        raise ConfigError(f"{both}{' and '.join(given)} are given", _GIVE_A_SOURCE)
    if not given:
        if named := os.environ.get(_SOURCE_FILE_VARIABLE):
            return _address_in(Path(named))
        source = os.environ.get(_SOURCE_VARIABLE, "")
        if not source.strip():
            raise ConfigError("no source is given", _GIVE_A_SOURCE)
    if source_file is not None:
        return _address_in(source_file)
    if source is not None:
        return source.strip()
    if camera is not None and camera < 0:
        raise ConfigError(f"--camera is {camera}", "give 0 for the first camera")
    return f"camera:{camera}"


def _address_in(path: Path) -> str:
    """The address that a file holds; never shown, for a slip may be a file of passwords."""
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_ADDRESS + 1)
        text = data.decode().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(
            f"the source's address cannot be read from {path}: {reason}",
            "give a file with the address alone, readable by this user",
        ) from error
    if not text or len(text.splitlines()) > 1 or len(data) > _LONGEST_ADDRESS:
        raise ConfigError(
            f"{path} holds no address in a single line", "write the source's address alone into it"
        )
    return text


def with_time(path: Path) -> Path:
    """The path with `{time}` and `{date}` in it replaced by those of now, in UTC.

    `{date}` is such as 20261122, `{time}` such as 20261122T210500Z.
    """
    now = datetime.now(timezone.utc)
    text = str(path).replace("{time}", f"{now:%Y%m%dT%H%M%SZ}")
    return Path(text.replace("{date}", f"{now:%Y%m%d}"))


def _timeout_ms(stall_after_s: float) -> int:
    """The source's own limit, above the stall's so that a silence counts as what it is."""
    if not 0 < stall_after_s <= 590:
        raise ConfigError(
            f"--stall-after is {stall_after_s:g}", "give seconds above 0, at most 590"
        )
    return max(DEFAULT_TIMEOUT_MS, round(1000 * stall_after_s) + 1000)


def _recording_config(
    path: Path | None, part_size: str, part_time: str, when_full: str, reserve: str
) -> RecordingConfig | None:
    if path is None:
        return None
    from edgecrack.runtime.recording.config import (
        RecordingConfig,
        WhenFull,
        parse_bytes,
        parse_seconds,
    )

    return RecordingConfig(
        path=with_time(path),
        part_bytes=parse_bytes(part_size),
        part_s=parse_seconds(part_time),
        when_full=cast(WhenFull, when_full),
        reserve_bytes=parse_bytes(reserve),
    )
