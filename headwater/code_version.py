"""Digests of code: what an asset's function does, with everything of this project that it calls.

Comments, docstrings and formatting do not count; a changed helper three calls away does. Followed are functions,
classes and constants of the project's own packages and of the package that declares the asset; third-party code counts through the declared `packages`.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import re
import sys
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from pathlib import PurePath
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from headwater.code_source import source_of
from headwater.product import Asset, Product
from headwater.runtime import project_root

PROJECT_PACKAGES: Final = ("headwater", "assets", "governance", "serving")

_PLAIN = (
    *(str, bytes, int, float, complex, bool, type(None), Decimal, Fraction, range),
    *(date, datetime, time, timedelta, timezone, ZoneInfo, PurePath),
)


def compute_version(asset: Asset) -> str:
    """Digest of what makes the asset's data: its function, what that calls, its declaration, its packages."""
    return _remembered(asset, checks=False)


_memory: dict[tuple[int, bool], tuple[weakref.ref[Asset], str]] = {}


def _remembered(asset: Asset, *, checks: bool) -> str:
    """The digest of this very object: code does not change while a process runs."""
    place = (id(asset), checks)
    held = _memory.get(place)
    if held is None or held[0]() is not asset:
        held = (weakref.ref(asset), _digest(asset, [asset.compute, *asset.covers], checks=checks))
        _memory[place] = held
    return held[1]


def code_version(asset: Asset) -> str:
    """Digest of the asset's whole code: `compute_version` and its checks."""
    return _remembered(asset, checks=True)


def function_digest(function: Callable[..., Any]) -> str:
    """Digest of a function's code, with everything of this project and of the function's own package that it calls."""
    material = _Material(frozenset((*PROJECT_PACKAGES, _package(function))))
    text = json.dumps(
        {
            "value": material.value(function),
            "code": {name: sorted(found) for name, found in sorted(material.seen.items())},
        },
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _digest(asset: Asset, functions: list[Callable[..., Any]], *, checks: bool = False) -> str:
    material = _Material(frozenset((*PROJECT_PACKAGES, *(_package(function) for function in functions))))
    for function in functions:
        material.visit(function)
    judged = []
    if checks:
        for check in asset.checks:
            material.visit(check.judge)
            judged.append([check.name, check.blocking, check.severity, material.value(check.judge)])
    text = json.dumps(
        {
            "path": asset.path,
            "kind": asset.kind,
            "inputs": sorted(asset.inputs),
            "landed": sorted(asset.landed),
            "partitions": asset.partitions.column if asset.partitions else None,
            "identity": asset.identity,
            "declaration": asset.declaration,
            "packages": {name: importlib.metadata.version(name) for name in sorted(asset.packages)},
            "compute": material.value(asset.compute),
            "checks": judged,
            "code": {name: sorted(found) for name, found in sorted(material.seen.items())},
        },
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class _Material:
    """Collects the normalised source of everything reachable from the visited functions."""

    def __init__(self, packages: frozenset[str]) -> None:
        self.packages = packages
        self.seen: dict[str, set[str]] = {}
        self._visited: dict[int, Any] = {}
        self._open: set[int] = set()
        self._roots = sorted({str(project_root()), *_roots(packages)}, key=len, reverse=True)

    def visit(self, thing: Any) -> None:
        """Adds a function, class or partial of the project, and all it refers to."""
        if isinstance(thing, partial):
            self.visit(thing.func)
            return
        if isinstance(thing, MethodType):
            self.visit(thing.__func__)
            return
        if wrapped := getattr(thing, "__wrapped__", None):  # what a decorator made counts with what it decorates
            self.visit(wrapped)
        if not isinstance(thing, FunctionType | type) or _package(thing) not in self.packages:
            return
        if id(thing) in self._visited:
            return
        self._visited[id(thing)] = thing
        name = f"{thing.__module__}.{thing.__qualname__}"
        self._add(name, source_of(thing).text)
        for reference, value in _references(thing, self.packages):
            self._refer(f"{name}:{reference}", value)

    def _add(self, name: str, text: str) -> None:
        self.seen.setdefault(name, set()).add(text)

    def _refer(self, name: str, value: Any) -> None:
        if isinstance(value, type):
            if not issubclass(value, BaseException):
                self.visit(value)
        elif not isinstance(value, ModuleType):
            self._add(name, self.value(value))

    def value(self, value: Any) -> str:
        """A stable text of a constant or of the values a closure holds."""
        if id(value) in self._open:
            return "itself"
        self._open.add(id(value))
        try:
            return self._value(value)
        finally:
            self._open.discard(id(value))

    def _value(self, value: Any) -> str:
        if isinstance(value, Asset):
            self.visit(value.compute)
            return f"asset {value.path}"
        if isinstance(value, Product):  # the parts an asset uses stand in its declaration
            return f"product {value.name}"
        if isinstance(value, Enum):
            self.visit(type(value))
            return f"{type(value).__qualname__}.{value.name}"
        if isinstance(value, _PLAIN):
            return self._text(repr(value))
        if isinstance(value, Mapping):
            return "{" + ",".join(sorted(f"{self.value(k)}:{self.value(v)}" for k, v in value.items())) + "}"
        if isinstance(value, set | frozenset):
            return "{" + ",".join(sorted(self.value(item) for item in value)) + "}"
        if isinstance(value, tuple | list):
            return "[" + ",".join(self.value(item) for item in value) + "]"
        if isinstance(value, re.Pattern):
            return f"re {value.pattern!r} {value.flags}"
        if is_dataclass(value) and not isinstance(value, type):
            self.visit(type(value))
            inner = ",".join(f"{f.name}={self.value(getattr(value, f.name))}" for f in fields(value))
            return f"{type(value).__qualname__}({inner})"
        if isinstance(value, partial):
            return f"partial({self.value(value.func)},{self.value(value.args)},{self.value(value.keywords)})"
        if isinstance(value, type):
            self.visit(value)
            return value.__qualname__
        if isinstance(value, FunctionType):
            self.visit(value)
            return f"{value.__module__}.{value.__qualname__}{self.value(_held(value))}"
        return self._object(value)

    def _text(self, text: str) -> str:
        """Without the folder that the code lies in: another checkout of it is the same code."""
        for root in self._roots:
            text = text.replace(root, "<project>")
        return text

    def _object(self, value: Any) -> str:
        name = type(value).__qualname__
        if isinstance(value, MethodType):
            self.visit(value)
            return f"{name} {value.__func__.__qualname__} of {self.value(value.__self__)}"
        if isinstance(value, pl.DataFrame):
            return f"{name} {value.schema} {value.rows()!r}"
        if isinstance(value, pl.Series | np.ndarray):
            return f"{name} {value.dtype} {self.value(value.tolist() if isinstance(value, np.ndarray) else value.to_list())}"
        if type(value).__module__.startswith("polars"):
            return f"{name} {value}"
        if hasattr(value, "__wrapped__"):
            self.visit(value)
            return f"{name} {self.value(value.__wrapped__)}"
        if _package(type(value)) in self.packages:
            self.visit(type(value))
            return f"{name} {self.value(getattr(value, '__dict__', {}))}"
        return name


def _roots(packages: frozenset[str]) -> Iterator[str]:
    """The folders that hold these packages."""
    for name in packages:
        places = getattr(sys.modules.get(name), "__path__", ())
        yield from (str(PurePath(place).parent) for place in places if len(PurePath(place).parts) > 2)


def _held(function: FunctionType) -> dict[str, Any]:
    """The values that a closure holds; a cell that is still empty holds nothing."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):
            found[name] = cell.cell_contents
    return found


def _package(thing: Any) -> str:
    """The top package that a function or class comes from."""
    thing = thing.func if isinstance(thing, partial) else thing
    return (getattr(thing, "__module__", None) or "").split(".", 1)[0]


def _references(thing: Any, packages: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Names of the project that the source mentions, with their values."""
    if isinstance(thing, type):
        space: Mapping[str, Any] = vars(importlib.import_module(thing.__module__))
    else:
        space = ChainMap(_held(thing), thing.__globals__)
    source = source_of(thing)
    local: dict[str, Any] = {}
    for written, pairs in source.imports:
        place = importlib.util.resolve_name(written, _parent(thing)) if written.startswith(".") else written
        if place.split(".", 1)[0] in packages:
            module = importlib.import_module(place)
            local |= {here: _attribute(module, name) for name, here in pairs}
    for name, attribute in source.names:
        if name not in local and name not in space:
            continue
        value = local[name] if name in local else space[name]
        if attribute is None:
            yield name, value
        else:
            for part in attribute.split("."):
                if not isinstance(value, ModuleType) or value.__name__.split(".", 1)[0] not in packages:
                    break
                value = getattr(value, part, None)
            else:
                yield f"{name}.{attribute}", value


def _attribute(module: ModuleType, name: str) -> Any:
    """What `from module import name` gives."""
    try:
        return getattr(module, name)
    except AttributeError:
        with suppress(ModuleNotFoundError):
            return importlib.import_module(f"{module.__name__}.{name}")
    return None


def _parent(thing: Any) -> str:
    """The package that relative imports of a function or class start from."""
    module = importlib.import_module(thing.__module__)
    return str(getattr(module, "__package__", "") or "")
