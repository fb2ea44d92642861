"""The values that the pickle of a checkpoint may hold: tensors, plain values and containers.

Nothing is created here: a value is described as far as its check needs. ``pickle_walk.py`` walks
through the instructions that build the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# Storage types by name, with the bytes of one element.
_STORAGES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
}
_DTYPES = frozenset(
    f"torch {name}"
    for name in (
        "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 bool complex64 complex128"
    ).split()
)
FILLED_BY_KEY = ("dict", "OrderedDict")  # kinds of containers

_ORDERED_DICT = "collections OrderedDict"
NAMESPACE = "argparse Namespace"  # E4S keeps its options in one
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_SIZE = "torch Size"
_DEVICE = "torch device"
GLOBALS = (
    frozenset((_ORDERED_DICT, NAMESPACE, _TENSOR, _PARAMETER, _SIZE, _DEVICE))
    | _DTYPES
    | frozenset(f"torch {name}" for name in _STORAGES)
    | {"torch.storage UntypedStorage"}
)


class UnsafePickle(ValueError):
    """A pickle requests more than tensors and plain values; the message says what."""


class DamagedPickle(ValueError):
    """A file is not a checkpoint, or is cut off; the message says how."""


@dataclass(frozen=True)
class Global:
    """A function or class that the pickle requests by name, ``module name``."""

    path: str


@dataclass(frozen=True)
class Storage:
    """The bytes that tensors share.

    Attributes:
        key: Its name in the file.
        item_size: Bytes of one element.
        size: Total bytes.
    """

    key: str
    item_size: int
    size: int


@dataclass(frozen=True)
class Object:
    """A tensor, device or size, into which nothing can be stored; a parameter counts as a tensor.

    Attributes:
        kind: The kind of object.
    """

    kind: str


@dataclass
class Container:
    """A list, tuple, dict, OrderedDict or Namespace.

    Attributes:
        kind: The kind of container.
        items: The items of a list or tuple.
        values: The number of values below it; shared ones count as often as they are used.
        depth: Nesting depth, including itself.
        is_placed: Whether it is part of another container and must not change any more. No
            regular pickle changes a finished value, and this rule makes cycles impossible.
    """

    kind: str
    items: list[Any] = field(default_factory=list)
    values: int = 1
    depth: int = 1
    is_placed: bool = False


def storage_of(fields: Sequence[Any]) -> Storage:
    """Read a storage's description in a pickle."""
    # A sixth value belongs to the old format: a view of another storage, or None.
    if len(fields) not in (5, 6) or (len(fields) == 6 and fields[5] is not None):
        raise UnsafePickle("it refers to a storage in an unusual way")
    word, kind, key, device, count = fields[:5]
    if word != "storage" or not isinstance(kind, Global) or not _is_whole(count):
        raise UnsafePickle("it refers to something that is not a storage")
    if not isinstance(key, str) or not isinstance(device, str):
        raise UnsafePickle("a storage in it has no name")
    module, _, name = kind.path.partition(" ")
    item_size = 1 if name == "UntypedStorage" else _STORAGES.get(name)
    if item_size is None or module not in ("torch", "torch.storage"):
        raise UnsafePickle(f"a storage in it is of the unknown type {name}")
    return Storage(key, item_size, count * item_size)


def result_of_call(called: Global, arguments: Sequence[Any]) -> Object | Container:
    """Check a call, and describe what it returns: a tensor, a plain object or an empty container.

    Raises:
        UnsafePickle: Anything else is called, or in an unusual way.
    """
    if called.path == _TENSOR:
        _check_tensor(arguments)
        return Object("tensor")
    if called.path == _PARAMETER:
        if not (len(arguments) == 3 and arguments[0] == Object("tensor")):
            raise UnsafePickle("a parameter in it is made from something that is not a tensor")
        return Object("tensor")
    if called.path == _ORDERED_DICT and not arguments:
        return Container("OrderedDict")
    if called.path in (_SIZE, _DEVICE):
        _check_plain_arguments(called, arguments)
        return Object(called.path)
    raise UnsafePickle(f"it calls {called.path.replace(' ', '.')} in an unusual way")


def _check_tensor(arguments: Sequence[Any]) -> None:
    """Check the arguments of a tensor, which must lie inside its storage."""
    if len(arguments) not in (6, 7) or (len(arguments) == 7 and arguments[6] is not None):
        raise UnsafePickle("a tensor in it is made in an unusual way")
    storage, offset, size, stride, requires_grad, hooks = arguments[:6]
    are_hooks = isinstance(hooks, Container) and hooks.kind == "OrderedDict"
    if not isinstance(storage, Storage) or not isinstance(requires_grad, bool):
        raise UnsafePickle("a tensor in it has no storage")
    if not are_hooks or hooks.values > 1:
        raise UnsafePickle("a tensor in it has hooks, which are code")
    sizes = _whole_numbers(size)
    strides = _whole_numbers(stride)
    if len(sizes) != len(strides) or not _is_whole(offset):
        raise UnsafePickle("a tensor in it has no proper size")
    count = 1
    last = offset
    for length, step in zip(sizes, strides):
        count *= length
        last += (length - 1) * step
    held = storage.size // storage.item_size
    if count > 0 and (last >= held or count > held):
        raise UnsafePickle(
            f"a tensor in it of {count:,} elements does not fit into its storage of {held:,}"
        )
    if count == 0 and offset > held:
        raise UnsafePickle("an empty tensor in it lies outside its storage")


def _check_plain_arguments(called: Global, arguments: Sequence[Any]) -> None:
    if called.path == _SIZE:
        if len(arguments) != 1:
            raise UnsafePickle("a size in it is not a list of numbers")
        _whole_numbers(arguments[0])
    elif not all(isinstance(value, (str, int)) for value in arguments):
        raise UnsafePickle("a device in it is not text")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _whole_numbers(container: Any) -> list[int]:
    """Return the members of a tuple or list of non-negative integers."""
    if not isinstance(container, Container) or container.kind not in ("tuple", "list"):
        raise UnsafePickle("a size in it is not a list of numbers")
    if not all(_is_whole(value) for value in container.items):
        raise UnsafePickle("a size in it is not a list of numbers")
    return container.items
