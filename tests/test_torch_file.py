"""Untrusted torch files: what torch.save writes is read to the bit; what it would never write is refused unrun."""

import collections
import contextlib
import datetime
import functools
import pathlib
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_archive import described, pack

from healthgpt import torch_pickle
from healthgpt.errors import ModelError
from healthgpt.torch_file import read_contents, read_tensors

GOLDEN = Path(__file__).resolve().parents[1].parent / "shared" / "golden"
DTYPES = sorted(torch_pickle.DTYPES.values(), key=str)
SLOW_FOLDER = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def golden(name: str) -> Path:
    if not GOLDEN.is_dir():
        pytest.skip("the golden outputs (shared/golden) are not beside this checkout")
    return GOLDEN / name


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_same(read: torch.Tensor, saved: torch.Tensor) -> None:
    assert (read.dtype, read.shape) == (saved.dtype, saved.shape)
    assert bits(read) == bits(saved)
    assert not read.requires_grad


def random_tensor(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    count = int(np.prod(shape)) * dtype.itemsize
    noise = torch.randint(0, 2 if dtype == torch.bool else 256, (count,), generator=generator, dtype=torch.uint8)
    return noise.view(dtype).reshape(shape)


@st.composite
def tensors(draw):
    """A tensor of any type: whole, or a transposed, sliced, repeated or conjugated view."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    whole = random_tensor(dtype, shape, draw(st.integers(0, 99)))
    view = draw(st.sampled_from(["whole", "transposed", "sliced", "repeated", "conjugated", "negated"]))
    if view == "transposed":
        return whole.permute(tuple(reversed(range(whole.dim()))))
    if view == "sliced" and whole.dim():
        return whole[1:, ..., ::2] if whole.dim() > 1 else whole[1:]
    if view == "repeated":
        return whole.expand(3, *shape)
    if dtype in (torch.complex64, torch.complex128):
        return whole.conj().imag if view == "negated" else whole.conj() if view == "conjugated" else whole
    return whole


names = st.text(st.characters(codec="utf-8", exclude_characters="."), max_size=5)
trees = st.recursive(
    tensors() | st.integers() | st.text(max_size=3) | st.none(),
    lambda inner: st.dictionaries(names | st.integers(0, 9), inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)


def flat(tree, name=()):
    if isinstance(tree, torch.Tensor):
        yield ".".join(map(str, name)), tree
    elif isinstance(tree, dict | list):
        for key, item in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from flat(item, (*name, key))


@SLOW_FOLDER
@given(tree=st.dictionaries(names.filter(bool), trees, max_size=4), protocol=st.integers(2, 5))
def test_what_torch_saves_is_read_to_the_bit(tmp_path, tree, protocol):
    torch.save(tree, tmp_path / "a.pt", pickle_protocol=protocol)
    expected = list(flat(tree))
    if len({name.strip(".") for name, _ in expected}) < len(expected) or not expected:
        return  # keys 1 and "1", and the empty key, meet in one name; no tensors is its own test
    read = read_tensors(tmp_path / "a.pt")
    assert len(read) == len(expected)
    for found, (name, tensor) in zip(read.items(), expected, strict=True):
        assert found[0].replace(".", "") == name.replace(".", "")  # an empty key adds a dot or none
        assert_same(found[1], tensor)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_agrees_with_torch_load(tmp_path, dtype):
    torch.save(random_tensor(dtype, (3, 5), 0).T, tmp_path / "a.pt")
    read = read_tensors(tmp_path / "a.pt")
    assert list(read) == [""]
    assert_same(read[""], torch.load(tmp_path / "a.pt", weights_only=True))


def test_parameters_subclasses_and_tensors_with_attributes_are_plain_tensors(tmp_path):
    parameter, marked = torch.nn.Parameter(torch.randn(2, 3)), torch.randn(4)
    marked.note = "an attribute of Python"
    buffer = torch.nn.Buffer(torch.randn(2))
    torch.save({"parameter": parameter, "marked": marked, "buffer": buffer}, tmp_path / "a.pt")
    read = read_tensors(tmp_path / "a.pt")
    for name, saved in (("parameter", parameter), ("marked", marked), ("buffer", buffer)):
        assert type(read[name]) is torch.Tensor
        assert_same(read[name], saved.detach())


def test_shared_storages_stay_shared_and_are_read_once(tmp_path):
    whole = torch.arange(24.0).reshape(4, 6)
    torch.save({"whole": whole, "row": whole[2], "column": whole[:, 1], "other": torch.zeros(24)}, tmp_path / "a.pt")
    read = read_tensors(tmp_path / "a.pt")
    read["whole"][2, 1] = -1
    assert (read["row"][1], read["column"][2]) == (-1, -1)
    assert len({tensor.untyped_storage().data_ptr() for tensor in read.values()}) == 2


def test_a_state_dict_of_a_module_loads_into_it(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    torch.save(module.state_dict(), tmp_path / "a.pt")  # an OrderedDict with a _metadata attribute
    read = read_tensors(tmp_path / "a.pt")
    assert list(read) == list(module.state_dict())
    module.load_state_dict(read)


class Trainer:
    """A class of the one who wrote the file."""

    def __init__(self):
        self.best = torch.ones(2)


class Lines(list):
    pass


TRAINERS_THINGS = {
    "trainer": Trainer(),
    "class": Trainer,
    "partial": functools.partial(print, 1),
    "array": np.arange(6).reshape(2, 3),
    "number": np.float64(0.5),
    "path": pathlib.PurePosixPath("a/b"),
    "date": datetime.date(2024, 1, 1),
    "default": collections.defaultdict(list, {"a": [1]}),
    "queue": collections.deque([1, 2]),
    "set": {1, 2},
    "frozen": frozenset({(1, 2)}),
    "complex": 1j,
    "bytes": b"\xff\x00",
    "lines": Lines(["a"]),
    "dtype": torch.float16,
    "device": torch.device("cpu"),
    "size": torch.Size([1, 2]),
}


@pytest.mark.parametrize("protocol", range(2, 6))
def test_whatever_a_trainer_writes_beside_the_weights_is_passed_over_and_told(tmp_path, protocol):
    saved = {"epoch": 3, "state_dict": {"a.weight": torch.ones(2)}, "losses": [0.5, 0.25], **TRAINERS_THINGS}
    saved["optimizer_states"] = [{"state": {0: {"exp_avg": torch.zeros(2)}}}]
    torch.save(saved, tmp_path / "a.ckpt", pickle_protocol=protocol)
    read, others = read_contents(tmp_path / "a.ckpt", under="state_dict")
    assert list(read) == ["a.weight"]
    assert (
        others.items()
        >= {
            "epoch": "int",
            "losses": "list of 2",
            "trainer": f"{__name__}.Trainer",
            "class": f"{__name__}.Trainer",
            "optimizer_states.0.state.0.exp_avg": "tensor",
        }.items()
    )
    assert TRAINERS_THINGS.keys() <= others.keys()
    assert list(read_tensors(tmp_path / "a.ckpt")) == ["state_dict.a.weight", "optimizer_states.0.state.0.exp_avg"]


def test_only_wanted_storages_are_read(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(2)}, "optimizer": torch.zeros(9)}, tmp_path / "a.ckpt")
    with zipfile.ZipFile(tmp_path / "a.ckpt") as archive:
        records = {name: archive.read(name) for name in archive.namelist() if not name.endswith("data/1")}
    pack(tmp_path / "a.ckpt", records)
    assert list(read_tensors(tmp_path / "a.ckpt", under="state_dict")) == ["a"]
    with pytest.raises(ModelError, match="optimizer in a storage that is not there"):
        read_tensors(tmp_path / "a.ckpt")


# golden files


def test_the_golden_file_that_names_a_trainer_class_is_read_and_nothing_is_imported():
    path = golden("vqgan/class_reference.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    read, others = read_contents(path, under="state_dict")
    assert {name: tuple(tensor.shape) for name, tensor in read.items()} == {
        "quantize.embed.weight": (64, 16),
        "post_quant_conv.weight": (16, 16, 1, 1),
        "post_quant_conv.bias": (16,),
    }
    assert all(tensor.isfinite().all() and tensor.std() > 0 for tensor in read.values())
    trainer = "callbacks.<pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint>"
    assert others[f"{trainer}.best_model_score"] == "tensor"
    assert others["global_step"] == "int"
    assert "pytorch_lightning" not in sys.modules


@pytest.mark.parametrize(
    "name",
    [
        "m3/com_hlora_weights.bin", "m3/gen_hlora_weights.bin", "m3/fusion_layer_weights.bin",
        "l14/com_hlora_weights_phi4.bin", "xl32/com_hlora_weights_QWEN_32B.bin", "vqgan/last.ckpt",
    ],
)  # fmt: skip
def test_golden_files_equal_torch_load(name):
    path = golden(name)
    loaded = dict(flat(torch.load(path, weights_only=True)))
    read = read_tensors(path)
    assert list(read) == list(loaded)
    for key, tensor in loaded.items():
        assert_same(read[key], tensor)


# hostile and damaged files


def saved_records(tmp_path: Path) -> dict[str, bytes]:
    torch.save({"a": torch.arange(300.0)}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"good/byteorder": b"big"}, "byte order big"),
        ({"good/data/0": bytes(1196)}, "300 torch.float32 that has 1196 bytes"),
        ({"good/data/0": bytes(1204)}, "1204 bytes"),
        ({"good/data/0": None}, "not there"),
        ({"good/data.pkl": None}, "0 records called data.pkl"),
        ({"other/data.pkl": b"}."}, "2 records called data.pkl"),
        ({"good/data/0#twice": bytes(1200)}, "two records of one name"),
    ],
)
def test_an_archive_that_is_not_torchs_is_refused(tmp_path, change, told):
    records = {name: content for name, content in {**saved_records(tmp_path), **change}.items() if content is not None}
    with pytest.raises(ModelError, match=told):
        read_tensors(pack(tmp_path / "a.pt", records))


def test_a_file_that_does_not_tell_its_byte_order_is_little_endian(tmp_path):
    records = {name: content for name, content in saved_records(tmp_path).items() if not name.endswith("byteorder")}
    assert_same(read_tensors(pack(tmp_path / "a.pt", records))["a"], torch.arange(300.0))


def test_a_compressed_archive_is_refused(tmp_path):
    path = pack(tmp_path / "a.pt", saved_records(tmp_path), zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match="uncompressed"):
        read_tensors(path)


def test_a_directory_that_promises_more_bytes_than_there_are_is_refused(tmp_path):
    path = pack(tmp_path / "a.pt", {"a/data.pkl": described(), "a/data/0": bytes(64)})
    packed = bytearray(path.read_bytes())
    entry = packed.rindex(b"PK\x01\x02")
    packed[entry + 20 : entry + 28] = 2 * (2**30).to_bytes(4, "little")  # stored size and size
    path.write_bytes(packed)
    with pytest.raises(ModelError, match="more bytes than the file has"):
        read_tensors(path)


def test_a_flipped_byte_of_a_storage_is_noticed(tmp_path):
    torch.save({"a": torch.arange(300.0)}, tmp_path / "a.pt")
    content = bytearray((tmp_path / "a.pt").read_bytes())
    content[content.index(torch.arange(300.0).numpy().tobytes()) + 70] ^= 1
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ModelError, match="CRC"):
        read_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"\x89PNG\r\n", "89 50 4e 47"),
        (b"PK\x05\x06" + bytes(18), "0 records called data.pkl"),
    ],
)
def test_another_kind_of_file_is_told_by_name(tmp_path, content, told):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(ModelError, match=told) as refusal:
        read_tensors(tmp_path / "a.bin")
    assert "next: " in str(refusal.value)


def test_the_format_before_zip_is_refused_with_what_to_do(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"old\.bin.*before 1\.6.*torch\.save it again"):
        read_tensors(tmp_path / "old.bin")


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        read_tensors(tmp_path / "none.bin")
    with pytest.raises(ModelError, match="a folder"):
        read_tensors(tmp_path)
    with pytest.raises(ModelError):
        read_tensors(Path("nul\0l"))


def test_a_name_that_holds_no_tensors_is_told_with_those_there_are(tmp_path):
    torch.save({"model": {"a": torch.ones(1)}, "epoch\x1b[2J": 1}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"under 'state_dict'.*epoch\\x1b\[2J, model"):
        read_tensors(tmp_path / "a.pt", under="state_dict")


def test_a_file_cut_short_anywhere_is_a_model_error(tmp_path):
    torch.save({"state_dict": {"a": torch.arange(300.0)}, "trainer": Trainer()}, tmp_path / "a.pt")
    content = (tmp_path / "a.pt").read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "cut.pt").write_bytes(content[:length])
        with pytest.raises(ModelError):
            read_tensors(tmp_path / "cut.pt")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), whole=st.booleans())
def test_damage_anywhere_is_read_or_a_model_error(tmp_path, data, whole):
    """Bytes changed in the archive or, checksums made good again, in its pickle."""
    good = tmp_path / "good.pt"
    if not good.exists():
        torch.save({"state_dict": {"a": torch.arange(30.0)}, "trainer": Trainer(), "keys": [(1, 2), "x"]}, good)
    with zipfile.ZipFile(good) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    damaged = bytearray(good.read_bytes() if whole else records["good/data.pkl"])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    bad = tmp_path / "bad.pt"
    if whole:
        bad.write_bytes(damaged)
    else:
        pack(bad, {**records, "good/data.pkl": bytes(damaged)})
    with contextlib.suppress(ModelError):
        read_tensors(bad)
