"""`edgecrack stream`: find cracks in a camera, stream, video, folder or recording."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from edgecrack.commands.shared_options import (
    BackendOption,
    DistanceOption,
    IgnoreOption,
    JsonOption,
    LocationOption,
    MaxFramesOption,
    MegapixelsOption,
    MinAreaOption,
    MmPerPixelOption,
    ModelOption,
    OverlapOption,
    ScalesOption,
    ThreadsOption,
    ThresholdOption,
    TiltOption,
    TlsCertOption,
    TlsKeyOption,
    TokenFileOption,
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
    source: Annotated[str | None, _input("SOURCE")] = None,
    source_file: Annotated[Path | None, _input("FILE")] = None,
    camera: Annotated[int | None, _input("NUMBER")] = None,
    width: Annotated[int | None, _input("PIXELS")] = None,
    height: Annotated[int | None, _input("PIXELS")] = None,
    rate: Annotated[float | None, _input("HZ")] = None,
    pixel_format: Annotated[str | None, _input("FOURCC")] = None,
    flip: Annotated[str, _input("HOW")] = "none",
    loop: Annotated[bool, _input("", "--loop")] = False,
    topic: Annotated[str | None, _input("TOPIC")] = None,
    track: Annotated[int | None, _input("NUMBER")] = None,
    capture_delay_ms: Annotated[float, _input("MS")] = 0.0,
    max_megapixels: MegapixelsOption = DEFAULT_MEGAPIXELS,
    location: LocationOption = True,
    position: Annotated[str | None, _input("ADDRESS")] = None,
    mm_per_pixel: MmPerPixelOption = None,
    camera_file: Annotated[str | None, _scale("FILE")] = None,
    distance_m: DistanceOption = None,
    tilt_deg: TiltOption = None,
    tilt_towards_deg: TowardsOption = None,
    max_frames: MaxFramesOption = None,
    wait: Annotated[bool, _live("", "--wait")] = False,
    give_up_after: Annotated[float | None, _live("SECONDS")] = None,
    stall_after: Annotated[float, _live("SECONDS")] = 5.0,
    max_age_ms: Annotated[float | None, _live("MS")] = None,
    target_fps: Annotated[float | None, _live("RATE")] = None,
    serve: Annotated[str | None, _page("HOST:PORT")] = None,
    token_file: TokenFileOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    record: Annotated[Path | None, _recording("FILE")] = None,
    record_part_size: Annotated[str, _recording("SIZE")] = "512MiB",
    record_part_time: Annotated[str, _recording("TIME")] = "10min",
    record_when_full: Annotated[str, _recording("HOW")] = "stop",
    record_reserve: Annotated[str, _recording("SIZE")] = "512MiB",
    out: Annotated[Path, results("FOLDER", "--out", "-o")] = Path("runs/stream"),
    overwrite: Annotated[bool, results("", "--overwrite")] = False,
    go_on: Annotated[bool, results("", "--continue")] = False,
    save: Annotated[str, results("KINDS")] = "overlay,mask,jsonl",
    survey: Annotated[bool, results("", "--survey")] = False,
    json_output: JsonOption = False,
    log_format: Annotated[str, results("FORMAT")] = "text",
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

    Cameras and streams that drop out are reopened. Ctrl-C or SIGTERM stops it cleanly, with
    complete and readable results up to then.

    Args:
        source: Video, folder or pattern of images, recording (*.mcap), camera (/dev/v4l/by-id/...),
            csi://0, gst://PIPELINE, rtsp:// or http:// address; or demo, a generated wall.
        source_file: File with the address of the source, to keep its password off the command line.
            Default: EDGECRACK_SOURCE_FILE, then EDGECRACK_SOURCE.
        camera: Camera of this machine, from 0.
        width: Width to request from the camera.
        height: Height to request from the camera.
        rate: Frame rate to request from the camera.
        pixel_format: Format to request from the camera, such as MJPG or YUYV.
        flip: none, horizontal, vertical, or both for a camera mounted upside down.
        loop: Restart a file at its end.
        topic: Image topic of a recording; default: its only one.
        track: Video track of a file with several, from 0.
        capture_delay_ms: Time from exposure to arrival of a frame, if a live source does not report
            it.
        position: Source of the robot's position: udp://127.0.0.1:PORT (JSON lines), or recording
            for the topics of the replayed *.mcap.
        camera_file: Calibrated camera, from calibrate-camera or ROS, or recording for the
            CameraInfo of the replayed *.mcap. Needs --distance-m, or ranges from --position.
        wait: Wait for a source that is not available yet.
        give_up_after: Stop when a live source is lost for this long; default: never.
        stall_after: Reopen a live source that is silent for this long.
        max_age_ms: Never publish results older than this; default: publish all.
        target_fps: Target results per second. Frames above it are skipped; below it, tiles overlap
            less, then alternate.
        serve: Serve a live page; any address but 127.0.0.1 needs a token.
        record: Record to FILE_0001.mcap and so on, for Foxglove and ROS 2.
        record_part_size: Start a new part at this size.
        record_part_time: Start a new part after this time.
        record_when_full: stop, or delete-oldest to delete the oldest finished part.
        record_reserve: Disk space to keep free.
        out: Folder for the results; FOLDER-2 if it contains those of an earlier run. {date} and
            {time} are replaced by those of the start.
        overwrite: Delete the earlier run's results in --out.
        go_on: Continue the earlier run in --out, in its subfolder part-2, unless it is complete or
            had other settings; for services that restart.
        save: Any of overlay, mask, prob, jsonl, widths; or none. A scale adds widths.
        survey: Keep key frames without drawing and frame positions, for `edgecrack survey FOLDER`.
        log_format: Log format on standard error: text, or json with counters.
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
    """The address of the source, from an option or else from the environment.

    Raises:
        ConfigError: no address or several are given, or the file is unreadable.
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
    """The address in a file; never shown, since a wrong file may contain passwords."""
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_ADDRESS + 1)
        text = data.decode().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(
            f"the source's address cannot be read from {path}: {reason}",
            "give a file with only the address, readable by this user",
        ) from error
    if not text or len(text.splitlines()) > 1 or len(data) > _LONGEST_ADDRESS:
        raise ConfigError(
            f"{path} is not a single line with an address", "write only the source's address to it"
        )
    return text


def with_time(path: Path) -> Path:
    """The path with `{date}` (20261122) and `{time}` (20261122T210500Z) of now, in UTC."""
    now = datetime.now(timezone.utc)
    text = str(path).replace("{time}", f"{now:%Y%m%dT%H%M%SZ}")
    return Path(text.replace("{date}", f"{now:%Y%m%d}"))


def _timeout_ms(stall_after_s: float) -> int:
    """Timeout of the source itself, above `--stall-after` so that silence counts as a stall."""
    if not 0 < stall_after_s <= 590:
        raise ConfigError(
            f"--stall-after is {stall_after_s:g}", "give seconds above 0, at most 590"
        )
    from edgecrack.runtime.sources.options import DEFAULT_TIMEOUT_MS

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
