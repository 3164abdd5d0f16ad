"""Pickles as torch wrote them before version 1.6, read to values that do nothing.

Unpickling a stranger's file runs its code. Here no name in the file is ever looked up: an interpreter of the opcodes
that Python 3 writes in protocol 2 makes numbers, texts, lists, dictionaries and, of all else, `Thing`s. What it takes
of time and memory grows with the file and not with what the file says.
"""

import os
import struct

OPCODES_AT_MOST = 300_000  # thirty times what an export has; bounds the memory that an opcode takes without a byte
NAME_AT_MOST = 512  # bytes of a module's or a class's name


class Thing:
    """A name in the file, or what a call of it with some arguments would have made."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name, arguments=None):
        self.name, self.arguments, self.state = name, arguments, None

    def __repr__(self):
        return self.name[:80]

    def clear(self):
        """Let go of everything."""
        self.arguments = self.state = None


class Pickles:
    """Reads one pickle after the other.

    A tuple is read as a list, an ordered dictionary as a plain one, keys that are no texts as one for each type of key,
    and a parameter as its tensor. What is added to a `Thing` as to a list or a dictionary is left out.

    Parameters
    ----------
    file : binary file
        At the start of the first one.

    Attributes
    ----------
    names : set of str
        All that was named.
    storages : dict of str to str
        The type of the numbers in each of torch's storages, such as "FloatStorage".
    """

    def __init__(self, file):
        self.file, self.size = file, os.fstat(file.fileno()).st_size
        self.names, self.storages = set(), {}
        self.made, self.left = [], OPCODES_AT_MOST

    def forget(self):
        """Empty all that was made: freeing a deep nest at once, from the outside in, could overflow the stack."""
        for container in self.made:
            container.clear()

    def take(self, count):
        """The next bytes of the file."""
        # Asked for first, as reading makes room for all that it is asked for.
        data = self.file.read(count) if count < 256 or count <= self.size - self.file.tell() else b""
        if len(data) < count:
            raise ValueError("it ends too early")
        return data

    def load(self):
        """The value of the next pickle; it lasts until `forget`."""
        stack, marks, memo = [], [], []

        def make(container):
            self.made.append(container)
            stack.append(container)

        def since_mark():
            start = marks.pop()
            items = stack[start:]
            del stack[start:]
            return items

        while (opcode := self.take(1)) != b".":
            self.left -= 1
            if self.left < 0:
                raise ValueError(f"it has more than {OPCODES_AT_MOST} opcodes, which no exported learner has")
            match opcode:
                case b"q" | b"r":  # to the memo, numbered as it comes
                    index = int.from_bytes(self.take(1 if opcode == b"q" else 4), "little")
                    if index != len(memo):
                        raise ValueError("its memo is out of order")
                    memo.append(stack[-1])
                case b"h" | b"j":
                    stack.append(memo[int.from_bytes(self.take(1 if opcode == b"h" else 4), "little")])
                case b"K":
                    stack.append(self.take(1)[0])
                case b"M":
                    stack.append(struct.unpack("<H", self.take(2))[0])
                case b"J":
                    stack.append(struct.unpack("<i", self.take(4))[0])
                case b"\x8a":
                    stack.append(int.from_bytes(self.take(self.take(1)[0]), "little", signed=True))
                case b"G":
                    stack.append(struct.unpack(">d", self.take(8))[0])
                case b"X":
                    length = int.from_bytes(self.take(4), "little")
                    stack.append(self.take(length).decode("utf-8", "surrogatepass"))
                case b"N" | b"\x88" | b"\x89":
                    stack.append({b"N": None, b"\x88": True, b"\x89": False}[opcode])
                case b"(":
                    marks.append(len(stack))
                case b")" | b"]":
                    make([])
                case b"\x85" | b"\x86" | b"\x87":
                    items = stack[-(opcode[0] - 0x84):]
                    del stack[-len(items):]
                    make(items)
                case b"t":
                    make(since_mark())
                case b"}":
                    make({})
                case b"a" | b"e":
                    items = [stack.pop()] if opcode == b"a" else since_mark()
                    if isinstance(stack[-1], list):
                        stack[-1].extend(items)
                case b"s" | b"u":
                    items = [stack.pop(-2), stack.pop()] if opcode == b"s" else since_mark()
                    if isinstance(stack[-1], dict):
                        # Python hashes texts with a secret; other keys can be made to collide, so that they are one.
                        stack[-1].update((key if type(key) is str else f"a {type(key).__name__}", value)
                                         for key, value in zip(items[::2], items[1::2]))
                case b"c":
                    make(Thing(f"{self._line()}.{self._line()}"))
                    self.names.add(stack[-1].name)
                case b"R" | b"\x81":
                    arguments, called = stack.pop(), stack.pop().name
                    if called == "torch._utils._rebuild_parameter":
                        stack.append(arguments[0])
                    else:
                        make({} if called == "collections.OrderedDict" and not arguments else Thing(called, arguments))
                case b"b":
                    state = stack.pop()
                    if isinstance(stack[-1], Thing):
                        stack[-1].state = state
                    elif not isinstance(stack[-1], dict):
                        raise ValueError("it sets attributes of what has none")
                case b"Q":
                    self._persistent(stack.pop(), make, stack)
                case b"0":
                    stack.pop()
                case b"1":
                    since_mark()
                case b"\x80":
                    if (protocol := self.take(1)[0]) > 2:
                        raise ValueError(f"it is a pickle of protocol {protocol}, and torch wrote 2")
                case _:
                    raise ValueError(f"its opcode {opcode!r} is none that torch wrote")
        return stack.pop()

    def _line(self):
        line = self.file.readline(NAME_AT_MOST)
        if not line.endswith(b"\n"):
            raise ValueError("it has a name without end")
        return line[:-1].decode()

    def _persistent(self, saved, make, stack):
        """Of a class with its source code the class; of a storage where it is."""
        if saved[0] == "module":
            stack.append(saved[1])
            return
        kind, key = saved[1].name.split(".")[-1], saved[2]
        if type(key) is not str or self.storages.setdefault(key, kind) != kind:
            raise ValueError("it holds storages in a way that torch did not write")
        make(Thing("storage", saved))
