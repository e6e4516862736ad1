"""Target images as VQ indices, stored beside the records under the hash of the codec that made them.

    FOLDER/codes/HASH/codes-00000.parquet     image (file name), codes (uint16, raster order)
    FOLDER/codes/HASH/codec.json              written last: codec, grid, preprocessing, shards

Indices mean nothing to another codec, so they are only ever handed out by the hash of the codec in use.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from healthgpt.data.shards import picture_of, records_with_pictures
from healthgpt.errors import DataError
from healthgpt.vision.preprocess import Preprocessing
from healthgpt.vq.codec import from_uint8
from healthgpt.vq.store import AnyCodec

IMAGES_PER_SHARD = 4_096
SCHEMA = pa.schema([("image", pa.string()), ("codes", pa.list_(pa.uint16()))])


class EncodedWith(BaseModel):
    """Which codec made a folder of codes, and how the images were brought to its size."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: str
    grid: tuple[int, int]
    code_count: int
    preprocessing: Preprocessing
    images: int
    shards: int


def codec_hash(codec: AnyCodec) -> str:
    """SHA-256 over names, shapes and values of the codec's tensors, in hex; the same in whatever file they lie."""
    digest = hashlib.sha256()
    for name, tensor in sorted(codec.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def encode_targets(
    folder: Path,
    codec: AnyCodec,
    preprocessing: Preprocessing,
    *,
    batch: int = 32,
    skip_unreadable: bool = False,
    progress: Callable[[int], None] = lambda images: None,
) -> EncodedWith:
    """Encode every target image of a data set once; shards that are there already are kept.

    ``skip_unreadable``: images that cannot be read get no codes. Raises ``DataError`` for a codec whose indices do not
    fit 16 bits, and for images that cannot be read unless those are skipped.
    """
    if codec.code_count > 1 << 16:
        raise DataError("the codec has too many codes to store", found=str(codec.code_count), allowed="65,536 or fewer")
    if codec.image_size != preprocessing.size:
        raise DataError(
            "codec and preprocessing do not fit", found=f"{codec.image_size} and {preprocessing.size} pixels"
        )
    place = folder / "codes" / codec_hash(codec)
    place.mkdir(parents=True, exist_ok=True)
    images = shards = 0
    for names, pictures in _in_shards(_targets(folder)):
        path = place / f"codes-{shards:05d}.parquet"
        if not path.is_file():
            readable, rows = _encoded(folder, names, pictures, codec, preprocessing, batch, skip_unreadable)
            partial = path.with_suffix(".partial")
            pq.write_table(pa.table([readable, rows], SCHEMA), partial, compression="zstd")
            partial.replace(path)
        images, shards = images + pq.read_metadata(path).num_rows, shards + 1
        progress(images)
    made = EncodedWith(
        codec=codec_hash(codec), grid=codec.grid, code_count=codec.code_count, preprocessing=preprocessing,
        images=images, shards=shards,
    )  # fmt: skip
    (place / "codec.partial").write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (place / "codec.partial").replace(place / "codec.json")
    return made


def _targets(folder: Path) -> Iterator[tuple[str, bytes | None]]:
    """Every distinct target image, in the order of the records, with its content where that is embedded."""
    seen: set[bytes] = set()
    for record, pictures in records_with_pictures(folder):
        name = record.target_image
        if name is None:
            continue
        key = hashlib.blake2b(name.encode(), digest_size=8).digest()
        if key not in seen:
            seen.add(key)
            yield name, pictures.get(name)


def _in_shards(targets: Iterator[tuple[str, bytes | None]]) -> Iterator[tuple[list[str], list[bytes | None]]]:
    names: list[str] = []
    contents: list[bytes | None] = []
    for name, content in targets:
        names.append(name)
        contents.append(content)
        if len(names) == IMAGES_PER_SHARD:
            yield names, contents
            names, contents = [], []
    if names:
        yield names, contents


@torch.inference_mode()
def _encoded(
    folder: Path, names: list[str], contents: list[bytes | None], codec: AnyCodec, preprocessing: Preprocessing,
    batch: int, skip_unreadable: bool,
) -> tuple[list[str], list[np.ndarray]]:  # fmt: skip
    """Names and codes of the images that could be read."""
    device = next(iter(codec.state_dict().values())).device
    readable: list[str] = []
    rows: list[np.ndarray] = []
    for first in range(0, len(names), batch):
        squares = []
        for name, content in zip(names[first : first + batch], contents[first : first + batch], strict=True):
            try:
                squares.append(preprocessing.square(picture_of(folder, name, content)))
            except DataError:
                if not skip_unreadable:
                    raise
                continue
            readable.append(name)
        if squares:
            codes = codec.encode(from_uint8(torch.from_numpy(np.stack(squares))).to(device))
            rows += list(codes.flatten(1).cpu().numpy().astype(np.uint16))
    return readable, rows


def encoded_with(folder: Path) -> list[EncodedWith]:
    """The codecs a data set's targets have been encoded with; ``DataError`` when a description is damaged."""
    found = []
    for path in sorted((folder / "codes").glob("*/codec.json")):
        try:
            found.append(EncodedWith.model_validate_json(path.read_text(encoding="utf-8")))
        except ValidationError as fault:
            raise DataError(f"{path} is damaged", next_step=f"remove {path.parent} and encode again") from fault
    return found


def codes_of(folder: Path, codec: AnyCodec) -> Iterator[tuple[str, np.ndarray]]:
    """(image name, uint16 codes of length grid * grid) of every target, as this codec made them.

    ``DataError`` when the targets have been encoded by another codec only, or not at all.
    """
    wanted = codec_hash(codec)
    found = encoded_with(folder)
    if wanted not in [made.codec for made in found]:
        raise DataError(
            f"the target codes in {folder} are not this codec's",
            found=", ".join(made.codec[:12] for made in found) or "none",
            allowed=wanted[:12],
            next_step=f"healthgpt data encode {folder} --model MODEL, with the model whose codec this is",
        )
    for path in sorted((folder / "codes" / wanted).glob("codes-*.parquet")):
        table = pq.read_table(path)
        codes = table["codes"].combine_chunks()
        flat = codes.flatten().to_numpy().reshape(len(codes), -1)
        yield from zip(table["image"].to_pylist(), flat, strict=True)
