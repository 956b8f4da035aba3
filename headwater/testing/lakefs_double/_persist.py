"""The double's state in a folder: contents by sha256, and one JSON file that names them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from headwater.testing.lakefs_double._model import Branch, Repository, StoredCommit, StoredObject, Tree
from headwater.testing.lakefs_double._store import Store

FORMAT: Final = 1
_INDEX: Final = "double.json"
_CONTENTS: Final = "contents"


def save(store: Store, folder: Path) -> None:
    """Writes the state; the index is replaced last, so that a half-written state is never read.

    Multipart uploads under way are left out.
    """
    (folder / _CONTENTS).mkdir(parents=True, exist_ok=True)
    objects: dict[str, dict[str, Any]] = {}
    repositories = [_repository(item, objects, folder) for item in store.repositories()]
    index = {"format": FORMAT, "repositories": repositories, "objects": objects, "collected": sorted(store.collected)}
    part = folder / f".{_INDEX}.part"
    part.write_text(json.dumps(index))
    part.replace(folder / _INDEX)


def load(store: Store, folder: Path) -> None:
    """Reads what `save` wrote into an empty store; nothing when nothing was written."""
    file = folder / _INDEX
    if not file.exists():
        return
    index = json.loads(file.read_text())
    if index["format"] != FORMAT:
        raise ValueError(f"{file} has format {index['format']}, this double reads {FORMAT}.")
    objects = {address: _object(raw, folder) for address, raw in index["objects"].items()}
    for raw in index["repositories"]:
        store.adopt(_read_repository(raw, objects))
    store.collected.update(index["collected"])


def _repository(item: Repository, objects: dict[str, dict[str, Any]], folder: Path) -> dict[str, Any]:
    return {
        "name": item.name,
        "namespace": item.namespace,
        "default_branch": item.default_branch,
        "created": item.created,
        "tags": item.tags,
        "protection": list(item.protection),
        "gc_rules": item.gc_rules,
        "commits": [
            {**_plain(commit), "tree": {path: _keep(stored, objects, folder) for path, stored in commit.tree.items()}}
            for commit in item.commits.values()
        ],
        "branches": {
            name: {
                "commit": branch.commit,
                "hidden": branch.hidden,
                "staging": {
                    path: _keep(stored, objects, folder) if stored else None for path, stored in branch.staging.items()
                },
            }
            for name, branch in item.branches.items()
        },
    }


def _plain(commit: StoredCommit) -> dict[str, Any]:
    return asdict(replace(commit, tree={}))


def _keep(stored: StoredObject, objects: dict[str, dict[str, Any]], folder: Path) -> str:
    """Writes an object once; returns its address."""
    if stored.address not in objects:
        digest = sha256(stored.data).hexdigest()
        content = folder / _CONTENTS / digest
        if not content.exists():
            content.write_bytes(stored.data)
        objects[stored.address] = {**asdict(replace(stored, data=b"")), "data": digest}
    return stored.address


def _object(raw: Mapping[str, Any], folder: Path) -> StoredObject:
    return StoredObject(**{**raw, "data": (folder / _CONTENTS / raw["data"]).read_bytes()})


def _read_repository(raw: Mapping[str, Any], objects: Mapping[str, StoredObject]) -> Repository:
    def tree(paths: Mapping[str, str]) -> Tree:
        return {path: objects[address] for path, address in paths.items()}

    commits = [
        StoredCommit(**{**item, "parents": tuple(item["parents"]), "tree": tree(item["tree"])})
        for item in raw["commits"]
    ]
    branches = {
        name: Branch(
            commit=item["commit"],
            hidden=item["hidden"],
            staging={path: objects[address] if address else None for path, address in item["staging"].items()},
        )
        for name, item in raw["branches"].items()
    }
    return Repository(
        name=raw["name"],
        namespace=raw["namespace"],
        default_branch=raw["default_branch"],
        created=raw["created"],
        branches=branches,
        tags=dict(raw["tags"]),
        commits={commit.id: commit for commit in commits},
        protection=tuple(raw["protection"]),
        gc_rules=raw["gc_rules"],
    )
