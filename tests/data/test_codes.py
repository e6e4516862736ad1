"""Target codes beside the records: those of the codec in use, or an error; stopped and gone on with the same bytes."""

import shutil
from pathlib import Path

import pytest
import torch
from made_up_source import NAME, SOURCE, write_picture, write_rows

from healthgpt.data import codes
from healthgpt.data.build import LocalWorkers, build
from healthgpt.data.codes import codec_hash, codes_of, encode_targets, encoded_with
from healthgpt.data.settings import BuildSettings
from healthgpt.data.shards import picture_of, records_of
from healthgpt.errors import DataError
from healthgpt.sources.catalog import SOURCES
from healthgpt.vision.preprocess import Preprocessing
from healthgpt.vq.codec import from_uint8
from healthgpt.vq.store import AnyCodec, CodecShape

PREPROCESSING = Preprocessing(size=16)


def small_codec(seed: int = 0) -> AnyCodec:
    torch.manual_seed(seed)
    shape = CodecShape(
        image_size=16, code_count=16, embed_dim=4, fold=4, widths=(8, 16), encoder_blocks=(0, 1), decoder_blocks=(0, 1),
        attention=False,
    )  # fmt: skip
    return shape.build().eval()


@pytest.fixture(params=["files", "embed"])
def data(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set with five pairs that share one target."""
    monkeypatch.setitem(SOURCES, NAME, SOURCE)
    for number in range(6):
        write_picture(tmp_path / NAME / f"p{number}.png", number)
    rows = [
        {"id": f"r{n}", "task": "reconstruct", "image": f"p{n}.png", "target": f"p{max(n, 1)}.png", "split": "train"}
        for n in range(5)
    ]
    originals = write_rows(tmp_path / NAME, rows)
    build(tmp_path / "set", BuildSettings(sources={NAME: originals}, images=request.param), LocalWorkers())
    return tmp_path / "set"


@torch.inference_mode()
def test_every_target_once_and_as_the_codec_encodes_it(data: Path, tmp_path: Path) -> None:
    codec = small_codec()
    made = encode_targets(data, codec, PREPROCESSING, batch=2)
    told = dict(codes_of(data, codec))
    assert set(told) == {record.target_image for record in records_of(data)}
    assert made.images == len(told) == 4
    for name, row in told.items():
        if (data / name).is_file():
            square = PREPROCESSING.square(picture_of(data, name))
            alone = codec.encode(from_uint8(torch.from_numpy(square[None]))).flatten().numpy()
            assert row.tolist() == alone.tolist()


def test_codes_of_another_codec_are_never_handed_out(data: Path) -> None:
    encode_targets(data, small_codec(0), PREPROCESSING)
    with pytest.raises(DataError, match="not this codec's"):
        list(codes_of(data, small_codec(1)))
    encode_targets(data, small_codec(1), PREPROCESSING)
    assert len(encoded_with(data)) == 2
    assert len(dict(codes_of(data, small_codec(1)))) == 4


def test_a_stopped_run_goes_on_to_the_same_bytes(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "IMAGES_PER_SHARD", 2)
    codec = small_codec()
    place = data / "codes" / codec_hash(codec)

    def stop(images: int) -> None:
        if images == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_targets(data, codec, PREPROCESSING, progress=stop)
    assert not encoded_with(data)
    encode_targets(data, codec, PREPROCESSING)
    first = {path.name: path.read_bytes() for path in place.iterdir()}
    shutil.rmtree(place)
    encode_targets(data, codec, PREPROCESSING)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == first


def test_the_hash_follows_the_weights_and_not_the_file() -> None:
    assert codec_hash(small_codec(0)) == codec_hash(small_codec(0))
    assert codec_hash(small_codec(0)) != codec_hash(small_codec(1))


def test_a_size_that_does_not_fit_is_refused(data: Path) -> None:
    with pytest.raises(DataError, match="do not fit"):
        encode_targets(data, small_codec(), Preprocessing(size=32))
