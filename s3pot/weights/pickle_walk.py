"""Walking through a PyTorch pickle without creating any of its objects.

Each instruction, each name that the pickle requests and each place where it stores values is
checked: only what ``pickle_values.py`` describes is allowed. ``safe_pickle.py`` handles the files
around it.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

from s3pot.weights.pickle_values import (
    FILLED_BY_KEY,
    GLOBALS,
    NAMESPACE,
    Container,
    DamagedPickle,
    Global,
    Storage,
    UnsafePickle,
    result_of_call,
    storage_of,
)

MAX_PICKLE_BYTES = 64 << 20  # size of the part that describes the tensors
MOST_VALUES = 5_000_000  # in one file; a shared value counts as often as it is used
DEEPEST = 64  # nesting depth of containers
MOST_LONG_BYTES = 32  # size of one integer

_MARK = object()


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
        result: Its value after the walk: a plain value, or one of those in ``pickle_values.py``.
        storages: All storages by key.
    """

    def __init__(self) -> None:
        self.result: Any = None
        self.storages: dict[str, Storage] = {}
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
        if not isinstance(target, Container) or target.kind not in FILLED_BY_KEY:
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
        if path not in GLOBALS:
            raise UnsafePickle(f"it wants {path.replace(' ', '.')}, but must not contain code")
        self.push(Global(path))

    def reduce(self, _: Any) -> None:
        """Simulate a call; only calls that create a tensor or an empty container are allowed."""
        arguments = self.pop()
        called = self.pop()
        if not isinstance(called, Global) or not isinstance(arguments, Container):
            raise UnsafePickle("it calls something that is not a function")
        if arguments.kind != "tuple":
            raise DamagedPickle("its pickle is damaged (a call without arguments)")
        self.push(result_of_call(called, arguments.items))

    def new_object(self, _: Any) -> None:
        """Create an object without calling its class; only a Namespace is allowed."""
        arguments = self.pop()
        made_from = self.pop()
        is_bare = isinstance(arguments, Container) and not arguments.items
        if made_from != Global(NAMESPACE) or not is_bare:
            raise UnsafePickle("it makes an object that is not an argparse.Namespace")
        self.push(Container("Namespace"))

    def persistent(self, _: Any) -> None:
        """Push a storage, given by ('storage', type, key, device, number of elements)."""
        container = self.pop()
        if not isinstance(container, Container) or container.kind != "tuple":
            raise UnsafePickle("it refers to something that is not a storage")
        storage = storage_of(container.items)
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
