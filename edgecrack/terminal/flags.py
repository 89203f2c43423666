"""Replaces the names of settings in messages with command-line options.

A message of the library names a setting by its field in backticks, such as `max_drop`; on the
command line it is `--max-drop`.
"""

from __future__ import annotations

import re

# Fields whose options have other names.
_OTHERS = {
    "batch_size": "--batch",
    "frames_per_second": "--fps",
    "dla_core": "--dla",
    "flavour": "--tensorrt",
    "frame_rate_hz": "--rate",
    "give_up_after_s": "--give-up-after",
    "made_for": "--for",
    "min_area_px": "--min-area",
    "part_bytes": "--record-part-size",
    "part_s": "--record-part-time",
    "reserve_bytes": "--record-reserve",
    "stall_timeout_s": "--stall-after",
    "when_full": "--record-when-full",
    "workspace_mib": "--workspace",
    "patch_px": "--patch",
    "plan": "--set plan",
    "processes_per_machine": "--processes",
    "steps_per_epoch": "--steps-per-epoch",
    "stride_px": "--stride",
    "targets": "--target",
    "tile_hw": "--tile",
    "towards_deg": "--tilt-towards-deg",
    "bar_mm": "--bar",
    "wanted_width_mm": "--width-mm",
    "width_px": "--resolution",
    "height_px": "--resolution",
}
# Fields whose options have the same name.
_ALIKE = """
    along batch board border bytes_per_frame camera camera_file capture_delay_ms continue data
    device distance_m epochs exposure_ms flip focal_mm focal_px fov_deg height held_out init
    learning_rate log_format loop machines marker max_age_ms max_drop max_flagged max_frames
    max_megapixels merge method mm_per_pixel no_location optimization_level out overwrite
    pixel_format pooling position precision protocol record record_reserve resume save scales seed
    sensor_mm serve severity speed_m_s split survey target_fps teacher temperature threshold
    threshold_from tiles tilt_deg tilt_towards_deg tls_cert tls_key token_file topic track units
    wait wanted_overlap warmup_steps width
""".split()  # noqa: SIM905
FLAGS = {name: "--" + name.replace("_", "-") for name in _ALIKE} | _OTHERS
_NAME = re.compile(r"`([a-z_]+(?:\.[a-z_]+)*)`")


def flags_in(message: str) -> str:
    """The message with each setting as an option: `max_drop` 1 becomes --max-drop 1.

    A setting without an option of its own, such as `loss.cl_dice_weight`, becomes `--set`.
    """
    return _NAME.sub(_flag, message)


def _flag(found: re.Match[str]) -> str:
    name = found[1]
    if name in FLAGS:
        return FLAGS[name]
    return f"--set {name}" if "." in name else found[0]
