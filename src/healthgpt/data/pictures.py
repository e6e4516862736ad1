"""The image files of a data set: every picture checked, fingerprinted and kept once, under the hash of its bytes.

    FOLDER/images/SOURCE/ab/abcdef....jpg

An 8-bit PNG or JPEG is kept as it is, as a hard link where the file system allows it; everything else a source
publishes (DICOM, TIFF, arrays of NumPy archives, slices of volumes) becomes an 8-bit PNG.
"""

import hashlib
import io
import os
import shutil
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from PIL import Image as PillowImage

from healthgpt.data.whole_file import whole_file
from healthgpt.errors import ImageError
from healthgpt.imaging.fingerprint import fingerprints
from healthgpt.imaging.image import Image
from healthgpt.imaging.intensity import to_display
from healthgpt.imaging.read import read_image
from healthgpt.sources.entry import BadRowError

REMEMBERED = 4096
"""Pictures whose facts a worker remembers: the questions about one image mostly stand together."""
KEPT_AS_THEY_ARE = {"JPEG": ".jpg", "PNG": ".png"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A stored picture. ``file``: relative to the data set's folder. ``fingerprint``: uint64 words for
    near-duplicates, 4 or, of a picture between bars, 8.
    ``transforms``: what was done to the published pixels."""

    file: str
    sha256: str
    fingerprint: tuple[int, ...]
    transforms: tuple[str, ...] = ()


def safe_path(folder: Path, name: str) -> Path:
    """The file ``name`` below ``folder``; ``BadRowError`` for a name that leads, or links, out of it."""
    posix = PurePosixPath(name.replace("\\", "/"))
    if posix.is_absolute() or PureWindowsPath(name).drive or PureWindowsPath(name).root:
        raise BadRowError("image path is absolute")
    if ".." in posix.parts:
        raise BadRowError("image path leads out of the folder ('..')")
    if not posix.parts or "\0" in name:
        raise BadRowError("no image name")
    path = folder.joinpath(*posix.parts)
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise BadRowError("image is a link that leads out of the folder")
    return path


class PictureStore:
    """Takes pictures of one source into a data set's folder. Two workers may store the same picture at once."""

    def __init__(self, folder: Path, source: str, originals: Path) -> None:
        self.folder, self.source, self.originals = folder, source, originals
        self._known: OrderedDict[str, Picture] = OrderedDict()

    def take(self, name: str) -> Picture:
        """Store the published image ``name``; ``BadRowError`` with the reason when there is no picture in it."""
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._stored(name)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known

    def keep(self, pixels: np.ndarray, transforms: tuple[str, ...]) -> Picture:
        """Store uint8 pixels, (height, width) or (height, width, 3), as PNG."""
        buffer = io.BytesIO()
        PillowImage.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        file = self._place(digest, ".png")
        if not (self.folder / file).exists():
            self._write(file, content)
        return Picture(file, digest, _words(pixels), transforms)

    def _stored(self, name: str) -> Picture:
        file, _, member = name.partition("#")
        path = safe_path(self.originals, file)
        if not path.is_file():
            raise BadRowError("image missing")
        if member:
            return self.keep(array_image(path, member), (f"image {member} of {path.name}",))
        try:
            image = read_image(path)
        except ImageError as fault:
            raise BadRowError(f"image unreadable: {fault.line().replace(str(path), path.name)}") from fault
        pixels = to_display(image)
        kind = _plain_kind(path, image)
        if kind is None:
            return self.keep(pixels, (_shown_as(image),))
        digest = _digest_of(path)
        kept = self._place(digest, KEPT_AS_THEY_ARE[kind])
        if not (self.folder / kept).exists():
            self._link(path, kept)
        return Picture(kept, digest, _words(pixels))

    def _place(self, digest: str, ending: str) -> str:
        return f"images/{self.source}/{digest[:2]}/{digest}{ending}"

    def _link(self, path: Path, file: str) -> None:
        target = self.folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except FileExistsError:
            return
        except OSError:  # another file system, or one without hard links
            with whole_file(target, self.folder / "work") as partial:
                shutil.copyfile(path, partial)

    def _write(self, file: str, content: bytes) -> None:
        target = self.folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target, self.folder / "work") as partial:
            partial.write_bytes(content)


@lru_cache(maxsize=4)
def _array_of(path: Path, name: str) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays[name])


def array_image(path: Path, member: str) -> np.ndarray:
    """Image ``array/index`` of a NumPy archive, uint8; ``BadRowError`` when it is not one."""
    name, _, index = member.rpartition("/")
    try:
        pixels = _array_of(path, name)[int(index)]
    except (OSError, ValueError, KeyError, IndexError) as fault:
        raise BadRowError(f"no image {member} in {path.name}") from fault
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise BadRowError(f"image {member} is {pixels.dtype} with {pixels.ndim} dimensions, not an 8-bit picture")
    return np.ascontiguousarray(pixels)


def _digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _plain_kind(path: Path, image: Image) -> str | None:
    """PNG or JPEG when the file is one that every reader shows as we do; None when it has to be converted."""
    if image.units != "display":
        return None
    with PillowImage.open(path) as picture:
        plain = picture.mode in ("L", "RGB") and picture.getexif().get(0x0112, 1) == 1
        return picture.format if plain and picture.format in KEPT_AS_THEY_ARE else None


def _shown_as(image: Image) -> str:
    if image.units == "hounsfield":
        window = image.window
        return f"shown at {window.centre:g}/{window.width:g} HU" if window else "shown in the soft-tissue window"
    return "shown from the 0.5th to the 99.5th percentile" if image.units == "arbitrary" else "converted to 8-bit PNG"


def _words(pixels: np.ndarray) -> tuple[int, ...]:
    return tuple(int(word) for word in fingerprints(pixels).ravel())
