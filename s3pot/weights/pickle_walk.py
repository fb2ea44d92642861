"""Walking through a PyTorch pickle without creating any of its objects.

Each instruction, each name that the pickle requests and each place where it stores values is
checked: only tensors and plain values are allowed. ``safe_pickle.py`` handles the files around it.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

MAX_PICKLE_BYTES = 64 << 20  # size of the part that describes the tensors
MOST_VALUES = 5_000_000  # in one file; a shared value counts as often as it is used
DEEPEST = 64  # nesting depth of containers
MOST_LONG_BYTES = 32  # size of one integer

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
_ORDERED_DICT = "collections OrderedDict"
_NAMESPACE = "argparse Namespace"  # E4S keeps its options in one
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_GLOBALS = (
    frozenset((_ORDERED_DICT, _NAMESPACE, _TENSOR, _PARAMETER, "torch Size", "torch device"))
    | _DTYPES
    | frozenset(f"torch {name}" for name in _STORAGES)
    | {"torch.storage UntypedStorage"}
)


class UnsafePickle(ValueError):
    """A pickle requests more than tensors and plain values; the message says what."""


class DamagedPickle(ValueError):
    """A file is not a checkpoint, or is cut off; the message says how."""


@dataclass(frozen=True)
class _Global:
    """A function or class that the pickle requests by name, ``module name``."""

    path: str


@dataclass(frozen=True)
class _Storage:
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
class _Object:
    """A tensor, parameter, device or size, into which nothing can be stored.

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


_MARK = object()
_FILLED_BY_KEY = ("dict", "OrderedDict")


class BoundedPickle:
    """The next ``MAX_PICKLE_BYTES`` of a file: strings in a pickle declare their own length."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._left = MAX_PICKLE_BYTES

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, or as many as there are."""
        if size > self._left:
            raise UnsafePickle(f"its pickle is larger than {MAX_PICKLE_BYTES >> 20} MiB")
        self._left -= size
        return self._stream.read(size)

    def readline(self) -> bytes:
        """Read up to the next line break."""
        line = self._stream.readline(self._left)
        self._left -= len(line)
        return line


def walk_pickle(stream: io.BytesIO | BoundedPickle) -> PickleWalk:
    """Walk through one pickle; the stream is left after its end."""
    walk = PickleWalk()
    try:
        for opcode, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]
            walk.step(opcode.name, argument)
    except UnsafePickle:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DamagedPickle(f"its pickle is damaged ({error})") from error
    return walk


class PickleWalk:
    """The simulation of a pickle, opcode by opcode, without building its objects.

    Attributes:
        result: Its value after the walk: a plain value or one of the classes above.
        storages: All storages by key.
    """

    def __init__(self) -> None:
        self.result: Any = None
        self.storages: dict[str, _Storage] = {}
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._values = 0

    def step(self, name: str, argument: Any) -> None:
        """Process one opcode with its argument, as ``pickletools`` names it.

        Raises:
            UnsafePickle: The opcode is not needed for tensors and plain values.
        """
        handler = _OPCODES.get(name)
        if handler is None:
            raise UnsafePickle(f"it uses the pickle instruction {name}")
        handler(self, argument)

    def push(self, value: Any) -> None:
        """Push a value onto the stack."""
        self._values += 1
        if self._values > MOST_VALUES:
            raise UnsafePickle(f"it holds more than {MOST_VALUES:,} values")
        self._stack.append(value)

    def pop(self) -> Any:
        """Pop the last value off the stack."""
        value = self._stack.pop()
        if value is _MARK:
            raise DamagedPickle("its pickle is damaged (a mark where a value should be)")
        return value

    def pop_to_mark(self) -> list[Any]:
        """Pop all values since the last mark off the stack."""
        position = len(self._stack) - 1
        while self._stack[position] is not _MARK:
            position -= 1
            if position < 0:
                raise DamagedPickle("its pickle is damaged (a mark is missing)")
        values = self._stack[position + 1 :]
        del self._stack[position:]
        return values

    def proto(self, version: int) -> None:
        """Check the pickle's version."""
        if version != 2:
            raise UnsafePickle(f"it is a pickle of version {version}; torch.save writes version 2")

    def plain(self, value: Any) -> None:
        """Push a number, a string, a bool or None."""
        self.push(value)

    def none(self, _: Any) -> None:
        """None."""
        self.push(None)

    def true(self, _: Any) -> None:
        """True."""
        self.push(True)

    def false(self, _: Any) -> None:
        """False."""
        self.push(False)

    def long(self, value: int) -> None:
        """Push a long integer."""
        if value.bit_length() > 8 * MOST_LONG_BYTES:
            raise UnsafePickle("it holds a number of absurd length")
        self.push(value)

    def mark(self, _: Any) -> None:
        """Mark the beginning of several values."""
        self.push(_MARK)

    def empty_list(self, _: Any) -> None:
        """Push an empty list."""
        self.push(Container("list"))

    def empty_dict(self, _: Any) -> None:
        """Push an empty dict."""
        self.push(Container("dict"))

    def make_tuple(self, values: Sequence[Any]) -> None:
        """Push a complete tuple."""
        container = Container("tuple")
        self._put(container, values)
        self.push(container)

    def append(self, values: Sequence[Any]) -> None:
        """Add values to the list on the stack."""
        target = self._stack[-1]
        if not isinstance(target, Container) or target.kind != "list":
            raise UnsafePickle("it appends to something that is not a list")
        self._put(target, values)

    def set_items(self, values: Sequence[Any]) -> None:
        """Add alternating keys and values to the dict on the stack."""
        target = self._stack[-1]
        if not isinstance(target, Container) or target.kind not in _FILLED_BY_KEY:
            raise UnsafePickle("it sets items of something that is not a dict")
        if len(values) % 2:
            raise DamagedPickle("its pickle is damaged (a key without a value)")
        if not all(isinstance(key, (str, int, float)) or key is None for key in values[::2]):
            raise UnsafePickle("a key in it is neither a text nor a number")
        self._put(target, values)

    def build(self, _: Any) -> None:
        """Set attributes of an OrderedDict or a Namespace."""
        state = self.pop()
        target = self._stack[-1]
        takes_state = isinstance(target, Container) and target.kind in ("OrderedDict", "Namespace")
        if not takes_state or not isinstance(state, Container) or state.kind != "dict":
            raise UnsafePickle("it sets attributes of something that has none")
        self._put(target, [state])

    def find(self, path: str) -> None:
        """Push a function or class given by its module and name."""
        if path not in _GLOBALS:
            raise UnsafePickle(f"it wants {path.replace(' ', '.')}, but must not contain code")
        self.push(_Global(path))

    def reduce(self, _: Any) -> None:
        """Simulate a call; only calls that create a tensor or an empty container are allowed."""
        arguments = self.pop()
        called = self.pop()
        if not isinstance(called, _Global) or not isinstance(arguments, Container):
            raise UnsafePickle("it calls something that is not a function")
        if arguments.kind != "tuple":
            raise DamagedPickle("its pickle is damaged (a call without arguments)")
        values = arguments.items
        if called.path == _TENSOR:
            self._check_tensor(values)
            self.push(_Object("tensor"))
        elif called.path == _PARAMETER:
            if not (len(values) == 3 and values[0] == _Object("tensor")):
                raise UnsafePickle("a parameter in it is made from something that is not a tensor")
            self.push(_Object("tensor"))
        elif called.path == _ORDERED_DICT and not values:
            self.push(Container("OrderedDict"))
        elif called.path in ("torch Size", "torch device"):
            self._check_plain_arguments(called.path, values)
            self.push(_Object(called.path))
        else:
            raise UnsafePickle(f"it calls {called.path.replace(' ', '.')} in an unusual way")

    def new_object(self, _: Any) -> None:
        """Create an object without calling its class; only a Namespace is allowed."""
        arguments = self.pop()
        made_from = self.pop()
        is_bare = isinstance(arguments, Container) and not arguments.items
        if made_from != _Global(_NAMESPACE) or not is_bare:
            raise UnsafePickle("it makes an object that is not an argparse.Namespace")
        self.push(Container("Namespace"))

    def persistent(self, _: Any) -> None:
        """Push a storage, given by ('storage', type, key, device, number of elements)."""
        container = self.pop()
        if not isinstance(container, Container) or container.kind != "tuple":
            raise UnsafePickle("it refers to something that is not a storage")
        storage = _storage_of(container.items)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise UnsafePickle(f"storage {storage.key!r} occurs with two sizes")
        self.push(storage)

    def remember(self, number: int) -> None:
        """Store the last value under a number."""
        if self._stack[-1] is _MARK:
            raise DamagedPickle("its pickle is damaged (a mark where a value should be)")
        self._memo[number] = self._stack[-1]

    def recall(self, number: int) -> None:
        """Push the value stored under a number."""
        self.push(self._memo[number])

    def stop(self, _: Any) -> None:
        """End the pickle."""
        self.result = self.pop()
        if self._stack:
            raise DamagedPickle("its pickle is damaged (values are left over)")

    def _put(self, target: Container, values: Sequence[Any]) -> None:
        """Add values to a container, counting them."""
        if target.is_placed:
            raise UnsafePickle("it changes a value that is already part of another one")
        for value in values:
            if value is target or value is _MARK:
                raise UnsafePickle("a value in it contains itself")
            if isinstance(value, Container):
                value.is_placed = True
                target.depth = max(target.depth, value.depth + 1)
                target.values += value.values
            else:
                target.values += 1
        if target.depth > DEEPEST:
            raise UnsafePickle(f"its values are nested more than {DEEPEST} deep")
        if target.values > MOST_VALUES:
            raise UnsafePickle(f"it holds more than {MOST_VALUES:,} values")
        if target.kind in ("list", "tuple"):
            target.items += values

    def _check_tensor(self, arguments: Sequence[Any]) -> None:
        """Check the arguments of a tensor, which must lie inside its storage."""
        if len(arguments) not in (6, 7) or (len(arguments) == 7 and arguments[6] is not None):
            raise UnsafePickle("a tensor in it is made in an unusual way")
        storage, offset, size, stride, requires_grad, hooks = arguments[:6]
        are_hooks = isinstance(hooks, Container) and hooks.kind == "OrderedDict"
        if not isinstance(storage, _Storage) or not isinstance(requires_grad, bool):
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

    def _check_plain_arguments(self, path: str, values: Sequence[Any]) -> None:
        if path == "torch Size":
            if len(values) != 1:
                raise UnsafePickle("a size in it is not a list of numbers")
            _whole_numbers(values[0])
        elif not all(isinstance(value, (str, int)) for value in values):
            raise UnsafePickle("a device in it is not text")


def _storage_of(fields: Sequence[Any]) -> _Storage:
    """Read a storage's description in a pickle."""
    # A sixth value belongs to the old format: a view of another storage, or None.
    if len(fields) not in (5, 6) or (len(fields) == 6 and fields[5] is not None):
        raise UnsafePickle("it refers to a storage in an unusual way")
    word, kind, key, device, count = fields[:5]
    if word != "storage" or not isinstance(kind, _Global) or not _is_whole(count):
        raise UnsafePickle("it refers to something that is not a storage")
    if not isinstance(key, str) or not isinstance(device, str):
        raise UnsafePickle("a storage in it has no name")
    module, _, name = kind.path.partition(" ")
    item_size = 1 if name == "UntypedStorage" else _STORAGES.get(name)
    if item_size is None or module not in ("torch", "torch.storage"):
        raise UnsafePickle(f"a storage in it is of the unknown type {name}")
    return _Storage(key, item_size, count * item_size)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _whole_numbers(container: Any) -> list[int]:
    """Return the members of a tuple or list of non-negative integers."""
    if not isinstance(container, Container) or container.kind not in ("tuple", "list"):
        raise UnsafePickle("a size in it is not a list of numbers")
    if not all(_is_whole(value) for value in container.items):
        raise UnsafePickle("a size in it is not a list of numbers")
    return container.items


def _pop_two(walk: PickleWalk) -> list[Any]:
    last = walk.pop()
    return [walk.pop(), last]


def _pop_three(walk: PickleWalk) -> list[Any]:
    last = walk.pop()
    return [*_pop_two(walk), last]


_OPCODES: Mapping[str, Callable[[PickleWalk, Any], None]] = {
    "PROTO": PickleWalk.proto,
    "STOP": PickleWalk.stop,
    "MARK": PickleWalk.mark,
    "NONE": PickleWalk.none,
    "NEWTRUE": PickleWalk.true,
    "NEWFALSE": PickleWalk.false,
    "BININT": PickleWalk.plain,
    "BININT1": PickleWalk.plain,
    "BININT2": PickleWalk.plain,
    "LONG1": PickleWalk.long,
    "BINFLOAT": PickleWalk.plain,
    "BINUNICODE": PickleWalk.plain,
    "EMPTY_LIST": PickleWalk.empty_list,
    "EMPTY_DICT": PickleWalk.empty_dict,
    "EMPTY_TUPLE": lambda walk, _: walk.make_tuple([]),
    "TUPLE": lambda walk, _: walk.make_tuple(walk.pop_to_mark()),
    "TUPLE1": lambda walk, _: walk.make_tuple([walk.pop()]),
    "TUPLE2": lambda walk, _: walk.make_tuple(_pop_two(walk)),
    "TUPLE3": lambda walk, _: walk.make_tuple(_pop_three(walk)),
    "APPEND": lambda walk, _: walk.append([walk.pop()]),
    "APPENDS": lambda walk, _: walk.append(walk.pop_to_mark()),
    "SETITEM": lambda walk, _: walk.set_items(_pop_two(walk)),
    "SETITEMS": lambda walk, _: walk.set_items(walk.pop_to_mark()),
    "GLOBAL": PickleWalk.find,
    "REDUCE": PickleWalk.reduce,
    "NEWOBJ": PickleWalk.new_object,
    "BUILD": PickleWalk.build,
    "BINPERSID": PickleWalk.persistent,
    "BINPUT": PickleWalk.remember,
    "LONG_BINPUT": PickleWalk.remember,
    "BINGET": PickleWalk.recall,
    "LONG_BINGET": PickleWalk.recall,
}
