"""Digests of code: what an asset's function does, with everything of this project that it calls.

Comments, docstrings and formatting do not count; a changed helper three calls away does. Followed are functions,
classes and constants of the project's own packages and of the package that declares the asset; third-party code counts through the declared `packages`.
"""

import hashlib
import importlib
import importlib.metadata
import inspect
import json
import re
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any, Final

from headwater.code_source import source_of
from headwater.product import Asset, Product

PROJECT_PACKAGES: Final = ("headwater", "assets", "governance", "serving")

_PLAIN = (str, bytes, int, float, complex, bool, type(None), date, datetime, time, timedelta, PurePath)


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
            "code": dict(sorted(material.seen.items())),
        },
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class _Material:
    """Collects the normalised source of everything reachable from the visited functions."""

    def __init__(self, packages: frozenset[str]) -> None:
        self.packages = packages
        self.seen: dict[str, str] = {}

    def visit(self, thing: Any) -> None:
        """Adds a function, class or partial of the project, and all it refers to."""
        if isinstance(thing, partial):
            self.visit(thing.func)
            return
        thing = inspect.unwrap(thing) if callable(thing) else thing
        if not isinstance(thing, FunctionType | type) or _package(thing) not in self.packages:
            return
        name = f"{thing.__module__}.{thing.__qualname__}"
        if name in self.seen:
            return
        self.seen[name] = source_of(thing).text
        for reference, value in _references(thing, self.packages):
            self._refer(f"{name}:{reference}", value)

    def _refer(self, name: str, value: Any) -> None:
        if isinstance(value, FunctionType | partial) or (
            isinstance(value, type) and not issubclass(value, BaseException)
        ):
            self.visit(value)
        elif not isinstance(value, ModuleType | type):
            self.seen[name] = self.value(value)

    def value(self, value: Any) -> str:
        """A stable text of a constant or of the values a closure holds."""
        if isinstance(value, Asset):
            return f"asset {value.path}"
        if isinstance(value, Product):  # the parts an asset uses stand in its declaration
            return f"product {value.name}"
        if isinstance(value, Enum):
            return f"{type(value).__qualname__}.{value.name}"
        if isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, Mapping):
            return "{" + ",".join(sorted(f"{self.value(k)}:{self.value(v)}" for k, v in value.items())) + "}"
        if isinstance(value, set | frozenset):
            return "{" + ",".join(sorted(self.value(item) for item in value)) + "}"
        if isinstance(value, tuple | list):
            return "[" + ",".join(self.value(item) for item in value) + "]"
        if isinstance(value, re.Pattern):
            return f"re {value.pattern!r} {value.flags}"
        if is_dataclass(value) and not isinstance(value, type):
            inner = ",".join(f"{f.name}={self.value(getattr(value, f.name))}" for f in fields(value))
            return f"{type(value).__qualname__}({inner})"
        if isinstance(value, partial):
            return f"partial({self.value(value.func)},{self.value(value.args)},{self.value(value.keywords)})"
        if isinstance(value, FunctionType):
            self.visit(value)
            held = {
                n: c.cell_contents for n, c in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
            }
            return f"{value.__module__}.{value.__qualname__}{self.value(held)}"
        if type(value).__module__.startswith("polars"):
            return f"{type(value).__qualname__} {value}"
        return type(value).__qualname__


def _package(thing: Any) -> str:
    """The top package that a function or class comes from."""
    thing = thing.func if isinstance(thing, partial) else inspect.unwrap(thing)
    return (getattr(thing, "__module__", None) or "").split(".", 1)[0]


def _references(thing: Any, packages: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Names of the project that the source mentions, with their values."""
    if isinstance(thing, type):
        space: Mapping[str, Any] = vars(importlib.import_module(thing.__module__))
    else:
        held = zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True)
        space = ChainMap({name: cell.cell_contents for name, cell in held}, thing.__globals__)
    source = source_of(thing)
    local: dict[str, Any] = {}
    for place, pairs in source.imports:
        if place.split(".", 1)[0] in packages:
            module = importlib.import_module(place)
            local |= {here: getattr(module, name, None) for name, here in pairs}
    for name, attribute in source.names:
        if name not in local and name not in space:
            continue
        value = local[name] if name in local else space[name]
        if attribute is None:
            yield name, value
        elif isinstance(value, ModuleType) and value.__name__.split(".", 1)[0] in packages:
            yield f"{name}.{attribute}", getattr(value, attribute, None)
