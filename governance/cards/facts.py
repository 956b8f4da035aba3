"""Everything a card states, as values. What is not known is None or empty, and the card says so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from headwater.models import Evaluation, GateVerdict
from headwater.provenance import CheckRecord, Cost, Pin


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What differs between two builds of the same thing. Shown in the card, left out of its identity.

    Attributes:
        lake_commit: The commit at which every input was read.
        git_commit: Commit of the code that ran.
        git_dirty: Whether tracked files differed from it.
        run_id: The Dagster run.
        started: ISO 8601 UTC instant of the build that the card describes.
        actor: Who or what asked for it.
        cost: Wall and CPU seconds, bytes written.
        hardware: Processor, memory and accelerators, in words.
        environment: Lines `name==version`, interpreter first.
        bundle_commit: The lake commit that holds the bundle, of a model card alone.
    """

    lake_commit: str | None = None
    git_commit: str | None = None
    git_dirty: bool = False
    run_id: str | None = None
    started: str | None = None
    actor: str | None = None
    cost: Cost | None = None
    hardware: str | None = None
    environment: tuple[str, ...] = ()
    bundle_commit: str | None = None


@dataclass(frozen=True, kw_only=True)
class PartFacts:
    """One part of the training set.

    Attributes:
        name: `train`, `validation` or `test`.
        start: First instant, ISO 8601, as far as known.
        end: First instant after it.
        rows: Row count.
        positives: Rows whose label is 1.
        purged: Rows left out because their label was known only after the part ended.
    """

    name: str
    rows: int
    start: str | None = None
    end: str | None = None
    positives: int | None = None
    purged: int | None = None


@dataclass(frozen=True, kw_only=True)
class FeatureFacts:
    """One feature of a model.

    Attributes:
        name: Column.
        dtype: Its dtype.
        description: What it means.
        source: Lake path of the table it comes from.
    """

    name: str
    dtype: str | None = None
    description: str | None = None
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class DriftFacts:
    """One watched column's drift: the parts of a drift report's row that people read."""

    column: str
    verdict: str
    psi: float | None = None
    ks: float | None = None
    reason: str = ""


def drift_facts(report: pl.DataFrame) -> tuple[DriftFacts, ...]:
    """One record a row of a drift report's table (`headwater.drift.report_frame`), in its order."""
    rows = report.select("column", "verdict", "psi", "ks", "reason").iter_rows(named=True)
    return tuple(DriftFacts(**row) for row in rows)


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a model card states.

    Attributes:
        product: Product name.
        version: Semantic version of the model.
        question: What the product answers.
        owners: Who answers for it.
        intended_use, out_of_scope, limitations, licence, risk: The product declaration's texts.
        algorithm: Such as `lightgbm`.
        objective: What training minimises, in words.
        parameters: Hyper-parameters.
        threshold: Decision threshold.
        label: The column predicted.
        features: In order.
        training_set: Lake path of the training set.
        path: Where the bundle stands in the lake.
        data_version: Data version of the bundle.
        inputs: What the build read, with data versions.
        parts: Training, validation and test rows and windows.
        rows_without_label: Labelled events whose truth is not known, left out of all parts.
        evaluation: Metrics, slices, calibration, lift, importances, comparisons.
        gates: Verdicts of the declared gates.
        checks: Verdicts of the audit.
        drift: Drift of the newest rows against training; None when not measured.
        digests: Sha256 by file of the bundle, those that make its data version.
        code_version: Digest of the model's own code and declaration.
        reproduce: Command that builds it again.
        run: What differs between two builds of the same model.
    """

    product: str
    version: str
    question: str | None = None
    owners: tuple[str, ...] = ()
    intended_use: str | None = None
    out_of_scope: str | None = None
    limitations: str | None = None
    licence: str | None = None
    risk: str | None = None
    algorithm: str | None = None
    objective: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    label: str | None = None
    features: tuple[FeatureFacts, ...] = ()
    training_set: str | None = None
    path: str | None = None
    data_version: str | None = None
    inputs: tuple[Pin, ...] = ()
    parts: tuple[PartFacts, ...] = ()
    rows_without_label: int | None = None
    evaluation: Evaluation | None = None
    gates: tuple[GateVerdict, ...] = ()
    checks: tuple[CheckRecord, ...] = ()
    drift: tuple[DriftFacts, ...] | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    code_version: str | None = None
    reproduce: str | None = None
    run: RunFacts = field(default_factory=RunFacts)


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """One column of a dataset.

    Attributes:
        name: Column.
        dtype: Canonical dtype name.
        description: What it means.
        nulls: Rows without a value.
        distinct: Different values, null not counted.
        minimum, maximum: Smallest and largest value: numbers as they are, dates as ISO 8601, texts as they are; None
            when the column has none or no order.
    """

    name: str
    dtype: str
    description: str | None = None
    nulls: int | None = None
    distinct: int | None = None
    minimum: int | float | str | None = None
    maximum: int | float | str | None = None


@dataclass(frozen=True, kw_only=True)
class SourceFileFacts:
    """One file that the data came from.

    Attributes:
        name: File name.
        sha256: Of its bytes.
        origin: Where it came from, such as a distribution and version.
        licence: Its licence.
    """

    name: str
    sha256: str
    origin: str | None = None
    licence: str | None = None


@dataclass(frozen=True, kw_only=True)
class PartitionFacts:
    """One partition: its key, the digest of its content, and its rows when known."""

    key: str
    data_version: str
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What a dataset card states.

    Attributes:
        product: Product name.
        path: Lake path.
        description: What the rows are.
        owners: Who answers for it.
        licence: Of the data.
        intended_use, out_of_scope, limitations: Texts.
        rationale: Why it was made.
        collection: How and by whom the source data were collected.
        annotation: How labels were made; None when not told.
        personal_information: What it holds about persons.
        data_version: Digest of its content.
        rows: Row count.
        columns: In order.
        key: Columns that name a row.
        partitions: In order of their keys.
        sources: Files it came from.
        inputs: What the build read, with data versions.
        checks: Verdicts of its contract.
        code_version: Digest of its own code.
        run: What differs between two builds of the same data.
    """

    product: str
    path: str
    description: str | None = None
    owners: tuple[str, ...] = ()
    licence: str | None = None
    intended_use: str | None = None
    out_of_scope: str | None = None
    limitations: str | None = None
    rationale: str | None = None
    collection: str | None = None
    annotation: str | None = None
    personal_information: str | None = None
    data_version: str | None = None
    rows: int | None = None
    columns: tuple[ColumnFacts, ...] = ()
    key: tuple[str, ...] = ()
    partitions: tuple[PartitionFacts, ...] = ()
    sources: tuple[SourceFileFacts, ...] = ()
    inputs: tuple[Pin, ...] = ()
    checks: tuple[CheckRecord, ...] = ()
    code_version: str | None = None
    run: RunFacts = field(default_factory=RunFacts)
