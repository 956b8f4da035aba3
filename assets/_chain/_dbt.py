"""dbt models as declared assets: inputs and code versions read from dbt's manifest. No Dagster, no dbt import."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from headwater.lake import Kind
from headwater.product import Asset, DeclarationError, Product


def dbt_assets_of(product: Product, manifest: Mapping[str, Any]) -> tuple[Asset, ...]:
    """One declared asset for each dbt model of a product, whose inputs are the sources it reads, at any depth.

    Raises:
        DeclarationError: A declared model or a source it reads is not in the dbt project.
    """
    if product.dbt is None:
        return ()
    found = []
    for name, path in product.dbt.models.items():
        node = model_node(manifest, name)
        sources = sorted(set(_sources(manifest, node["unique_id"])))
        unknown = [source for source in sources if source not in product.dbt.sources]
        if unknown:
            raise DeclarationError(
                what="dbt model",
                name=name,
                problem=f"it reads source {unknown[0]!r}, which the product does not declare.",
                remedy="Add it to DbtModels(sources=...).",
            )
        found.append(
            Asset(
                path=path,
                kind=Kind.TABLE,
                compute=built_by_dbt,
                inputs=tuple(product.dbt.sources[source] for source in sources),
                description=node["description"],
                kinds=("dbt", "duckdb"),
                declaration={"dbt": model_digest(manifest, node["unique_id"])},
            )
        )
    return tuple(found)


def model_node(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The node of a declared model.

    Raises:
        DeclarationError: The project has no such model, or several: versions of one, or one of another package.
    """
    found: list[Mapping[str, Any]] = [
        node for node in manifest["nodes"].values() if node["resource_type"] == "model" and node["name"] == name
    ]
    if not found:
        raise DeclarationError(
            what="dbt model", name=name, problem="dbt_project has no such model.", remedy="Add its SQL or drop it."
        )
    if len(found) > 1:
        ids = ", ".join(node["unique_id"] for node in found)
        raise DeclarationError(
            what="dbt model",
            name=name,
            problem=f"dbt_project has several: {ids}.",
            remedy="Give each a name of its own.",
        )
    return found[0]


def read_paths(product: Product, manifest: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Lake paths of the declared models and sources that a model reads directly, or through models that are not declared."""
    paths = dict.fromkeys(_read_paths(product, manifest, model_node(manifest, name)))
    return tuple(paths)


def _read_paths(product: Product, manifest: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[str]:
    assert product.dbt is not None
    for id in node["depends_on"].get("nodes", ()):
        if id in manifest["sources"]:
            yield product.dbt.sources[manifest["sources"][id]["name"]]
            continue
        above = manifest["nodes"][id]
        if above["resource_type"] == "model" and above["name"] in product.dbt.models:
            yield product.dbt.models[above["name"]]
        else:
            yield from _read_paths(product, manifest, above)


def built_by_dbt(*_: Any) -> NoReturn:
    """Stands where a Python asset has its function: dbt builds this one."""
    raise DeclarationError(
        what="Asset", name="dbt model", problem="it was called as a function.", remedy="Run it with dbt or Dagster."
    )


def model_digest(manifest: Mapping[str, Any], unique_id: str) -> str:
    """Digest of a model's SQL, of the models above it, and of the macros of this project they use."""
    project = manifest["metadata"]["project_name"]
    parts = []
    for node_id in sorted(set(_ancestors(manifest, unique_id))):
        node = manifest["nodes"][node_id]
        parts.append([node["name"], _normal(node["raw_code"]), node["config"].get("materialized")])
        for macro_id in node["depends_on"].get("macros", ()):
            macro = manifest["macros"].get(macro_id, {})
            if macro.get("package_name") == project:
                parts.append([macro["name"], _normal(macro["macro_sql"])])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def read_manifest(project: Path) -> Mapping[str, Any]:
    """The parsed manifest of a dbt project whose `target/manifest.json` is there."""
    found: Mapping[str, Any] = json.loads((project / "target" / "manifest.json").read_text())
    return found


def _normal(sql: str) -> str:
    """SQL without comment lines and with single spaces: formatting is no change."""
    lines = (line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    return " ".join(" ".join(lines).split())


def _ancestors(manifest: Mapping[str, Any], unique_id: str) -> Iterator[str]:
    if unique_id in manifest["nodes"]:
        yield unique_id
        for above in manifest["nodes"][unique_id]["depends_on"].get("nodes", ()):
            yield from _ancestors(manifest, above)


def _sources(manifest: Mapping[str, Any], unique_id: str) -> Iterator[str]:
    if unique_id in manifest["sources"]:
        yield manifest["sources"][unique_id]["name"]
        return
    for above in manifest["nodes"][unique_id]["depends_on"].get("nodes", ()):
        yield from _sources(manifest, above)
