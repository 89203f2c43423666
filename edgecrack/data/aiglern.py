"""How AigleRN lies on disk: a layout like those of `layouts`, with names that need more care.

In the published archive `Im_GT_AIGLE_RN_F09aor.png` is an image and `GT_AIGLE_RN_F09a.png` its
label; elsewhere `Im_GT_AIGLE_RN_F09a.png` is the label of `Im_AIGLE_RN_F09a.jpg`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from edgecrack.data.pairing import Listing, by_key, find_folders, image_files
from edgecrack.data.reading import read_labelled_image, read_mask_rare
from edgecrack.data.splits import Splits, draw_split

_PAPER_SPLIT = (24, 38)  # training images of all
_FILE = re.compile(r"(?P<image>im_)?(?P<label>gt_)?(?P<key>aigle_rn_.+?)(?:or)?", re.IGNORECASE)


def find_aiglern(folder: Path, _: bool) -> Listing | None:
    """The files of AigleRN, in the published tree, in two folders or in one.

    Returns:
        None where the folder holds something else, or more than AigleRN.
    """
    for base in (folder, folder / "TITS"):
        folders = find_folders(base) if base.is_dir() else None
        if folders is None:
            continue
        images_folder, labels_folder = (
            path / "AIGLE_RN" if (path / "AIGLE_RN").is_dir() else path for path in folders
        )
        files = [
            path
            for place in dict.fromkeys((images_folder, labels_folder))
            for path in image_files(place)
            if "nogt" not in path.stem.lower()
        ]
        matches = {path: match for path in files if (match := _FILE.fullmatch(path.stem))}
        if not matches or len(matches) < len(files):
            continue
        if images_folder == labels_folder:
            labels = _labels_among(matches)
        else:
            labels = {path for path in matches if path.parent == labels_folder}
        images = by_key([path for path in matches if path not in labels], _key)
        masks = by_key([path for path in matches if path in labels], _key)
        return Listing(
            images, masks, read_mask_rare, labels_folder, "seeded", partial(_split, images)
        )
    return None


def _key(path: Path) -> str:
    match = _FILE.fullmatch(path.stem)
    return match["key"] if match else path.stem


def _labels_among(matches: Mapping[Path, re.Match[str]]) -> set[Path]:
    """The labels among files of one folder: GT_X beside Im_GT_X, or Im_GT_X beside Im_X."""
    plain = {match["key"] for match in matches.values() if not match["label"]}
    return {
        path
        for path, match in matches.items()
        if match["label"] and (not match["image"] or match["key"] in plain)
    }


def _split(images: Mapping[str, Path]) -> Splits:
    """Sizes as the paper's, drawn from each image size alike."""
    sizes: dict[tuple[int, ...], list[str]] = {}
    for name, path in images.items():
        sizes.setdefault(read_labelled_image(path).shape, []).append(name)
    return draw_split((sizes[size] for size in sorted(sizes)), *_PAPER_SPLIT)
