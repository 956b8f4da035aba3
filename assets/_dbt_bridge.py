"""A whole dbt build as one lake transaction: sources pinned, dbt's tests the audit, every model in one commit."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assets._bridge import as_logged, asset_key, check_evaluation, check_result, report
from assets._chain._dbt import model_node, read_paths
from assets._dbt_tests import DbtTest, dbt_tests, verdicts
from headwater.code_version import code_version
from headwater.lake import Entry, Transaction
from headwater.materialize import Outcome, Status, Stopwatch, Written, finish, replayed, transaction_id_of
from headwater.names import ASSET_FACT, LINEAGE_FACT
from headwater.product import Asset, Product
from headwater.provenance import CheckRecord, Pin
from resources.dbt import DATABASE, make_database
from resources.dbt_lineage import compiled_sql, dbt_column_lineage
from resources.dbt_resource import DbtCommand
from resources.lake import ONLY_STALE_TAG, LakeResource
from resources.progress import told


def _models(product: Product) -> Mapping[str, str]:
    return product.dbt.models if product.dbt else {}


def dagster_dbt_assets(product: Product, assets: Sequence[Asset], manifest: Mapping[str, Any]) -> dg.AssetsDefinition:
    """One multi-asset for all dbt models of a product, made from the manifest.

    dagster-dbt makes the like, but importing it imports dbt, and that doubles the time in which every run, sensor and
    command loads the definitions. It runs dbt in the body.

    Args:
        product: The declaration, with `dbt`.
        assets: Its dbt models as declared assets.
        manifest: dbt's manifest.
    """
    models = _models(product)
    tests = dbt_tests(manifest, models)

    @dg.multi_asset(
        name=f"{product.name}_dbt",
        specs=[_spec(product, asset, manifest) for asset in assets],
        check_specs=[_check_spec(test, asset_key(test.path)) for test in tests.values() if test.path is not None],
        can_subset=True,
    )
    def body(context: dg.AssetExecutionContext, lake: LakeResource, dbt: DbtCommand) -> Iterator[Any]:
        fresh = lake.fresh(assets, tags=dict(context.run.tags))
        if fresh is None and not context.selected_asset_keys:
            fresh = tuple(lake.as_it_stands(asset) for asset in assets)  # only checks were asked for: nothing to build
        if fresh is not None:
            yield from _report(context, fresh)
            return
        yield from _build(
            context, lake, lambda folder: verdicts(dbt.build(models, target=folder), tests), product, assets
        )

    return body


def _spec(product: Product, asset: Asset, manifest: Mapping[str, Any]) -> dg.AssetSpec:
    name = next(name for name, path in _models(product).items() if path == asset.path)
    node = model_node(manifest, name)
    columns = [
        dg.TableColumn(name=column["name"], type=column.get("data_type") or "?", description=column.get("description"))
        for column in node["columns"].values()
    ]
    return dg.AssetSpec(
        asset_key(asset.path),
        deps=[asset_key(path) for path in read_paths(product, manifest, name)],
        code_version=code_version(asset),
        group_name=product.name,
        owners=list(product.owners),
        kinds=set(asset.kinds),
        description=f"{asset.description}\n\n```sql\n{node['raw_code'].strip()}\n```",
        metadata={"headwater/path": asset.path, "dagster/column_schema": dg.TableSchema(columns=columns)},
    )


def _check_spec(test: DbtTest, key: dg.AssetKey) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(test.name, asset=key, blocking=test.blocking, description=test.description)


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
    audited: Callable[[Path], tuple[CheckRecord, ...]],
    product: Product,
    assets: Sequence[Asset],
) -> Iterator[Any]:
    watch, run = Stopwatch(), resource.run(run_id=context.run.run_id, tags=dict(context.run.tags))
    lake, settings = resource.open(create=True), resource.settings()
    transaction_id = transaction_id_of(run, f"{product.name}/dbt")
    if transaction_id and (earlier := lake.find_transaction(transaction_id, ref=settings.branch)):
        paths = {output.path for output in earlier.provenance.outputs} if earlier.provenance else set()
        made = [path for asset in assets if (path := asset.path) in paths]
        yield from _shown(context, earlier.provenance.checks if earlier.provenance else ())
        again = (replayed(lake, path, None, earlier, into=settings.branch) for path in made)
        yield from _report(context, again, judged=False)
        return
    folder = settings.scratch / f"dbt-{context.run.run_id}"
    try:
        with lake.transaction(into=settings.branch, id=transaction_id, hint=f"{product.name}/dbt") as tx:
            sources = product.dbt.sources if product.dbt else {}
            make_database(folder / DATABASE, schema=f"{product.name}_lake", tables=sources, snapshot=tx.base)
            started = time.perf_counter()
            judged = audited(folder)
            watch.function = time.perf_counter() - started
            asked = _asked(context, resource, assets)
            written, pins, into = _export(tx, folder, product, asked), _pins(tx, asked), settings.branch
            outcomes = finish(lake, tx, written, checks=judged, pins=pins, run=run, watch=watch, into=into)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    yield from _shown(context, judged)
    yield from _report(context, map(told, outcomes), judged=False)  # dbt's verdicts are out


def _asked(context: dg.AssetExecutionContext, resource: LakeResource, assets: Sequence[Asset]) -> Sequence[Asset]:
    """The models without those that somebody took back and nobody asked for: building another one brings none back."""
    stale_only = dict(context.run.tags).get(ONLY_STALE_TAG) == "true"
    named = frozenset() if stale_only else context.selected_asset_keys
    return [asset for asset in assets if asset_key(asset.path) in named or not resource.held(asset)]


def _shown(context: dg.AssetExecutionContext, judged: Iterable[CheckRecord]) -> Iterator[Any]:
    """The verdicts for Dagster: of checks that the run selected as its results, of others as events of its log."""
    for record in judged:
        if (path := record.facts.get(ASSET_FACT)) is None:
            continue
        is_selected = dg.AssetCheckKey(asset_key(path), record.name) in context.selected_asset_check_keys
        yield check_result(record, path) if is_selected else check_evaluation(record, path)


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
