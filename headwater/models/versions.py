"""Semantic versions of models: computed from what changed, never typed."""

import re
from dataclasses import dataclass
from typing import Any, Final

from headwater.models._json import digest
from headwater.models.errors import ModelDeclarationError

FIRST_VERSION: Final = "1.0.0"
_VERSION = re.compile(r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$")


@dataclass(frozen=True, kw_only=True)
class VersionFacts:
    """What a model version is judged by.

    Attributes:
        version: `major.minor.patch`; empty for a model that has none yet.
        signature: Digest of its inputs and outputs.
        definition: Digest of its features, parameters and code.
        data_version: Digest of the trained bundle's content.
    """

    signature: str
    definition: str
    data_version: str
    version: str = ""


def next_version(previous: VersionFacts | None, current: VersionFacts) -> str:
    """The version of `current`, given the newest one before it.

    Major when the signature changed, minor when the definition did, patch when the data alone did, the same when
    nothing did (Semantic Versioning 2.0.0, read for models).

    Args:
        previous: The newest published version's facts, None for the first model.
        current: The new model's facts; its `version` is not read.

    Raises:
        ModelDeclarationError: `previous.version` is no `major.minor.patch`.
    """
    if previous is None:
        return FIRST_VERSION
    major, minor, patch = parse_version(previous.version)
    if current.signature != previous.signature:
        return f"{major + 1}.0.0"
    if current.definition != previous.definition:
        return f"{major}.{minor + 1}.0"
    if current.data_version != previous.data_version:
        return f"{major}.{minor}.{patch + 1}"
    return previous.version


def parse_version(version: str) -> tuple[int, int, int]:
    """Major, minor and patch as numbers, which sort as versions do.

    Raises:
        ModelDeclarationError: It is no `major.minor.patch`.
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ModelDeclarationError(
            what="Model version", problem=f"{version!r} is not major.minor.patch.", remedy="See `headwater model list`."
        )
    return int(found[1]), int(found[2]), int(found[3])


def definition_digest(*, declaration: Any, code: str) -> str:
    """Digest of what was asked for: the declaration's JSON values (features and parameters) and the code's digest."""
    return digest({"declaration": declaration, "code": code})
