"""The pickle inside a ``torch.save`` file, read as a description of tensors; nothing it names is imported or run.

A pickle is a program that its file writes. Here it may call nothing but functions of this file, which write down
where a tensor lies. Classes of the trainer that wrote it become placeholders that swallow whatever is done to
them, and a pickle that reaches for the means to run code is refused. Before it runs, its steps are checked: none
may take more memory or C stack than its own length accounts for.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch

from healthgpt.errors import ModelError

MOST_OPCODES = 4_000_000
"""Steps of a pickle; a tensor takes about 40."""
LARGEST_TUPLE = 100_000
"""Values in a tuple, tuples in it unfolded. Hashing visits them all, recursively: more could end the process."""
MOST_ENTRIES = 2_000_000
"""Values in nested containers, each counted as often as it can be reached."""
DEEPEST_NESTING = 64
"""Containers in one another, and axes of a tensor."""

RUNS_CODE = frozenset({
    "_ctypes", "_pickle", "bdb", "cffi", "code", "codeop", "commands", "ctypes", "imp", "importlib", "marshal", "nt",
    "os", "pdb", "pickle", "pip", "posix", "pty", "pydoc", "runpy", "shutil", "socket", "subprocess", "sys", "timeit",
    "webbrowser", "zipimport",
})  # fmt: skip
"""Top-level modules no checkpoint has a reason to name. A placeholder would be as safe; but whoever holds such a
file should know."""
PARTLY = frozenset({"builtins", "__builtin__", "io", "_io"})
"""Modules with names a checkpoint may well hold (``set``, ``BytesIO``) and these, for which it has no use:"""
RUNNING_NAMES = frozenset({
    "__import__", "apply", "breakpoint", "compile", "delattr", "eval", "exec", "execfile", "file", "FileIO", "getattr",
    "globals", "input", "locals", "open", "open_code", "setattr", "vars",
})  # fmt: skip

STORAGE_TYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    "torch.ComplexFloatStorage": torch.complex64,
    "torch.ComplexDoubleStorage": torch.complex128,
    "torch.storage.UntypedStorage": torch.uint8,
}
DTYPES = {
    str(dtype): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool, torch.complex128, torch.complex64,
        torch.complex32, torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz,
        torch.float8_e8m0fnu,
    )
}  # fmt: skip


class Storage(NamedTuple):
    """A storage as the pickle declares it: ``length`` elements of ``dtype`` in the record ``data/KEY``."""

    key: str
    dtype: torch.dtype
    length: int


class Described(NamedTuple):
    """A tensor as the pickle describes it, in elements of ``dtype``; whether it lies in its storage is not known."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    conjugated: bool
    negated: bool


def shown(text: str) -> str:
    """Words of the file, made safe to print on one line."""
    return text[:300].encode("unicode_escape").decode("ascii")


def read_pickle(path: Path, pickled: bytes) -> Iterator[tuple[str, Any]]:
    """The leaves of what the pickle holds, by dotted name and in its order: ``Described`` tensors and other values.

    A list is a leaf too, before what is nested in it. ``ModelError`` naming ``path`` when the pickle names something
    that runs code; a pickle that is damaged or too large fails with any other exception.
    """
    _check_opcodes(pickled)
    return _leaves(_Unpickler(path, pickled).load())


def kind(value: Any) -> str:
    """What a leaf is: ``tensor``, the class of an unknown object, or the type of a plain value."""
    if isinstance(value, Described):
        return "tensor"
    if isinstance(value, list | tuple) and not isinstance(value, Storage):
        return f"{type(value).__name__} of {len(value)}"
    return getattr(value, "named", type(value).__name__.lstrip("_").lower())


MUTATING = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
"""Steps that leave the value they work on where it is, and do nothing to a tuple when they have nothing to add."""


def _check_opcodes(pickled: bytes) -> None:
    """``ValueError`` for a pickle that could exhaust the memory or the C stack of whatever runs it.

    Follows the pickle's stack with, for each value, how many values hashing it would visit: 1, or for a tuple
    those of its items and 1. Nothing is built.
    """
    stack: list[int | None] = []  # None: a mark
    memo: dict[int, int | None] = {}
    argument: Any
    for step, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
        name = opcode.name
        if step >= MOST_OPCODES:
            raise ValueError(f"a pickle of more than {MOST_OPCODES} steps")
        if name.startswith("EXT") or name.endswith("_BUFFER"):
            raise ValueError(f"the pickle step {name}, which torch.save does not write")
        if name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            if argument > step:  # the memo is a plain array: it is allocated up to its highest number
                raise ValueError(f"a pickle that numbers a value {argument} at step {step}")
            memo[argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            before, weights = opcode.stack_before, [1]
            if pickletools.markobject in before or (name == "POP" and stack[-1] is None):
                while (top := stack.pop()) is not None:
                    weights.append(top)
                before = before[: before.index(pickletools.markobject)] if name != "POP" else []
            weights += [stack.pop() or 1 for _ in before]
            weight: int | None = 1
            if name == "MARK":
                weight = None
            elif name.startswith("TUPLE"):
                weight = sum(weights)
                if weight > LARGEST_TUPLE:
                    raise ValueError(f"a tuple of more than {LARGEST_TUPLE} values")
            elif name in MUTATING:
                weight = weights[-1]
            stack.extend(weight for _ in opcode.stack_after)


class _Inert:
    """Stands for whatever the file names that is not known here: takes what is done to it and keeps nothing."""

    __slots__ = ()
    named: ClassVar[str] = "an object"

    def __new__(cls, *_: Any, **__: Any) -> Self:
        return super().__new__(cls)

    def __call__(self, *_: Any, **__: Any) -> Self:
        return self

    def __setitem__(self, _: Any, __: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...

    def append(self, _: Any) -> None: ...

    def extend(self, _: Any) -> None: ...

    def add(self, _: Any) -> None: ...


class _Mapping(dict[Any, Any]):
    """An ordered dictionary of the file, without the attributes it may carry.

    It is made empty, as torch makes it: given items, a pickle could copy one large dictionary again and again.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()

    def __setstate__(self, _: Any) -> None: ...


class _Known:
    """A function the pickle may call and cannot change: on a bare function it could set attributes."""

    __slots__ = ("_build",)

    def __init__(self, build: Callable[..., Any]) -> None:
        self._build = build

    def __call__(self, *arguments: Any) -> Any:
        return self._build(*arguments)

    def __setstate__(self, _: Any) -> None:
        raise ValueError("a pickle that changes a function")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, dtype: Any, metadata: Any) -> Described:
    metadata = {} if metadata is None else metadata
    fits = (
        isinstance(storage, Storage)
        and isinstance(dtype, torch.dtype)
        and isinstance(metadata, dict)
        and isinstance(size, tuple)
        and isinstance(stride, tuple)
        and len(size) == len(stride) <= DEEPEST_NESTING
        and all(type(number) is int and 0 <= number < 2**63 for number in (offset, *size, *stride))
    )
    if not fits:
        raise ValueError("a tensor whose description is malformed")
    return Described(storage, dtype, offset, size, stride, bool(metadata.get("conj")), bool(metadata.get("neg")))


def _tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, _: Any = None, __: Any = None, metadata: Any = None
) -> Described:
    return _tensor(storage, offset, size, stride, getattr(storage, "dtype", None), metadata)


def _tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, _: Any, __: Any, dtype: Any, metadata: Any = None
) -> Described:
    return _tensor(storage, offset, size, stride, dtype, metadata)


def _parameter(data: Any, *_: Any) -> Any:
    return data if isinstance(data, Described) else _Inert()


def _with_attributes(build: Any, _: Any, arguments: Any, __: Any) -> Any:
    """A tensor of a subclass or with Python attributes: what its own function builds is the plain tensor."""
    return build(*arguments) if isinstance(build, _Known) else _Inert()


KNOWN: dict[str, Any] = {
    **STORAGE_TYPES,
    **DTYPES,
    "collections.OrderedDict": _Mapping,
    "torch._utils._rebuild_tensor_v2": _Known(_tensor_v2),
    "torch._utils._rebuild_tensor_v3": _Known(_tensor_v3),
    "torch._utils._rebuild_parameter": _Known(_parameter),
    "torch._utils._rebuild_parameter_with_state": _Known(_parameter),
    "torch._tensor._rebuild_from_type_v2": _Known(_with_attributes),
}
"""What a name in the pickle stands for; any other is a placeholder. The pickle can change none of these."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, path: Path, pickled: bytes) -> None:
        super().__init__(io.BytesIO(pickled), encoding="utf-8")
        self._path = path

    def find_class(self, module: str, name: str, /) -> Any:
        top, called = module.partition(".")[0], name.partition(".")[0]
        if top in RUNS_CODE or (top in PARTLY and called in RUNNING_NAMES):
            raise ModelError(
                f"{self._path} is refused: it names {shown(f'{module}.{name}')}, which can run code",
                allowed="tensors, plain values and a trainer's own objects",
                next_step="do not open this file with other programs; get the weights from their publisher",
            )
        known = KNOWN.get(f"{module}.{name}")
        return type("_Inert", (_Inert,), {"__slots__": (), "named": f"{module}.{name}"}) if known is None else known

    def persistent_load(self, pid: Any, /) -> Any:
        match pid:
            case ("storage", torch.dtype() as dtype, str(key), _, int(length)):
                return Storage(key, dtype, length)
        return _Inert()  # a kind of storage that is not known here: a tensor that lies in it is refused


def _leaves(root: Any) -> Iterator[tuple[str, Any]]:
    pending: list[tuple[str, Any, int]] = [("", root, 0)]
    left = MOST_ENTRIES
    while pending:
        name, value, depth = pending.pop()
        nested: list[tuple[Any, Any]] = []
        if isinstance(value, dict):
            nested = list(value.items())
        elif isinstance(value, list | tuple) and not isinstance(value, Described | Storage):
            nested = [(number, item) for number, item in enumerate(value) if isinstance(item, dict | list | tuple)]
            left -= len(value)
            yield name, value
        else:
            yield name, value
        left -= len(nested)
        if left < 0 or depth > DEEPEST_NESTING:
            raise ValueError(f"more than {MOST_ENTRIES} values, or nested deeper than {DEEPEST_NESTING}")
        for key, item in reversed(nested):
            called = str(key) if type(key) in (str, int) else f"<{kind(key)}>"
            pending.append((f"{name}.{called}" if name else called, item, depth + 1))
