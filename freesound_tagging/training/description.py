"""What a function of one's own computes, as text: its source, and that of all that it refers to."""

import ast
import contextlib
import enum
import functools
import hashlib
import importlib.util
import inspect
import linecache
import os
import sys
import sysconfig
import types
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path

import numpy as np
import torch

from .. import augment

# Of modules of one's own: how each was imported, and a digest of its file when it was first looked at.
READ = {}
INSTALLED = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(augment.__file__).parent)}
PLAIN = (int, float, complex, str, bytes, type(None), enum.Enum, range, slice, torch.dtype, np.generic)
ARRAYS = (np.ndarray, torch.Tensor)


class Description:
    """What a function computes: `texts` that say it, and `modules`, those of one's own that it is of and refers to."""

    def __init__(self, step):
        self.texts, self.modules, self._seen = [], {}, set()
        self._itself = inmost(step)
        if _is_own(self._itself) or not module_of(self._itself).startswith("freesound_tagging."):
            self._add(step)
            return
        given = (*step.args, *step.keywords.values()) if isinstance(step, partial) else ()  # as of `compose`
        for one in (one for value in given for one in (value if isinstance(value, (tuple, list)) else [value])):
            if callable(one):
                described = Description(one)
                self.texts += described.texts
                self.modules |= described.modules

    def _add(self, thing):
        """Describe a value; an object of any other kind is passed over."""
        if isinstance(thing, partial):
            thing = (*thing.args, *sorted(thing.keywords.items()), thing.func)
        elif isinstance(thing, (staticmethod, classmethod, types.MethodType)):
            thing = thing.__func__
        elif isinstance(thing, property):
            thing = (thing.fget, thing.fset, thing.fdel)
        elif isinstance(thing, torch.Tensor) and thing.layout == torch.strided and thing.device.type != "meta":
            values = thing.detach().cpu().contiguous().flatten().view(torch.uint8)  # numpy has no bfloat16
            thing = (str(thing.dtype), *thing.shape, values.numpy())
        if isinstance(thing, tuple):
            self.texts.append(f"{len(thing)} values")
            for value in thing:
                self._add(value)
        elif isinstance(thing, PLAIN):
            self.texts.append(repr(thing.item() if isinstance(thing, np.generic) else thing))
        elif isinstance(thing, np.ndarray) and thing.dtype != object:
            self.texts += [thing.dtype.str, str(thing.shape), hashlib.sha256(np.ascontiguousarray(thing)).hexdigest()]
        elif id(thing) not in self._seen:
            self._seen.add(id(thing))
            if isinstance(thing, dict):
                self._add(tuple(sorted(thing.items(), key=lambda item: repr(item[0]))))
            elif _is_code(thing):
                self._add_code(thing)

    def _add_code(self, thing):
        """Describe a function or a class."""
        if not (thing is self._itself or _is_own(thing)):
            self.texts.append(f"{module_of(thing)}.{getattr(thing, '__qualname__', '')}")
            self._add(getattr(thing, "__wrapped__", None))
            return
        if module := sys.modules.get(module_of(thing)):
            self._add_module(module)
        if inspect.isclass(thing):
            self._add_class(thing)
        elif inspect.isfunction(thing):
            self._add_function(thing)
        else:  # a function that is wrapped, or of an extension
            file = getattr(module, "__file__", None)
            self.texts.append(f"{module_of(thing)}.{getattr(thing, '__qualname__', '')}")
            self._add((getattr(thing, "__wrapped__", None), getattr(thing, "py_func", None)))
            if file and not file.endswith(".py"):
                self.texts.append(hashlib.sha256(Path(file).read_bytes()).hexdigest())

    def _add_class(self, kind):
        """Describe a class by its text, where there is one, its attributes and its bases."""
        members = {name: value for name, value in sorted(vars(kind).items()) if not (
            value.__code__.co_filename == "<string>" if inspect.isfunction(value) else name.startswith("__"))}
        files = [getattr(sys.modules.get(kind.__module__), "__file__", None) or "",
                 *(value.__code__.co_filename for value in members.values() if inspect.isfunction(value))]
        said = [_described(node) for text in dict.fromkeys(map(_text_of_file, files)) for node in
                ast.walk(_parsed(text)) if isinstance(node, ast.ClassDef) and node.name == kind.__name__]
        self.texts += said
        for name, value in members.items():
            self.texts.append(name)
            if not (isinstance(value, dict) and said):  # it may be what the class remembers
                self._add(value)
        self._add(kind.__bases__)

    def _add_function(self, function):
        """Describe a function by its text, or else its instructions, and by what it refers to."""
        code = function.__code__
        text = _text_of_file(code.co_filename)
        _check_that_it_is_of(text, function)
        nodes = [node for node in ast.walk(_parsed(text)) if _begins_at(node, code)]
        self.texts += [_described(node) for node in nodes] or [repr(_instructions(code))]
        self._add((function.__defaults__, *sorted((function.__kwdefaults__ or {}).items()),
                   getattr(function, "__wrapped__", None)))
        names = sorted(_names_in(code))
        for name, cell in zip(code.co_freevars, function.__closure__ or ()):
            if cell != types.CellType():  # one that has no value yet
                self._add_named(name, cell.cell_contents, names)
        for name in filter(function.__globals__.__contains__, names):
            self._add_named(name, function.__globals__[name], names, text)
        for module in filter(_is_own_module, _imported_by(nodes, function.__globals__.get("__package__"))):
            self._add_module(module, names)

    def _add_named(self, name, value, names, text=None):
        """Describe what a function has by a name, made in a module of some text; or of a module all its `names`."""
        if inspect.ismodule(value):
            if _is_own_module(value):
                self._add_module(value, names)
            return
        self.texts.append(name)
        if text is not None and not (isinstance(value, (*PLAIN, *ARRAYS)) or _is_code(value)):
            made = [_described(node) for node in ast.walk(_parsed(text)) if _makes(node, name)]
            self.texts += made
            if not isinstance(value, tuple):
                value = None if made else tuple(value) if isinstance(value, list) else value
        self._add(value)

    def _add_module(self, module, names=(), before=()):
        """Note a module of one's own, and describe those of its attributes that have these names."""
        if module in before:
            return
        file = getattr(module, "__file__", None) or ""
        if os.path.isfile(file) and module.__name__ not in self.modules:
            self.modules[module.__name__] = module
            _check_unchanged(module)
            imports = [node for node in _parsed(_text_of_file(file)).body
                       if isinstance(node, (ast.Import, ast.ImportFrom))]
            for imported in filter(_is_own_module, _imported_by(imports, module.__package__)):
                self._add_module(imported)
        for name in filter(vars(module).__contains__, names):
            value = vars(module)[name]
            if not inspect.ismodule(value):
                self._add_named(name, value, names, _text_of_file(file))
            elif _is_own_module(value):
                self._add_module(value, names, (*before, module))


def inmost(step):
    """What a function wraps, the first of one's own."""
    return inspect.unwrap(step.func if isinstance(step, partial) else step, stop=_is_own)


def module_of(thing):
    return getattr(thing, "__module__", None) or ""


def _is_code(thing):
    return (isinstance(thing, (partial, staticmethod, classmethod, property)) or inspect.isroutine(thing)
            or inspect.isclass(thing) or (callable(thing) and hasattr(thing, "__wrapped__")))


def _is_own(thing):
    """Whether a function or a class comes neither with Python nor with this package nor with one that is installed."""
    code, module = getattr(thing, "__code__", None), sys.modules.get(module_of(thing))
    file = code.co_filename if inspect.iscode(code) else getattr(module, "__file__", None)
    return _is_own_file(file) or (file is None and module_of(thing) == "__main__")  # typed into a prompt


def _is_own_module(module):
    """As `_is_own`; a folder that is a package without a file too."""
    return any(map(_is_own_file, [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]))


def _is_own_file(file):
    return bool(file) and not file.startswith("<frozen") and not (
        INSTALLED & {*map(str, Path(file).parents)} or {"site-packages", "dist-packages"} & {*Path(file).parts})


def _text_of_file(name):
    """The text of a file, or of a notebook's cell; empty if there is none."""
    linecache.checkcache(name)
    return "".join(linecache.getlines(name))


@functools.lru_cache(maxsize=64)
def _parsed(text):
    """What stands in a text; nothing if it is not Python's."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return ast.parse("")


@functools.lru_cache(maxsize=64)
def _codes_in(text, name):
    """The code of all functions in a file's text, at any depth: frozenset."""
    try:
        codes = [compile(text, name, "exec", dont_inherit=True)]
    except (SyntaxError, ValueError):
        return frozenset()
    for code in codes:
        codes += filter(inspect.iscode, code.co_consts)
    return frozenset(codes)


def _described(node):
    """A part of a program as text, the same for every version of Python: without what is empty."""
    if isinstance(node, ast.AST):
        fields = (f"{name}={_described(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
        return f"{type(node).__name__}({', '.join(fields)})"
    return f"[{', '.join(map(_described, node))}]" if isinstance(node, list) else repr(node)


def _begins_at(node, code):
    """Whether a function in a program is the one that a code was made of; two lambdas of one line both are."""
    if isinstance(node, ast.Lambda):
        return code.co_name == "<lambda>" and node.lineno == code.co_firstlineno
    return (isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name
            and min([node, *node.decorator_list], key=lambda part: part.lineno).lineno == code.co_firstlineno)


def _makes(node, name):
    """Whether a part of a program gives something a name."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):  # a decorator's object
        return node.name == name
    return isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and any(
        isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store) for part in ast.walk(node))


def _instructions(code):
    """What a function does that has no text, as one that was typed into a prompt."""
    return (code.co_code, code.co_names, [_instructions(one) if inspect.iscode(one) else repr(one)
                                          for one in code.co_consts])


def _names_in(code):
    """The names of globals, and of attributes, in a function's code and in the functions that it makes."""
    return set(code.co_names).union(*(_names_in(one) for one in code.co_consts if inspect.iscode(one)))


def _imported_by(nodes, package):
    """The modules of one's own that functions import when they are called, imported now."""
    for node in (part for function in nodes for part in ast.walk(function)):
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            found = [name, *(f"{name}{'.' * bool(node.module)}{alias.name}" for alias in node.names)]
        for name in found:
            with contextlib.suppress(Exception):  # what cannot be imported, or only sometimes
                name = importlib.util.resolve_name(name, package)
                spec = importlib.util.find_spec(name)
                if any(map(_is_own_file, [spec.origin or "", *(spec.submodule_search_locations or ())])):
                    yield importlib.import_module(name)


def _check_that_it_is_of(text, function):
    """Raise an ImportError if a function is not what its file says, as it stands there now."""
    module, file = sys.modules.get(function.__module__), function.__code__.co_filename
    if (type(getattr(getattr(module, "__spec__", None), "loader", None)) is SourceFileLoader  # others may rewrite it
            and os.path.isfile(file) and function.__code__ not in _codes_in(text, file)):
        raise _changed(file)


def _check_unchanged(module):
    """Raise an ImportError if a module's file is not what it was when it was first looked at."""
    if module.__name__ == "__main__":  # a script that runs
        return
    content = hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()
    spec, known = READ.setdefault(module.__name__, (module.__spec__, content))
    if module.__spec__ is not spec:  # read again since, by importlib.reload
        READ[module.__name__] = module.__spec__, content
    elif content != known:
        raise _changed(module.__file__)


def _changed(file):
    return ImportError(f"{file} has been changed since it was imported, and what was imported would be trained: "
                       "restart this program, or the notebook's kernel")
