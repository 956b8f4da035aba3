"""A whole dbt build as one lake transaction: sources pinned, dbt's tests the audit, every model in one commit."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, dbt_assets

from assets._bridge import asset_key, report
from headwater.code_version import code_version
from headwater.lake import Entry, Transaction
from headwater.materialize import Stopwatch, Written, finish, replayed, transaction_id_of
from headwater.names import LINEAGE_FACT
from headwater.product import Asset, Product
from headwater.provenance import CheckRecord, Pin
from resources.dbt import DATABASE, make_database
from resources.dbt_lineage import compiled_sql, dbt_column_lineage
from resources.lake import LakeResource
from resources.progress import told


class Translator(DagsterDbtTranslator):
    """Names of lake paths for dbt's nodes: models by declaration, sources by the table they show."""

    def __init__(self, product: Product, assets: Sequence[Asset]) -> None:
        super().__init__()
        self._product = product
        self._assets = {name: next(a for a in assets if a.path == path) for name, path in _models(product).items()}

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """The lake path as asset key."""
        name = dbt_resource_props["name"]
        if dbt_resource_props["resource_type"] == "source" and self._product.dbt:
            return asset_key(self._product.dbt.sources.get(name, f"{self._product.name}/{name}"))
        if name in self._assets:
            return asset_key(self._assets[name].path)
        return super().get_asset_key(dbt_resource_props)

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The product."""
        return self._product.name

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str]:
        """The product's owners."""
        return list(self._product.owners)

    def get_code_version(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """The same digest that the lake records."""
        asset = self._assets.get(dbt_resource_props["name"])
        return code_version(asset) if asset else None


def _models(product: Product) -> Mapping[str, str]:
    return product.dbt.models if product.dbt else {}


def dagster_dbt_assets(product: Product, assets: Sequence[Asset], manifest: Path) -> dg.AssetsDefinition:
    """One multi-asset for all dbt models of a product.

    Args:
        product: The declaration, with `dbt`.
        assets: Its dbt models as declared assets.
        manifest: dbt's manifest.
    """

    @dbt_assets(
        manifest=manifest,
        select=" ".join(_models(product)),
        name=f"{product.name}_dbt",
        dagster_dbt_translator=Translator(product, assets),
    )
    def body(context: dg.AssetExecutionContext, lake: LakeResource, dbt: DbtCliResource) -> Iterator[Any]:
        fresh = lake.fresh(assets, tags=dict(context.run.tags))
        if fresh is not None:
            for outcome in fresh:
                yield from report(outcome, checks=context.selected_asset_check_keys)
            return
        yield from _build(context, lake, dbt, product, assets)

    return body


def _build(
    context: dg.AssetExecutionContext,
    resource: LakeResource,
    dbt: DbtCliResource,
    product: Product,
    assets: Sequence[Asset],
) -> Iterator[Any]:
    watch, run = Stopwatch(), resource.run(run_id=context.run.run_id, tags=dict(context.run.tags))
    lake, settings = resource.open(), resource.settings()
    transaction_id = transaction_id_of(run, f"{product.name}/dbt")
    if transaction_id and (earlier := lake.find_transaction(transaction_id, ref=settings.branch)):
        for asset in assets:
            again = replayed(lake, asset.path, None, earlier, into=settings.branch)
            yield from report(again, checks=context.selected_asset_check_keys)
        return
    folder = settings.scratch / f"dbt-{context.run.run_id}"
    try:
        with lake.transaction(into=settings.branch, id=transaction_id, hint=f"{product.name}/dbt") as tx:
            sources = product.dbt.sources if product.dbt else {}
            make_database(folder / DATABASE, schema=f"{product.name}_lake", tables=sources, snapshot=tx.base)
            started = time.perf_counter()
            checks, records = _invoke(context, dbt, folder)
            watch.function = time.perf_counter() - started
            written = _export(tx, folder, product, assets)
            pins = _pins(tx, assets)
            into = settings.branch
            outcomes = finish(lake, tx, written, checks=records, pins=pins, run=run, watch=watch, into=into)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    yield from checks
    for outcome in outcomes:
        yield from report(told(outcome), checks=())  # dbt's own are out


def _invoke(
    context: dg.AssetExecutionContext, dbt: DbtCliResource, folder: Path
) -> tuple[list[dg.AssetCheckResult], tuple[CheckRecord, ...]]:
    """Runs `dbt build` over the database in `folder`; gives the test results for Dagster and for the record."""
    invocation = dbt.cli(["build"], context=context, target_path=folder, raise_on_error=False)
    events = list(invocation.stream())
    checks = [event for event in events if isinstance(event, dg.AssetCheckResult)]
    records = [
        CheckRecord(
            name=check.check_name or "dbt_test",
            passed=check.passed,
            severity=check.severity.value,
            blocking=check.severity is dg.AssetCheckSeverity.ERROR,
            facts={"asset": "/".join(check.asset_key.path) if check.asset_key else ""},
        )
        for check in checks
    ]
    if not invocation.is_successful() and all(record.passed for record in records):
        error = invocation.get_error()
        raise dg.Failure(f"dbt build failed before its tests: {error}", allow_retries=False)
    return checks, tuple(records)


def _export(tx: Transaction, folder: Path, product: Product, assets: Sequence[Asset]) -> tuple[Written, ...]:
    """Writes every model's table to the transaction's branch. A model that dbt skipped has no entry."""
    written = []
    with duckdb.connect(str(folder / DATABASE), read_only=True) as connection:
        connection.execute("set threads = 1")
        connection.execute("set timezone = 'UTC'")
        names = {path: name for name, path in _models(product).items()}
        for asset in assets:
            name = names[asset.path]
            found = connection.execute("select count(*) from duckdb_tables() where table_name = ?", [name]).fetchall()
            entry = None
            if found[0][0]:
                entry = tx.write_table(asset.path, connection.sql(f'select * from "{name}"').to_arrow_table())
            facts = _lineage(tx, folder, product, name, entry) if entry else {}
            written.append(Written(asset=asset, entry=entry, facts=facts))
    return tuple(written)


def _lineage(tx: Transaction, folder: Path, product: Product, model: str, entry: Entry) -> Mapping[str, Any]:
    sql, sources = compiled_sql(folder, model), product.dbt.sources if product.dbt else {}
    if sql is None:
        return {}
    schema = f"{product.name}_lake"
    lineage = dbt_column_lineage(sql, list(entry.schema), schema=schema, sources=sources, snapshot=tx.base)
    return {LINEAGE_FACT: lineage} if lineage else {}


def _pins(tx: Transaction, assets: Sequence[Asset]) -> tuple[Pin, ...]:
    paths = sorted({path for asset in assets for path in asset.inputs})
    return tuple(Pin(path=path, data_version=tx.base.entry(path).data_version) for path in paths if tx.base.has(path))
