"""Still images as a source: a folder in natural order, a glob pattern, or files.

Reads one image at a time. A damaged image is reported, counted and skipped, never half decoded.
"""

from __future__ import annotations

import glob
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgecrack.errors import SourceError
from edgecrack.files import natural_key
from edgecrack.images.decoding import (
    IMAGE_SUFFIXES,
    OTHER_SUFFIXES,
    UnreadableImageError,
    decode_image,
)
from edgecrack.images.photo_facts import PhotoFacts, photo_facts
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import SourceBase, SourceStatus, Unreadable
from edgecrack.runtime.sources.jpeg import END, read_head
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.terminal.native_logs import silence_native_logs

LARGEST_FILE_BYTES = 4 * 2**30


class ImagesSource(SourceBase):
    """Image files, one frame each.

    Args:
        paths: the files, in order.
        name: the source's name in results.
        options: the size limit, and whether a photo's location is kept.
        refused: files that were found but are not read.

    Attributes:
        unreadable: images skipped so far, the refused ones first.
    """

    live = False
    frame_rate_hz: float | None = None

    def __init__(
        self,
        paths: Sequence[Path],
        name: str,
        options: SourceOptions | None = None,
        refused: Sequence[Unreadable] = (),
    ) -> None:
        silence_native_logs()
        self.name = name
        self._options = options or SourceOptions()
        self.frame_count: int | None = len(paths)
        self._frames = list(zip(paths, unique_names(paths), strict=True))
        self._next = self._delivered = 0
        self.unreadable: list[Unreadable] = list(refused)

    @classmethod
    def of_folder(cls, folder: Path, options: SourceOptions | None = None) -> ImagesSource:
        """All images directly inside `folder`; hidden files and other types are left out.

        Raises:
            SourceError: it has no images, or cannot be read.
        """
        paths, refused = look_through(folder)
        return cls(paths, str(folder), options, refused)

    @classmethod
    def of_pattern(cls, pattern: str, options: SourceOptions | None = None) -> ImagesSource:
        """The images that match a pattern such as `photos/**/*.jpg`, in natural order.

        Raises:
            SourceError: no image matches.
        """
        found = sorted(glob.glob(pattern, recursive=True), key=natural_key)  # noqa: PTH207
        paths, refused = _parted(map(Path, found), None)
        if not paths:
            raise SourceError(f"no image fits the pattern {pattern}", "check the pattern")
        return cls(paths, pattern, options, refused)

    @classmethod
    def of_image(cls, path: Path, options: SourceOptions | None = None) -> ImagesSource:
        """One image file."""
        return cls([path], str(path), options)

    @property
    def corrupt_frames(self) -> int:
        """Images skipped so far."""
        return len(self.unreadable)

    @property
    def status(self) -> SourceStatus:
        """Counters and notes beyond the frames."""
        # Unreadable images are reported one by one, so the count is exact.
        return SourceStatus(unreadable=tuple(self.unreadable), counts_exactly=True)

    def read(self) -> Frame | None:
        """The next image that can be read, or None after the last.

        Raises:
            SourceError: no image can be read; with the first one's reason.
        """
        while self._next < len(self._frames):
            path, name = self._frames[self._next]
            self._next += 1
            try:
                frame = read_photo(
                    bytes_of(path),
                    index=self._delivered,
                    name=name,
                    source=self.name,
                    options=self._options,
                    path=path,
                )
            except MemoryError:
                lacking = "needs more memory than there is"
                self.unreadable.append(Unreadable(path, lacking, "lower `max_megapixels`"))
                continue
            except UnreadableImageError as error:
                remedy = error.remedy or "replace the file or take it out of the folder"
                self.unreadable.append(Unreadable(path, str(error), remedy))
                continue
            self._delivered += 1
            return frame
        if not self._delivered and self.unreadable:
            first, more = self.unreadable[0], len(self.unreadable) - 1
            others = f"; nor can the {more} others be read" if more else ""
            raise SourceError(f"the image {first.path} {first.problem}{others}", first.remedy)
        return None

    def close(self) -> None:
        """Stop; no file is open between reads."""
        self._next = len(self._frames)
        self._delivered += 1


def read_photo(
    data: bytes, *, index: int, name: str, source: str, options: SourceOptions, path: Path | None
) -> Frame:
    """Decode an image file to a frame, with its photo metadata.

    Args:
        data: the file's bytes.
        index: of the frame.
        name: of the frame.
        source: of the frame, without credentials.
        options: the size limit, and whether a photo's location is kept.
        path: of the file; None if it has none.

    Raises:
        UnreadableImageError: it is damaged or its format is not supported.
    """
    read_time_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
    image = decode_image(data, max_megapixels=options.max_megapixels)
    photo = photo_facts(data)
    if photo is not None and not options.keeps_location:
        photo = photo.without_location()
    taken_ns = None if photo is None else photo.taken_ns
    return Frame(
        image=image,
        index=index,
        capture_time_ns=taken_ns,
        source=source,
        name=name,
        monotonic_ns=monotonic_ns,
        jpeg=data if _is_plain_jpeg(data) else None,
        read_time_ns=read_time_ns,
        time_source="unknown" if taken_ns is None else "recording",
        time_uncertainty_ms=_uncertainty_ms(photo),
        photo=photo,
        path=path,
    )


def look_through(
    folder: Path, *, follows_links: bool = False
) -> tuple[list[Path], list[Unreadable]]:
    """The images directly inside a folder, in natural order, and images that are not read.

    Hidden files are skipped. Anything but a regular file is refused: reading a pipe may block, a
    device never ends, and a link may lead anywhere.

    Args:
        folder: to list.
        follows_links: accept links that leave the folder.

    Raises:
        SourceError: it has no images, or cannot be read.
    """
    try:
        entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
        home = folder.resolve()
    except OSError as error:
        raise SourceError(
            f"cannot read the folder {folder}: {error.strerror}", "change its permissions"
        ) from error
    entries.sort(key=lambda path: natural_key(path.name))
    images, refused = _parted(entries, None if follows_links else home)
    if not images:
        also = f"; {len(refused)} other pictures are not read" if refused else ""
        raise SourceError(
            f"the folder {folder} holds no images{also}",
            f"put images ({', '.join(IMAGE_SUFFIXES)}) directly into it",
        )
    return images, refused


def _parted(paths: Iterable[Path], home: Path | None) -> tuple[list[Path], list[Unreadable]]:
    """Images, and images that are not read; other files are skipped."""
    images, refused = [], []
    for path in paths:
        suffix = path.suffix.lower()
        if suffix not in (*IMAGE_SUFFIXES, *OTHER_SUFFIXES) or path.is_dir():
            continue
        problem = why_not(path, suffix, home)
        if problem is None:
            images.append(path)
        else:
            refused.append(Unreadable(path, *problem))
    return images, refused


def images_in(folder: Path) -> list[Path]:
    """The images directly inside a folder, in natural order, links out of it included.

    Raises:
        SourceError: it has no images, or cannot be read.
    """
    return look_through(folder, follows_links=True)[0]


def why_not(path: Path, suffix: str, home: Path | None) -> tuple[str, str] | None:
    """Why an image is not read, and the remedy; None if it is read.

    Args:
        path: of the picture.
        suffix: its own, in lower case.
        home: the folder that links must not leave; None accepts all links.
    """
    if suffix in OTHER_SUFFIXES:
        return f"is of a kind that is not read ({suffix})", "convert it to JPEG, PNG or TIFF"
    try:
        leads_out = home is not None and not path.resolve().is_relative_to(home)
        if leads_out and path.is_symlink():
            return "is a link that leads out of the folder", "give the folder that it leads to"
        if not path.is_file():
            return "is not a file but a pipe, a device or a broken link", "take it out"
    except (OSError, RuntimeError):  # a link to itself
        return "is a link that leads nowhere", "take it out"
    return None


def unique_names(paths: Sequence[Path]) -> list[str]:
    """The file stems; duplicates (`a.jpg`, `a.png`) get their suffix: `a_jpg`."""
    stems = Counter(path.stem.lower() for path in paths)
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        is_shared = stems[path.stem.lower()] > 1
        base = f"{path.stem}_{path.suffix[1:]}" if is_shared else path.stem
        name, serial = base, 2
        # Case-insensitive, as the file system of the results may be.
        while name.lower() in taken or (name != path.stem and name.lower() in stems):
            name, serial = f"{base}_{serial}", serial + 1
        taken.add(name.lower())
        names.append(name)
    return names


def bytes_of(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        UnreadableImageError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise UnreadableImageError(
                f"has {size >> 20} MiB where at most {LARGEST_FILE_BYTES >> 20} are read",
                "cut it into parts",
            )
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(
            f"cannot be read: {error.strerror}", "check the file and its permissions"
        ) from error


def _uncertainty_ms(photo: PhotoFacts | None) -> float | None:
    if photo is None or photo.taken_at is None or photo.taken_ns is None:
        return None
    return 1.0 if "." in photo.taken_at else 1000.0


def _is_plain_jpeg(data: bytes) -> bool:
    """Whether any reader decodes this file to the same image."""
    head = read_head(data)
    return head is not None and head.is_plain and data.endswith(END)
