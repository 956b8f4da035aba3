"""What the source of a function or class says, without comments, docstrings and formatting.

A file is parsed once for its content: what was found is kept in `__pycache__`, with the sha256 of the file, so that a
later process only reads it.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
import linecache
import os
import re
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

_FORMAT: Final = f"2 {sys.version_info.major}.{sys.version_info.minor}"
_SUFFIX: Final = ".code.json"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A function or class as text, and what it refers to.

    Attributes:
        text: Its code, normalised; without the decorators of a function, as what they declare is in the Asset.
        imports: Imports inside it: module, and pairs of a name there and its name here.
        names: Names that it mentions, each alone (with None) or with an attribute.
    """

    text: str
    imports: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    names: tuple[tuple[str, str | None], ...] = ()


@cache
def source_of(thing: Any) -> Source:
    """The source of a function or class; of what has none (generated code) the bytecode as text."""
    try:
        # By its code object: a wrapper that `functools.wraps` made bears the name of what it wraps.
        code = None if isinstance(thing, type) else thing.__code__
        if code is not None and code.co_name == "<lambda>":  # its lines may hold more than itself, or half of it
            return _of_code(code)
        if found := _in_file(thing):
            return found
        text = inspect.getsource(thing) if code is None else _lines_of(code)
        return _source(_stripped(ast.parse(textwrap.dedent(text))).body[0])
    except (OSError, SyntaxError, IndentationError):  # generated code
        code = getattr(thing, "__code__", None)
        return _of_code(code) if code else Source(text=re.sub(r" at 0x[0-9a-f]+", "", repr(sorted(vars(thing)))))


def _lines_of(code: types.CodeType) -> str:
    """What `inspect.getsource` gives, without its look through all modules for the one that the code is in."""
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename)
    if len(lines) < code.co_firstlineno:
        raise OSError(code.co_filename)  # as inspect does: there is no such file, or it has become shorter
    return "".join(inspect.getblock(lines[code.co_firstlineno - 1 :]))


def _of_code(code: types.CodeType) -> Source:
    """What bytecode says: its instructions, constants and names, without file, lines and addresses."""
    inner = [_of_code(value) for value in code.co_consts if isinstance(value, types.CodeType)]
    names = {*code.co_names, *code.co_freevars}
    pairs = {(name, None) for name in names} | {(name, attribute) for name in names for attribute in code.co_names}
    text = " ".join(
        (
            code.co_code.hex(),
            _constant(code.co_consts),
            repr(code.co_names),
            repr(code.co_varnames),
            *(i.text for i in inner),
        )
    )
    found = pairs.union(*(source.names for source in inner))
    return Source(text=text, names=tuple(sorted(found, key=repr)))


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return "code"
    if isinstance(value, frozenset):
        return "{" + ",".join(sorted(_constant(item) for item in value)) + "}"
    return f"({','.join(map(_constant, value))})" if isinstance(value, tuple) else repr(value)


def _in_file(thing: Any) -> Source | None:
    """The source of a named function or class, None when it cannot be told by qualified name and first line."""
    if isinstance(thing, type):
        file, name, line = inspect.getsourcefile(thing), thing.__qualname__, ""
    else:
        code = thing.__code__
        file, name, line = inspect.getsourcefile(code), code.co_qualname, str(code.co_firstlineno)
    if file is None or "<" in name or not Path(file).is_file():
        return None
    return _sources(file).get(f"{name}:{line}")


@cache
def _sources(file: str) -> Mapping[str, Source]:
    data = Path(file).read_bytes()
    digest = hashlib.sha256(_FORMAT.encode() + b"\0" + data).hexdigest()
    kept = Path(importlib.util.cache_from_source(file)).with_suffix(_SUFFIX)
    with suppress(OSError, ValueError, KeyError, TypeError):  # absent, torn or of another format: parsed again
        held = json.loads(kept.read_bytes())
        if held["digest"] == digest:
            return {place: _from_json(raw) for place, raw in held["sources"].items()}
    found = {place: _source(node) for place, node in _definitions(_stripped(ast.parse(data)).body, "")}
    _keep(kept, {"digest": digest, "sources": {place: asdict(source) for place, source in found.items()}})
    return found


def _keep(file: Path, value: Mapping[str, Any]) -> None:
    part = file.with_suffix(f".{os.getpid()}.part")
    with suppress(OSError):  # a read-only checkout is parsed each time
        file.parent.mkdir(exist_ok=True)
        part.write_text(json.dumps(value, separators=(",", ":")))
        part.replace(file)


def _from_json(raw: Mapping[str, Any]) -> Source:
    imports = tuple((module, tuple((name, here) for name, here in pairs)) for module, pairs in raw["imports"])
    return Source(text=raw["text"], imports=imports, names=tuple((name, attribute) for name, attribute in raw["names"]))


def _definitions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.stmt]]:
    """Every function by qualified name and first line (decorators included), every class by qualified name."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield f"{prefix}{node.name}:", node
            yield from _definitions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield f"{prefix}{node.name}:{first}", node


def _stripped(tree: ast.Module) -> ast.Module:
    """The tree without docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def _dotted(node: ast.Attribute) -> tuple[str, str] | None:
    """`a.b.c` as (`a`, `b.c`), None when it starts with something else than a name."""
    parts = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    return (value.id, ".".join(reversed(parts))) if isinstance(value, ast.Name) else None


def _source(node: ast.stmt) -> Source:
    if isinstance(node, ast.FunctionDef):
        node = copy(node)
        node.decorator_list = []
    imports: list[tuple[str, tuple[tuple[str, str], ...]]] = []
    names: dict[tuple[str, str | None], None] = {}
    for inner in ast.walk(node):
        if isinstance(inner, ast.ImportFrom):
            place = "." * inner.level + (inner.module or "")
            imports.append((place, tuple((alias.name, alias.asname or alias.name) for alias in inner.names)))
        elif isinstance(inner, ast.Name):
            names[inner.id, None] = None
        elif isinstance(inner, ast.Attribute) and (dotted := _dotted(inner)):
            names[dotted] = None
    return Source(text=ast.unparse(node), imports=tuple(imports), names=tuple(names))
