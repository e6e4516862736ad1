"""Hostile pickles in torch files: refused in one line, without running, importing, changing or exhausting anything."""

import io
import os
import pathlib
import pickle
import zipfile

import pytest
import torch
from torch_archive import REBUILD, STORAGE, described, pack_pickle

from healthgpt import torch_file, torch_pickle
from healthgpt.errors import ModelError
from healthgpt.torch_file import read_tensors


class Calls:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("function", "told"),
    [
        (os.system, r"(posix|nt)\.system"),
        (eval, r"(builtins|__builtin__)\.eval"),
        (exec, "exec"),
        (getattr, "getattr"),
        (__import__, "__import__"),
        (open, r"\.open"),
        (__import__("subprocess").Popen, r"(subprocess|commands)\.Popen"),
        (__import__("runpy").run_path, "runpy.run_path"),
        (__import__("shutil").rmtree, "shutil.rmtree"),
        (pickle.loads, "pickle.loads"),
    ],
)
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path, monkeypatch, protocol, function, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").mkdir()
    wanted = {os.system: "touch ran", eval: "open('ran', 'w')", open: "ran"}
    pickled = pickle.dumps({"a": Calls(function, wanted.get(function, "kept"))}, protocol=protocol)
    with pytest.raises(ModelError, match=f"refused: it names .*{told}") as told_error:
        read_tensors(pack_pickle(tmp_path / "evil.ckpt", pickled))
    assert "evil.ckpt" in str(told_error.value)
    assert "\n" not in str(told_error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"evil.ckpt", "kept"}


def test_a_call_of_a_function_not_listed_runs_nothing_either(tmp_path):
    call = Calls(pathlib.Path.touch, tmp_path / "ran")
    torch.save({"weights": torch.ones(1), "call": call}, tmp_path / "a.pt", pickle_protocol=4)
    assert list(read_tensors(tmp_path / "a.pt")) == ["weights"]
    assert not (tmp_path / "ran").exists()


def test_the_hand_written_pickle_is_sound(tmp_path):
    assert read_tensors(pack_pickle(tmp_path / "a.pt", described()))["a"].tolist() == [[0] * 4] * 4


@pytest.mark.parametrize("known", [REBUILD, b"ccollections\nOrderedDict\n", b"ctorch\nfloat32\n", b"csome\nThing\n"])
@pytest.mark.parametrize(
    "state", [b"}X\x08\x00\x00\x00__name__Ns", b"N}X\x08\x00\x00\x00__name__X\x01\x00\x00\x00xs\x86"]
)
def test_a_pickle_cannot_change_what_it_is_given(tmp_path, known, state):
    before = {name: repr(value) for name, value in torch_pickle.KNOWN.items()}
    with pytest.raises(ModelError):
        read_tensors(pack_pickle(tmp_path / "a.pt", b"\x80\x02" + known + state + b"b."))
    assert {name: repr(value) for name, value in torch_pickle.KNOWN.items()} == before
    assert not hasattr(torch_pickle._Inert, "__name__x")
    assert torch_pickle._Mapping.__name__ == "_Mapping"


def test_attributes_of_a_mapping_do_not_reach_the_reader(tmp_path):
    mapping = b"\x80\x02ccollections\nOrderedDict\n)R" + described().removeprefix(b"\x80\x02}").removesuffix(b".")
    pickled = mapping + b"}X\x05\x00\x00\x00itemsNsb."
    assert list(read_tensors(pack_pickle(tmp_path / "a.pt", pickled))) == ["a"]


DEEP = 300_000
HOSTILE = {
    "a deep tuple as a key": b"\x80\x02})" + b"\x85" * DEEP + b"Ns.",
    "the same behind steps that do nothing": b"\x80\x02})" + b"\x85Nb(e" * DEEP + b"Ns.",
    "the same by the memo": b"\x80\x02})" + b"\x85q\x000h\x00" * DEEP + b"Ns.",
    "the same by frozen sets": b"\x80\x04}(" + b")" + b"\x85" * DEEP + b"\x91Ns.",
    "a tuple that doubles": b"\x80\x02})" + b"2\x86" * 70 + b"Ns.",
    "a list that doubles": b"\x80\x02]" + b"2\x86" * 70 + b".",
    "a list that doubles by the memo": b"\x80\x02]q\x00" + b"(h\x00h\x00lq\x00" * 70 + b".",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "a dictionary in itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "nested too deep": b"\x80\x02]" + b"\x85" * 80 + b".",
    "a memo number out of reach": b"\x80\x02}r\xff\xff\xff\x7f.",
    "a memo number out of reach in text": b"\x80\x02}p99999999999\n.",
    "a string longer than the file": b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7fabc.",
    "bytes longer than the file": b"\x80\x05\x8e" + b"\xff" * 7 + b"\x7fabc.",
    "a byte array longer than the file": b"\x80\x05\x96" + b"\x00" * 5 + b"\x7f\x00\x00abc.",
    "a frame longer than the file": b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f}.",
    "a mapping copied from items": b"\x80\x02ccollections\nOrderedDict\n}\x85R.",
    "an extension code": b"\x80\x02\x82\x01.",
    "a buffer from elsewhere": b"\x80\x05\x97.",
    "a stack that is empty": b"\x80\x020.",
    "a mark alone": b"\x80\x02(.",
    "no end": b"\x80\x02}",
    "no steps": b"",
    "no tensors": b"\x80\x02}.",
    "a key that cannot be one": b"\x80\x02}]Ns.",
    "two tensors of one name": described()[:-1] + b"K\x01}X\x01\x00\x00\x00bNs" + b"s.",
    "another kind of persistent id": REBUILD + b"(X\x04\x00\x00\x00fileQK\x00))\x89NtR.",
    "a storage of no known type": described(storage=STORAGE.replace(b"Float", b"QInt8")),
    "sizes that are text": described(size=b"X\x01\x00\x00\x00a"),
    "sizes that are true": described(size=b"(\x88\x88t"),
    "sizes without strides": described(stride=b")"),
    "a size below zero": described(size=b"(J\xff\xff\xff\xffK\x04t"),
    "an offset below zero": described(offset=-1),
    "an offset past the end": described(offset=1),
    "a stride past the end": described(stride=b"(K\x05K\x01t"),
    "a stride far past the end": described(stride=b"(\x8a\x08" + b"\xff" * 7 + b"\x7fK\x01t"),
    "a size far past the end": described(size=b"(\x8a\x08" + b"\xff" * 7 + b"\x7fK\x04t"),
    "a tensor that repeats without end": described(size=b"(J\xff\xff\xff\x7fK\x01t", stride=b"(K\x00K\x01t"),
    "a storage longer than its record": described(storage=STORAGE.replace(b"K\x10", b"K\x11")),
    "a storage shorter than its record": described(storage=STORAGE.replace(b"K\x10", b"K\x0f")),
    "a storage of another type": described(storage=STORAGE.replace(b"Float", b"Double")),
    "a storage that is elsewhere": described(storage=STORAGE.replace(b"\x000X", b"\x009X")),
    "a storage by a path": described(storage=STORAGE.replace(b"X\x01\x00\x00\x000", b"X\x0b\x00\x00\x00../data.pkl")),
}  # fmt: skip


@pytest.mark.parametrize("pickled", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_pickle_is_refused_in_one_line(tmp_path, pickled):
    if pickled == HOSTILE["two tensors of one name"]:
        pickled = pickle_of_two_names()
    with pytest.raises(ModelError) as refusal:
        read_tensors(pack_pickle(tmp_path / "a.pt", pickled))
    assert "\n" not in str(refusal.value)
    assert "a.pt" in str(refusal.value)


def pickle_of_two_names() -> bytes:
    stream = io.BytesIO()
    torch.save({"a": {"b": torch.ones(16)}, "a.b": torch.ones(16)}, stream)
    with zipfile.ZipFile(stream) as archive:
        return archive.read("archive/data.pkl")


def test_truth_values_are_zero_or_one(tmp_path):
    pickled = described(storage=STORAGE.replace(b"Float", b"Bool").replace(b"K\x10", b"K\x40"))
    assert read_tensors(pack_pickle(tmp_path / "a.pt", pickled))["a"].dtype == torch.bool
    with pytest.raises(ModelError, match="neither 0 nor 1"):
        read_tensors(pack_pickle(tmp_path / "a.pt", pickled, **{"a/data/0": b"\x02" * 64}))


def test_limits_are_told_not_met(tmp_path, monkeypatch):
    path = pack_pickle(tmp_path / "a.pt", described())
    for module, limit in (
        (torch_pickle, "MOST_OPCODES"),
        (torch_file, "LARGEST_PICKLE"),
        (torch_pickle, "MOST_ENTRIES"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, limit, 0)
            with pytest.raises(ModelError, match=r"than 0|is 0"):
                read_tensors(path)
    assert read_tensors(path)
