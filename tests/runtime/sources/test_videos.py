"""Videos of every kind that comes from the field, against ffprobe and a second decoder."""

from __future__ import annotations

import random
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.stream import describe
from tests.runtime.fakes import BrightDetector, Image, ListSink, picture, write_video
from tests.runtime.ffmpeg_program import (
    TESTED,
    decoded_bgr,
    ffmpeg,
    frame_times_ms,
    make_video,
    probe,
    require_ffmpeg,
)

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "10", "-bf", "2")
OTHER_PACKETS = 4_000


def read_all(source: Source) -> list[Frame]:
    frames = []
    while (taken := source.read()) is not None:
        frames.append(taken)
    return frames


def frames_of(path: Path, options: SourceOptions | None = None) -> list[Frame]:
    with open_source(path, options) as source:
        return read_all(source)


def media_times_ms(frames: list[Frame]) -> list[float]:
    times = [taken.media_time_ms for taken in frames]
    assert None not in times
    return [time_ms for time_ms in times if time_ms is not None]


def assert_same_pictures(frames: list[Frame], path: Path, track: int = 0) -> None:
    """All frames are those of the second decoder, but for its rounding of colours."""
    expected = decoded_bgr(path, track)
    assert len(frames) == len(expected)
    for taken, other in zip(frames, expected, strict=True):
        assert taken.image.shape == other.shape
        assert np.abs(gray(taken.image) - gray(other)).mean() < 2


def gray(image: Image) -> NDArray[np.int16]:
    """Without colours, in which decoders differ by how they interpolate them."""
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY).astype(np.int16)


# Name, encoder, options. Every kind has its own way of order, times and damage.
KINDS = [
    ("h264.mp4", "libx264", H264),
    ("h264.mkv", "libx264", H264),
    ("h264.ts", "libx264", H264),
    ("open-gop.ts", "libx264", (*H264, "-x264-params", "open-gop=1")),
    ("stripes.mp4", "libx264", (*H264, "-x264-params", "intra-refresh=1")),
    ("slices.ts", "libx264", (*H264, "-x264-params", "slices=4")),
    ("ten-bit.mp4", "libx264", ("-c:v", "libx264", "-pix_fmt", "yuv420p10le")),
    ("interlaced.ts", "libx264", (*H264, "-flags", "+ildct+ilme", "-x264-params", "tff=1")),
    ("pal.avi", "dvvideo", ("-c:v", "dvvideo", "-s", "720x576", "-pix_fmt", "yuv420p")),
    ("hevc.mp4", "libx265", ("-c:v", "libx265", "-x265-params", "log-level=none:keyint=10")),
    (
        "hevc10.mkv",
        "libx265",
        ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p10le"),
    ),
    ("av1.mkv", "libaom-av1", ("-c:v", "libaom-av1", "-cpu-used", "8", "-g", "10")),
    ("vp9.webm", "libvpx-vp9", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-g", "10")),
    ("vp8.webm", "libvpx", ("-c:v", "libvpx", "-deadline", "realtime", "-g", "10")),
    ("mpeg4.avi", "mpeg4", ("-c:v", "mpeg4", "-q:v", "4", "-g", "10")),
    ("mpeg4.mp4", "mpeg4", ("-c:v", "mpeg4", "-q:v", "4", "-g", "10")),
    ("mpeg2.ts", "mpeg2video", ("-c:v", "mpeg2video", "-q:v", "4", "-bf", "2", "-g", "10")),
    ("mpeg2.mpg", "mpeg2video", ("-c:v", "mpeg2video", "-q:v", "4", "-g", "10")),
    ("mjpeg.avi", "mjpeg", ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p")),
    ("prores.mov", "prores_ks", ("-c:v", "prores_ks")),
    ("ffv1.mkv", "ffv1", ("-c:v", "ffv1", "-level", "3", "-g", "10")),
    ("gray16.mkv", "ffv1", ("-c:v", "ffv1", "-pix_fmt", "gray16le")),
    ("windows.wmv", "wmv2", ("-c:v", "wmv2", "-q:v", "4", "-g", "10")),
    ("flash.flv", "flv", ("-c:v", "flv", "-q:v", "4", "-g", "10")),
    ("phone.3gp", "h263", ("-c:v", "h263", "-s", "176x144", "-q:v", "4", "-g", "10")),
]


@pytest.mark.parametrize(("name", "encoder", "options"), KINDS, ids=[kind[0] for kind in KINDS])
def test_every_frame_comes_with_its_picture_and_time(
    name: str, encoder: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    require_ffmpeg(encoder)
    path = make_video(tmp_path / name, *options)
    with open_source(path) as source:
        frames = read_all(source)
        assert not source.status.is_cut_short
        assert source.corrupt_frames == 0
    assert_same_pictures(frames, path)
    assert media_times_ms(frames) == pytest.approx(frame_times_ms(path), abs=0.6)
    assert [taken.index for taken in frames] == list(range(len(frames)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("camera.h264", H264),
        ("camera.mjpeg", ("-c:v", "mjpeg")),
        ("camera.m4v", ("-c:v", "mpeg4", "-f", "m4v")),
    ],
)
def test_a_bare_stream_has_all_frames_and_no_times(
    name: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    require_ffmpeg("libx264")
    path = make_video(tmp_path / name, *options)
    frames = frames_of(path)
    assert_same_pictures(frames, path)
    assert {taken.media_time_ms for taken in frames} == {None}


def test_a_video_whose_rate_varies_keeps_its_times(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    irregular = "select='not(mod(n,3))+not(mod(n,7))',setpts='PTS+0.013*sin(N)/TB'"
    path = make_video(tmp_path / "vfr.mkv", "-vf", irregular, "-fps_mode", "vfr", *H264)
    times = media_times_ms(frames_of(path))
    assert times == pytest.approx(frame_times_ms(path), abs=0.6)
    assert len(set(np.diff(times).round())) > 2


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_video_is_shown_upright(turn: int, tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    flat = make_video(tmp_path / "flat.mp4", *H264, seconds=0.3)
    path = tmp_path / "turned.mp4"
    ffmpeg("-i", flat, "-c", "copy", "-metadata:s:v", f"rotate={turn}", path)
    frames = frames_of(path)
    assert_same_pictures(frames, path)
    quarter_turns = {90: 1, 180: 2, 270: 3}[turn]
    expected = np.rot90(frames_of(flat)[0].image, -quarter_turns)
    found = np.rot90(frames_of(flat)[0].image, quarter_turns)
    assert any(np.array_equal(frames[0].image, one) for one in (expected, found))


def test_a_resolution_that_changes_gives_frames_of_the_new_size(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    parts = []
    for size in ("192x144", "320x240", "128x96"):
        scene = ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25")
        parts.append(make_video(tmp_path / f"{size}.ts", *H264, seconds=0.4, source=scene))
    path = tmp_path / "changes.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    sink = ListSink()
    with open_source(path) as source:
        summary = run_pipeline(source, BrightDetector(), [sink])
    sizes = [result.frame.hw for result in sink.results]
    assert list(dict.fromkeys(sizes)) == [(144, 192), (240, 320), (96, 128)]
    # Where one part ends and the next begins, the last pictures may lack something.
    assert len(sizes) >= 24
    assert len(sizes) + summary.stats.corrupt_frames == 30
    assert summary.stats.size_changes == 2


def test_two_video_tracks_the_default_one_is_read_and_said(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    path = tmp_path / "two.mkv"
    other = ("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25")
    ffmpeg(*TESTED, *other, "-t", "0.4", "-map", "0:v", "-map", "1:v", *H264,
           "-disposition:v:0", "0", "-disposition:v:1", "default", path)  # fmt: skip
    with open_source(path) as source:
        note = getattr(source, "note", None)
        assert {taken.hw for taken in read_all(source)} == {(240, 320)}
    assert note is not None
    assert "2 video tracks; track 1 (320x240, h264) is read" in note
    assert "0 (192x144, h264)" in note
    chosen = frames_of(path, SourceOptions(track=0))
    assert_same_pictures(chosen, path, 0)
    with pytest.raises(SourceError, match="no video track 7") as caught:
        open_source(path, SourceOptions(track=7))
    assert "0 (192x144, h264), 1 (320x240, h264)" in caught.value.remedy


def test_frames_far_behind_other_tracks_are_found(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    path = tmp_path / "late.mkv"
    seconds = OTHER_PACKETS * 0.024
    sound = ("-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=8000:duration={seconds:.1f}")
    late = ("-itsoffset", f"{seconds - 1:.1f}", *TESTED)
    ffmpeg(*sound, *late, "-map", "0:a", "-map", "1:v", "-t", f"{seconds:.1f}",
           "-c:a", "ac3", "-ar", "32000", "-frames:v", "10", *H264, path)  # fmt: skip
    frames = frames_of(path)
    assert len(frames) == 10
    assert media_times_ms(frames) == pytest.approx(frame_times_ms(path), abs=0.6)


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    require_ffmpeg()
    cover = tmp_path / "cover.png"
    cv2.imwrite(str(cover), picture())
    path = tmp_path / "song.mp3"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-i", cover, "-map", "0", "-map", "1",
           "-disposition:v", "attached_pic", path)  # fmt: skip
    with pytest.raises(SourceError, match="only a cover picture"):
        open_source(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    require_ffmpeg()
    path = tmp_path / "sound.mka"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)
    with pytest.raises(SourceError, match=r"no video.*audio") as caught:
        open_source(path)
    assert "video track" in caught.value.remedy


def test_an_unknown_codec_is_named(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    path = make_video(tmp_path / "odd.mp4", *H264, seconds=0.3)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"avc1", b"QQQ1").replace(b"avcC", b"qqqC"))
    with pytest.raises(SourceError, match="QQQ1"):
        open_source(path)


def test_an_encrypted_file_is_refused_as_such(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    path = tmp_path / "secret.mp4"
    ffmpeg(*TESTED, "-t", "0.4", *H264, "-encryption_scheme", "cenc-aes-ctr",
           "-encryption_key", "00112233445566778899aabbccddeeff",
           "-encryption_kid", "00112233445566778899aabbccddeeff", path)  # fmt: skip
    with pytest.raises(SourceError, match="encrypted"):
        open_source(path)


def _cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


@pytest.mark.parametrize("share", [0.4, 0.7, 0.97])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "fragmented.mp4"])
def test_a_cut_file_is_said_to_be_cut(name: str, share: float, tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    moov = "frag_keyframe+empty_moov" if name.startswith("frag") else "faststart"
    options = H264 if name != "a.avi" else ("-c:v", "mpeg4", "-g", "10")
    movflags = ("-movflags", moov) if name.endswith("mp4") else ()
    path = make_video(tmp_path / name, *options, *movflags, seconds=4)
    whole = len(frames_of(path))
    _cut(path, share)
    with open_source(path) as source:
        summary = run_pipeline(source, BrightDetector(), [ListSink()])
    assert 0 < summary.frames_read < whole
    assert summary.truncated
    assert "cut" in describe(summary, tmp_path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.webm", "fragmented.mp4"])
def test_a_whole_file_is_not_called_cut_whatever_it_guesses(name: str, tmp_path: Path) -> None:
    """Sound that lasts longer makes a container overestimate its frames."""
    require_ffmpeg("libx264", "libvpx-vp9")
    path = tmp_path / name
    video = {"a.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime"), "a.avi": ("-c:v", "mpeg4")}
    movflags = ("-movflags", "frag_keyframe+empty_moov") if name.startswith("frag") else ()
    ffmpeg(*TESTED, "-f", "lavfi", "-i", "sine=duration=3", "-map", "0:v", "-map", "1:a",
           "-frames:v", "30", *video.get(name, H264), *movflags, path)  # fmt: skip
    with open_source(path) as source:
        summary = run_pipeline(source, BrightDetector(), [ListSink()])
    assert (summary.frames_read, summary.truncated) == (30, False)
    assert summary.stats.corrupt_frames == 0
    assert "warning" not in describe(summary, tmp_path)


def test_a_trimmed_file_is_not_called_cut(tmp_path: Path) -> None:
    """An edit list leaves out frames that the file still holds and counts."""
    require_ffmpeg("libx264")
    whole = make_video(tmp_path / "whole.mp4", *H264, "-g", "25", seconds=3)
    path = tmp_path / "trimmed.mp4"
    ffmpeg("-ss", "0.5", "-i", whole, "-c", "copy", path)
    with open_source(path) as source:
        frames = read_all(source)
        assert not source.status.is_cut_short
    assert_same_pictures(frames, path)


def test_a_matroska_file_that_still_grows_is_read_as_far_as_it_is(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    path = make_video(tmp_path / "a.mkv", *H264, "-cluster_time_limit", "200", seconds=3)
    growing = tmp_path / "growing.mkv"
    ffmpeg(*TESTED, "-t", "3", *H264, "-live", "1", "-f", "matroska", growing)
    data = growing.read_bytes()
    growing.write_bytes(data[: len(data) // 2])
    frames = frames_of(growing)
    whole = frames_of(path)
    assert 20 < len(frames) < len(whole)
    found, expected = media_times_ms(frames), media_times_ms(whole)
    assert all(min(abs(one - other) for other in expected) < 1.1 for one in found)
    assert found == sorted(found)


def _worst_difference(frames: list[Frame], reference: dict[int, Frame]) -> float:
    """Largest share of pixels that differ clearly from the same moment of the sound video."""
    worst = 0.0
    for taken in frames:
        assert taken.media_time_ms is not None
        other = reference[round(taken.media_time_ms)]
        differs = np.abs(taken.image.astype(int) - other.image).max(axis=2) > 24
        worst = max(worst, float(differs.mean()))
    return worst


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["h264.ts", "open-gop.ts", "mpeg2.ts"])
def test_frames_that_lost_packets_are_left_out_and_counted(
    name: str, seed: int, tmp_path: Path
) -> None:
    encoder, options = next(kind[1:] for kind in KINDS if kind[0] == name)
    require_ffmpeg(encoder)
    path = make_video(tmp_path / name, *options, seconds=3)
    sound = {round(taken.media_time_ms or 0): taken for taken in frames_of(path)}
    data = path.read_bytes()
    packets = [data[place : place + 188] for place in range(0, len(data), 188)]
    of_video = [index for index, one in enumerate(packets) if one[1] & 31 == 1 and one[2] == 0]
    rng = random.Random(seed)
    first = rng.randrange(len(of_video) // 4, len(of_video) * 3 // 4)
    lost = set(of_video[first : first + rng.choice([1, 3, 7])])
    path.write_bytes(b"".join(one for index, one in enumerate(packets) if index not in lost))
    with open_source(path) as source:
        frames = read_all(source)
        assert source.corrupt_frames > 0
    assert len(sound) // 3 < len(frames) < len(sound)
    assert _worst_difference(frames, sound) < 0.001


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg4.mp4", "mpeg2.mpg", "mjpeg.avi"])
def test_a_destroyed_frame_takes_those_along_that_repeat_it(name: str, tmp_path: Path) -> None:
    encoder, options = next(kind[1:] for kind in KINDS if kind[0] == name)
    require_ffmpeg(encoder)
    path = make_video(tmp_path / name, *options, seconds=3)
    sound = {round(taken.media_time_ms or 0): taken for taken in frames_of(path)}
    listed = probe(path, "-show_entries", "packet=pos,size")["packets"]
    packet = listed[len(listed) // 2 + 2]
    place, size = int(packet["pos"]), int(packet["size"])
    data = bytearray(path.read_bytes())
    data[place + 8 : place + size] = random.Random(1).randbytes(size - 8)
    path.write_bytes(data)
    with open_source(path) as source:
        frames = read_all(source)
        assert source.corrupt_frames > 0
    assert len(sound) // 2 < len(frames) < len(sound)
    assert _worst_difference(frames, sound) < 0.001
    assert max(media_times_ms(frames)) == pytest.approx(max(sound), abs=1)


NAMES = [
    "a:b.mp4",
    "100%.mp4",
    "frame%03d.mp4",
    "nr#1.mp4",
    "two words.mp4",
    "line\nbreak.mp4",
    "concat:x|y.mp4",
    "-i.mp4",
    "härte.mp4",
    "question?.mp4",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_relative", [False, True])
def test_a_name_may_hold_any_character(
    name: str, is_relative: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "plain.mp4", [picture(index) for index in range(4)])
    (tmp_path / "plain.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    path = Path(name) if is_relative else tmp_path / name
    with open_source(path) as source:
        assert len(read_all(source)) == 4
        assert source.name == str(path)


def test_a_playlist_leads_to_no_other_place(tmp_path: Path) -> None:
    path = tmp_path / "list.m3u8"
    path.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(SourceError, match=r"list\.m3u8"):
        open_source(path)


def test_a_recording_that_says_when_it_began_dates_its_frames(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    moment = ("-metadata", "creation_time=2026-03-01T10:00:00Z")
    path = make_video(tmp_path / "dated.mp4", *H264, *moment)
    before_ns = time.time_ns()
    frames = frames_of(path)
    began_ns = 1_772_359_200 * 10**9
    for taken in frames:
        assert taken.capture_time_ns == began_ns + round((taken.media_time_ms or 0) * 1e6)
        assert (taken.time_source, taken.time_uncertainty_ms) == ("recording", 1000.0)
        assert taken.read_time_ns >= before_ns
    undated = make_video(tmp_path / "undated.mp4", *H264)
    assert {taken.capture_time_ns for taken in frames_of(undated)} == {None}


@pytest.mark.parametrize("moment", ["1904-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
def test_a_clock_that_was_never_set_dates_nothing(moment: str, tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    path = make_video(tmp_path / "a.mkv", *H264, "-metadata", f"creation_time={moment}")
    assert {taken.capture_time_ns for taken in frames_of(path)} == {None}


def test_only_a_file_has_tracks_and_only_a_live_source_a_delay(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [picture()] * 2)
    with pytest.raises(ConfigError, match="track"):
        open_source("http://127.0.0.1:9/x", SourceOptions(track=1))
    with pytest.raises(ConfigError, match="is a recording"):
        open_source(path, SourceOptions(capture_delay_ms=10))


@pytest.mark.parametrize(
    ("case", "count", "is_cut"),
    [
        ("02-truncated-video/whole.mp4", 40, False),
        ("02-truncated-video/whole.mkv", 40, False),
        ("02-truncated-video/cut.mp4", None, True),
        ("02-truncated-video/cut.mkv", None, True),
        ("02-truncated-video/cut-1.5-percent.mp4", None, True),
        ("03-raw-h264/camera.h264", 40, False),
        ("04-interlaced/interlaced.mp4", 12, False),
        ("05-pixfmt-change/c.mjpeg", 12, False),
        ("05-pixfmt-change/trail.avi", 12, False),
    ],
)
def test_field_cases(case: str, count: int | None, is_cut: bool, data_folder: Path) -> None:
    require_ffmpeg()
    path = data_folder / "field_cases" / case
    with open_source(path) as source:
        frames = read_all(source)
        assert bool(source.status.is_cut_short) == is_cut
    if count is None:
        assert 10 < len(frames) < 300
        return
    assert len(frames) == count
    assert_same_pictures(frames, path)


def test_interlaced_and_progressive_show_the_same_wall(data_folder: Path) -> None:
    folder = data_folder / "field_cases" / "04-interlaced"
    pairs = zip(
        frames_of(folder / "interlaced.mp4"), frames_of(folder / "progressive.mp4"), strict=True
    )
    for interlaced, progressive in pairs:
        assert np.abs(interlaced.image.astype(int) - progressive.image).mean() < 4


def test_a_stream_ends_with_all_frames_of_a_pipeline(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [picture(index) for index in range(6)])
    sink = ListSink()
    with open_source(path) as source:
        run_pipeline(source, BrightDetector(), [sink], PipelineConfig(max_frames=6))
    assert [result.frame.index for result in sink.results] == list(range(6))
