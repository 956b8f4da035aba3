"""API keys: who may ask for predictions, who may read metrics, who may answer what waits for a person. Only digests of the keys are kept."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from serving.errors import ProductNotServedError, ServingError, shortened
from serving.http._wire import Problem

_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_PARTS: Final = ("name", "sha256", "roles", "products")


class Role(StrEnum):
    """What a key is good for."""

    PREDICT = "predict"
    METRICS = "metrics"
    REVIEW = "review"


class KeysError(ServingError):
    """A file of API keys that cannot be used."""

    def __init__(self, *, file: str, problem: str) -> None:
        super().__init__(
            f"The API keys in {file} {problem}. Write a JSON list of objects such as "
            '{"name": "desk", "sha256": "<of the key>", "roles": ["predict"], "products": ["flights"]}; without "products" a key '
            "is good for all."
        )


class UnprotectedError(ServingError):
    """A service that others could reach without a key."""

    def __init__(self, *, host: str) -> None:
        super().__init__(
            f"The service would listen on {host}, which others can reach, without API keys. Give --keys FILE, or listen on 127.0.0.1."
        )


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key.

    Attributes:
        name: Whose it is, as it stands in the log.
        roles: What it is good for.
        products: Products it is good for, None for all.
    """

    name: str
    roles: frozenset[Role]
    products: frozenset[str] | None


class Keys:
    """The keys of a service; none lets everybody in."""

    def __init__(self, keys: Mapping[str, Key] | None = None) -> None:
        """Takes keys by the sha256 of their text."""
        self._keys = keys

    @classmethod
    def read(cls, file: Path) -> "Keys":
        """The keys in a file. Raises KeysError."""
        try:
            raw = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise KeysError(file=str(file), problem=f"cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise KeysError(file=str(file), problem=f"cannot be read ({type(error).__name__}: {error})") from error
        if not isinstance(raw, list) or not raw:
            raise KeysError(file=str(file), problem="are no list, or an empty one")
        keys: dict[str, Key] = {}
        for place, item in enumerate(raw, start=1):
            try:
                digest, key = _digest(item), _key(item)
                if digest in keys:
                    raise ValueError(f"has the sha256 of {keys[digest].name!r} again")
            except ValueError as error:
                said = f"cannot be used: {_shown(place, item)} {error}"
                raise KeysError(file=str(file), problem=said) from error
            keys[digest] = key
        return cls(keys)

    @property
    def are_none(self) -> bool:
        """Whether everybody is let in."""
        return self._keys is None

    def caller(self, headers: Mapping[bytes, bytes], role: Role, product: str | None = None) -> str:
        """The name of a request's key, empty where none is needed.

        Args:
            headers: Of the request, by lower-case name.
            role: What it wants.
            product: What it asks for, None for nothing that is a product's. An empty name is a name, of no product.

        Raises:
            Problem: There is no key, nobody knows it, or it is not good for this.
        """
        key = self._key(headers)
        if key is None:
            return ""
        if role not in key.roles or (product is not None and key.products is not None and product not in key.products):
            of = f" of {shortened(product)!r}" if product else ""
            raise Problem(403, "forbidden", f"The API key {key.name!r} is not good for {role.value}{of}.")
        return key.name

    def products(self, headers: Mapping[bytes, bytes]) -> frozenset[str] | None:
        """The products that a request's key is good for, None for all. Raises Problem: there is no key, or nobody knows it."""
        key = self._key(headers)
        return key.products if key is not None else None

    def told(self, problem: Problem, headers: Mapping[bytes, bytes]) -> Problem:
        """A refusal as the request's key may read it: of the products that are served it names those that the key is good for."""
        cause = problem.__cause__
        if not isinstance(cause, ProductNotServedError):
            return problem
        said = cause.told_to(self.products(headers))
        return Problem(problem.status, problem.code, said, retry_after=problem.retry_after)

    def _key(self, headers: Mapping[bytes, bytes]) -> Key | None:
        """A request's key, None where none is needed. Raises Problem."""
        if self._keys is None:
            return None
        given = headers.get(b"x-api-key") or _bearer(headers.get(b"authorization", b""))
        if not given:
            raise Problem(
                401, "no_key", "An API key is needed: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
            )
        key = self._keys.get(hashlib.sha256(given).hexdigest())  # a digest tells nothing by the time its lookup takes
        if key is None:
            raise Problem(401, "unknown_key", "Nobody knows this API key.")
        return key


def _bearer(header: bytes) -> bytes:
    scheme, _, key = header.partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else b""  # the scheme's case says nothing (RFC 9110, 11.1)


def _shown(place: int, item: Any) -> str:
    name = item.get("name") if isinstance(item, dict) else None
    return f"entry {place} ({name!r})" if isinstance(name, str) and name else f"entry {place}"


def _digest(item: Any) -> str:
    if not isinstance(item, dict):
        raise ValueError("is no object")
    digest = item.get("sha256")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise ValueError("has no sha256, 64 hexadecimal digits")
    return digest.lower()


def _key(item: Mapping[str, Any]) -> Key:
    if strange := sorted(item.keys() - _PARTS):
        raise ValueError(f"has {', '.join(map(repr, strange))}, which nobody knows; known are {', '.join(_PARTS)}")
    if not isinstance(item.get("name"), str) or not item["name"]:
        raise ValueError("has no name")
    if not item["name"].isprintable():  # a record of the log could not hold it
        raise ValueError("has a name that cannot be printed")
    roles = _texts(item, "roles")
    if unknown := sorted(roles - set(Role)):
        raise ValueError(f"has the role {unknown[0]!r}; known are {', '.join(Role)}")
    if not roles:
        raise ValueError("has no role, so it is good for nothing")
    return Key(
        name=item["name"],
        roles=frozenset(map(Role, roles)),
        products=_texts(item, "products") if "products" in item else None,
    )


def _texts(item: Mapping[str, Any], part: str) -> frozenset[str]:
    """A part of an entry that is a list of texts: of a text alone, a set would hold its letters."""
    found = item.get(part)
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise ValueError(f"has {part} that are no list of texts")
    return frozenset(found)
