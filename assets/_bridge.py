"""Turns declared assets into Dagster assets: every body is pin, write, audit, publish, report."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from headwater.code_version import code_version
from headwater.materialize import INPUTS_READ, INPUTS_USABLE, Outcome, Status
from headwater.names import (
    ASSET_FACT,
    LINEAGE_FACT,
    META_BRANCH,
    META_BYTES,
    META_COMMIT,
    META_CPU_SECONDS,
    META_DATA_VERSION,
    META_INPUT_COMMIT,
    META_STATUS,
    META_TRANSACTION,
    META_WALL_SECONDS,
)
from headwater.product import Asset, Partitions, Product
from headwater.provenance import CheckRecord
from resources.lake import LakeResource

if TYPE_CHECKING:
    from dagster._core.definitions.asset_checks.asset_check_evaluation import (
        AssetCheckEvaluationTargetMaterializationData,
    )

# Dagster's own tags; `tests/dagster_characterization` says when Dagster changes them.
DATA_VERSION_TAG: Final = "dagster/data_version"
USER_PROVIDED_TAG: Final = "dagster/data_version_is_user_provided"

MADE_OF_CODE: Final = "headwater/made_of_code"
"""Metadata of an asset that needs nothing to be there, so that a condition starts it and no sensor."""
FED: Final = "headwater/fed"
"""Metadata of a table that records are taken into as they arrive: while they do, it is nearly always in progress."""
URGENT: Final = "headwater/urgent"
"""Metadata of an asset that waits for nothing above it (`Asset.urgent`)."""

Event = dg.MaterializeResult | dg.AssetCheckResult


def asset_key(path: str) -> dg.AssetKey:
    """The asset key of a lake path: they are the same words."""
    return dg.AssetKey(path.split("/"))


def dagster_asset(asset: Asset, product: Product) -> dg.AssetsDefinition:
    """The Dagster asset of one declared asset.

    Its body opens a transaction, calls the declared function, audits, publishes, and reports what happened.
    """

    @dg.asset(
        key=asset_key(asset.path),
        deps=[asset_key(path) for path in asset.inputs],
        check_specs=list(check_specs(asset)),
        code_version=code_version(asset),
        group_name=product.name,
        owners=list(product.owners),
        kinds=set(asset.kinds),
        description=asset.description,
        partitions_def=partitions_definition(asset.partitions),
        metadata={"headwater/path": asset.path, **_marks(asset)},
    )
    def body(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Event]:
        partition = context.partition_key if context.has_partition_key else None
        outcome = lake.build(asset, run_id=context.run.run_id, tags=dict(context.run.tags), partition=partition)
        shown = {
            f"headwater/plot_{name}": dg.MetadataValue.md(text) for name, text in lake.plots(asset, outcome).items()
        }
        rows = lake.partition_rows(asset, outcome)
        yield from report(outcome, checks=context.selected_asset_check_keys, partition_rows=rows, more=shown)

    return _with_optional_outputs(body)


def _marks(asset: Asset) -> dict[str, bool]:
    """What the conditions ask about an asset."""
    marks = {MADE_OF_CODE: is_made_of_code(asset), FED: asset.feed is not None, URGENT: asset.urgent}
    return {name: True for name, holds in marks.items() if holds}


def _with_optional_outputs(made: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """The same asset, whose materialization and checks may go unreported.

    Dagster demands a result of every check of a run. What an import or an outside commit put there nobody judged, and
    a run that finds it fresh has no verdict to report; of what was taken back it has no materialization either.
    """
    op = made.op
    outs = {name: out._replace(is_required=False) for name, out in op.outs.items()}
    node = dg.OpDefinition(
        compute_fn=op.compute_fn,
        name=op.name,
        ins=op.ins,
        outs=outs,
        description=op.description,
        required_resource_keys=set(op.required_resource_keys),
        tags=op.tags,
    )
    names = ("keys_by_input_name", "keys_by_output_name", "check_specs_by_output_name", "specs")
    own = made.get_attributes_dict()
    return dg.AssetsDefinition(node_def=node, **{name: own[name] for name in names})


def is_made_of_code(asset: Asset) -> bool:
    """Whether an asset is built from no asset, no landed file and no feed."""
    return not (asset.inputs or asset.landed or asset.feed)


def partitions_definition(partitions: Partitions | None) -> dg.PartitionsDefinition | None:
    """Static partitions with the declared keys."""
    return None if partitions is None else dg.StaticPartitionsDefinition(list(partitions.keys))


def check_specs(asset: Asset) -> Iterator[dg.AssetCheckSpec]:
    """The declared claims, and the two that every asset has."""
    key = asset_key(asset.path)
    usable = "The function could use what it was given; rejected rows are kept on the refused branch."
    yield dg.AssetCheckSpec(INPUTS_USABLE, asset=key, blocking=True, description=usable)
    yield dg.AssetCheckSpec(INPUTS_READ, asset=key, description="Every declared input was really read.")
    for check in asset.checks:
        yield dg.AssetCheckSpec(check.name, asset=key, blocking=check.blocking, description=check.description)


def report(
    outcome: Outcome,
    *,
    checks: Collection[dg.AssetCheckKey],
    partition_rows: int | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Event]:
    """Dagster events of an outcome: a materialization with its checks, or failed checks alone.

    Args:
        outcome: What happened.
        checks: The declared checks; recorded verdicts on others are left out, and so is a check with no verdict.
        partition_rows: Rows of the outcome's partition.
        more: Further metadata.

    Raises:
        dagster.Failure: A blocking check failed; the run fails without a materialization and is not retried.
    """
    key, metadata = asset_key(outcome.path), {**more, **_metadata(outcome)}
    if partition_rows is not None:
        metadata["dagster/partition_row_count"] = partition_rows
    results = [check_result(r, outcome.path) for r in outcome.checks if dg.AssetCheckKey(key, r.name) in checks]
    if outcome.status is Status.REFUSED:
        yield from results
        judged = outcome.provenance.checks if outcome.provenance else outcome.checks
        failed = [record.name for record in judged if record.blocking and not record.passed]
        raise dg.Failure(
            f"{outcome.path} was refused: {', '.join(failed)} failed. `{outcome.into}` is untouched; "
            f"look with `headwater lake diff {outcome.into}..{outcome.branch}`.",
            metadata=metadata,
            allow_retries=False,
        )
    entry = outcome.entry
    if entry is None:  # taken back, and left so: there is nothing to show, and what is below is skipped
        return
    version = entry.partitions.get(outcome.partition, entry.data_version) if outcome.partition else entry.data_version
    yield dg.MaterializeResult(
        asset_key=key,
        data_version=dg.DataVersion(version),
        metadata=metadata,
        check_results=results,
    )


def as_logged(result: dg.MaterializeResult) -> dg.AssetMaterialization:
    """The log event of a materialization that the run did not select but made."""
    assert result.asset_key is not None
    assert result.data_version is not None
    tags = version_tags(result.data_version.value)
    return dg.AssetMaterialization(asset_key=result.asset_key, metadata=result.metadata, tags=tags)


def version_tags(data_version: str) -> Mapping[str, str]:
    """Dagster's tags of an event that tells the data version of what stands in the lake."""
    return {DATA_VERSION_TAG: data_version, USER_PROVIDED_TAG: "true"}


def check_result(record: CheckRecord, path: str) -> dg.AssetCheckResult:
    """A recorded verdict as the result of a check that the run selected."""
    return dg.AssetCheckResult(
        asset_key=asset_key(path),
        check_name=record.name,
        passed=record.passed,
        severity=dg.AssetCheckSeverity.WARN if record.severity == "WARN" else dg.AssetCheckSeverity.ERROR,
        description=str(record.facts["description"]) if "description" in record.facts else None,
        metadata={
            name: _value(value) for name, value in record.facts.items() if name not in ("description", ASSET_FACT)
        },
    )


def check_evaluation(record: CheckRecord, path: str, *, on: dg.EventLogRecord | None = None) -> dg.AssetCheckEvaluation:
    """A recorded verdict as an event, for a check that no run selected; `on` is the materialization that it is on, where it is known."""
    told = check_result(record, path)
    return dg.AssetCheckEvaluation(
        asset_key=asset_key(path),
        check_name=record.name,
        passed=record.passed,
        severity=told.severity,
        description=told.description,
        metadata=told.metadata,
        target_materialization_data=_target(on) if on is not None else None,
    )


def _target(on: dg.EventLogRecord) -> "AssetCheckEvaluationTargetMaterializationData":
    from dagster._core.definitions.asset_checks.asset_check_evaluation import (
        AssetCheckEvaluationTargetMaterializationData,
    )

    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=on.storage_id, run_id=on.run_id, timestamp=on.timestamp
    )


def _metadata(outcome: Outcome) -> dict[str, Any]:
    entry, provenance = outcome.entry, outcome.provenance
    found: dict[str, Any] = {META_STATUS: outcome.status.value, META_COMMIT: outcome.commit or ""}
    if outcome.branch:
        found[META_BRANCH] = outcome.branch
    if outcome.uri:
        found["dagster/uri"] = outcome.uri
    if entry is not None:
        found |= {META_DATA_VERSION: entry.data_version, META_BYTES: entry.bytes}
        if entry.rows is not None:
            found["dagster/row_count"] = entry.rows
        if entry.schema:
            columns = [dg.TableColumn(name=name, type=dtype) for name, dtype in entry.schema.items()]
            found["dagster/column_schema"] = dg.TableSchema(columns=columns)
    if provenance is not None:
        found |= {
            META_INPUT_COMMIT: provenance.input_commit,
            META_TRANSACTION: provenance.transaction,
            META_WALL_SECONDS: provenance.cost.wall_seconds,
            META_CPU_SECONDS: provenance.cost.cpu_seconds,
        }
    if LINEAGE_FACT in outcome.facts:
        found["dagster/column_lineage"] = _column_lineage(outcome.facts[LINEAGE_FACT])
    shown = {name: value for name, value in outcome.facts.items() if name != LINEAGE_FACT}
    return {f"headwater/{name}": _value(value) for name, value in shown.items()} | found  # no fact hides the lake's own


def _column_lineage(lineage: Mapping[str, Sequence[str]]) -> dg.TableColumnLineage:
    def dependency(name: str) -> dg.TableColumnDep:
        path, _, column = name.partition(":")
        return dg.TableColumnDep(asset_key=asset_key(path), column_name=column)

    return dg.TableColumnLineage({column: [dependency(name) for name in names] for column, names in lineage.items()})


def _value(value: Any) -> Any:
    """A JSON value as Dagster metadata people can read."""
    if value is None:
        return dg.MetadataValue.null()
    if isinstance(value, str | int | float | bool):
        return _cell(value)
    if _is_records(value):
        return dg.MetadataValue.table(records=[dg.TableRecord({k: _cell(v) for k, v in row.items()}) for row in value])
    return dg.MetadataValue.json(json.loads(json.dumps(value, default=str)))


def _is_records(value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) > 0 and all(isinstance(row, Mapping) for row in value)


def _cell(value: Any) -> str | int | float | bool | None:
    if isinstance(value, int | float | bool) or value is None:
        return value
    return str(value)  # an enum of strings too: Dagster stores none but its own
