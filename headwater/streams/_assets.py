"""A stream's paths as assets, so that a commit says by which code its rows were made."""

import json
from collections.abc import Mapping
from functools import lru_cache

from headwater.lake import Kind
from headwater.materialize import REJECTED_SUFFIX
from headwater.product import Asset
from headwater.streams._declaration import LATE_SUFFIX, OFFSETS_SUFFIX, StreamSource
from headwater.streams._sorting import parse, sort


def assets_of(source: StreamSource) -> Mapping[str, Asset]:
    """The lake paths of a stream as assets: what their code version is taken of."""
    return _assets(source.path, json.dumps(source.declared), source.description)


@lru_cache
def _assets(path: str, declared: str, description: str) -> Mapping[str, Asset]:
    """The same objects for each batch: the code version of an asset is computed once."""
    kinds = {
        path: Kind.TABLE,
        path + LATE_SUFFIX: Kind.TABLE,
        path + REJECTED_SUFFIX: Kind.TABLE,
        path + OFFSETS_SUFFIX: Kind.FOLDER,
    }
    return {
        name: Asset(
            path=name, kind=kind, compute=sort, covers=(parse,), declaration=json.loads(declared), kinds=("stream",),
            description=description,
        )
        for name, kind in kinds.items()
    }  # fmt: skip
