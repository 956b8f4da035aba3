"""A whole dbt build as one lake transaction: sources pinned, dbt's tests the audit, every model in one commit."""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, dbt_assets

from assets._bridge import as_logged, asset_key, report
from assets._dbt_verdicts import Verdicts, verdicts
from headwater.code_version import code_version
from headwater.lake import Entry, Transaction
from headwater.materialize import Outcome, Status, Stopwatch, Written, finish, replayed, transaction_id_of
from headwater.names import LINEAGE_FACT
from headwater.product import Asset, Product
from headwater.provenance import Pin
from resources.dbt import DATABASE, make_database
from resources.dbt_lineage import compiled_sql, dbt_column_lineage
from resources.lake import ONLY_STALE_TAG, LakeResource
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

    read = json.loads(manifest.read_text())

    @dbt_assets(
        manifest=read,
        select=" ".join(_models(product)),
        name=f"{product.name}_dbt",
        dagster_dbt_translator=Translator(product, assets),
    )
    def body(context: dg.AssetExecutionContext, lake: LakeResource, dbt: DbtCliResource) -> Iterator[Any]:
        fresh = lake.fresh(assets, tags=dict(context.run.tags))
        if fresh is None and not context.selected_asset_keys:
            fresh = tuple(lake.as_it_stands(asset) for asset in assets)  # only checks were asked for: nothing to build
        if fresh is not None:
            yield from _report(context, fresh)
            return
        yield from _build(context, lake, partial(_invoke, dbt, read, Translator(product, assets)), product, assets)

    return body


def _report(context: dg.AssetExecutionContext, outcomes: Iterable[Outcome], *, judged: bool = True) -> Iterator[Any]:
    """Dagster's events: of what the run selected as its results, of what was built beside it as events of its log.

    Args:
        context: The run.
        outcomes: What became of each model.
        judged: Whether the verdicts are still to be reported.
    """
    checks = context.selected_asset_check_keys if judged else ()
    for outcome in outcomes:
        key = asset_key(outcome.path)
        if key in context.selected_asset_keys:
            yield from report(outcome, checks=checks)
            continue
        for event in report(outcome, checks=checks):
            if isinstance(event, dg.AssetCheckResult):
                yield event
                continue
            yield from event.check_results or ()
            if outcome.status is not Status.FRESH:  # what stood there before the run is no news
                yield as_logged(event)


def _build(
    context: dg.AssetExecutionContext,
    resource: LakeResource,
    invoke: "_Invoke",
    product: Product,
    assets: Sequence[Asset],
) -> Iterator[Any]:
    watch, run = Stopwatch(), resource.run(run_id=context.run.run_id, tags=dict(context.run.tags))
    lake, settings = resource.open(), resource.settings()
    transaction_id = transaction_id_of(run, f"{product.name}/dbt")
    if transaction_id and (earlier := lake.find_transaction(transaction_id, ref=settings.branch)):
        paths = {output.path for output in earlier.provenance.outputs} if earlier.provenance else set()
        made = [path for asset in assets if (path := asset.path) in paths]
        yield from _report(context, (replayed(lake, path, None, earlier, into=settings.branch) for path in made))
        return
    folder = settings.scratch / f"dbt-{context.run.run_id}"
    try:
        with lake.transaction(into=settings.branch, id=transaction_id, hint=f"{product.name}/dbt") as tx:
            sources = product.dbt.sources if product.dbt else {}
            make_database(folder / DATABASE, schema=f"{product.name}_lake", tables=sources, snapshot=tx.base)
            started = time.perf_counter()
            judged = invoke(folder, _models(product))
            watch.function = time.perf_counter() - started
            asked = _asked(context, resource, assets)
            written, pins, into = _export(tx, folder, product, asked), _pins(tx, asked), settings.branch
            outcomes = finish(lake, tx, written, checks=judged.records, pins=pins, run=run, watch=watch, into=into)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    yield from _shown(context, judged.shown)
    yield from _report(context, map(told, outcomes), judged=False)  # dbt's verdicts are out


_Invoke = Callable[[Path, Iterable[str]], Verdicts]


def _invoke(
    dbt: DbtCliResource, manifest: Mapping[str, Any], translator: Translator, folder: Path, models: Iterable[str]
) -> Verdicts:
    """Runs `dbt build` of all `models` over the database in `folder`, with all their tests, and gives the verdicts.

    It has no Dagster context on purpose: with one, dagster-dbt builds and tests only what a run selected, and models would be
    published with half their audit.
    """
    command = ["build", "--select", " ".join(models)]
    invocation = dbt.cli(
        command, manifest=manifest, dagster_dbt_translator=translator, target_path=folder, raise_on_error=False
    )
    events = list(invocation.stream())
    error = None if invocation.is_successful() else invocation.get_error() or "dbt gave no reason"
    return verdicts(events, folder, manifest, models, error=error)


def _asked(context: dg.AssetExecutionContext, resource: LakeResource, assets: Sequence[Asset]) -> Sequence[Asset]:
    """The models without those that somebody took back and nobody asked for: building another one brings none back."""
    stale_only = dict(context.run.tags).get(ONLY_STALE_TAG) == "true"
    named = frozenset() if stale_only else context.selected_asset_keys
    return [asset for asset in assets if asset_key(asset.path) in named or not resource.held(asset)]


def _shown(context: dg.AssetExecutionContext, judged: Iterable[dg.AssetCheckEvaluation]) -> Iterator[Any]:
    for check in judged:
        if check.asset_check_key not in context.selected_asset_check_keys:
            yield check
            continue
        yield dg.AssetCheckResult(
            asset_key=check.asset_key,
            check_name=check.check_name,
            passed=check.passed,
            severity=check.severity,
            metadata=check.metadata,
        )


def _export(tx: Transaction, folder: Path, product: Product, assets: Sequence[Asset]) -> tuple[Written, ...]:
    """Writes every model's table to the transaction's branch. A model that dbt skipped has no entry."""
    import duckdb

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
