"""What a user declares: assets as plain functions, and the product they belong to.

Nothing here runs anything. An `Asset` names its lake path, its inputs, its checks and one pure function; a test calls
that function with frames of its own, and the bridge in `assets` runs it inside a lake transaction.
"""

import difflib
import inspect
import json
import keyword
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import polars as pl

from headwater.decisions import Rollout
from headwater.errors import HeadwaterError
from headwater.feeds import Feed, Positions
from headwater.lake import Commit, Entry, Kind, Snapshot, TableData
from headwater.lengths import LONGEST
from headwater.look_back import kept_too_short
from headwater.names import PRODUCT_NAME, check_path
from headwater.provenance import Provenance
from headwater.request_names import TIME_NAME, request_names

if TYPE_CHECKING:
    from headwater.decisions import Retraining
    from headwater.features import FeatureView, OnDemandFeatures, StreamedView
    from headwater.models import Gate
    from headwater.monitoring import PerformanceRules, ServiceLevels
    from headwater.replay import ReplaySource
    from headwater.review import Review
    from headwater.streams import StreamSource

_ROWS_HELD: Final = 3_000_000
_CHECK_NAME = re.compile(r"^[A-Za-z0-9_]+$")


class DeclarationError(HeadwaterError):
    """A product or an asset is declared wrongly."""

    def __init__(self, *, what: str, name: str, problem: str, remedy: str) -> None:
        self.what, self.name, self.problem = what, name, problem
        super().__init__(f"{what} {name!r}: {problem} {remedy}")


class RejectedInputError(HeadwaterError):
    """An asset's function cannot use what it was given: a cell that cannot be parsed, a label with one class.

    The bridge turns it into a failed blocking check with these rows as a table on the refused branch, at
    `<path>.rejected`, so that somebody can look at them.

    Attributes:
        rows: The offending rows, None when there are none to show.
    """

    def __init__(self, message: str, *, rows: pl.DataFrame | None = None) -> None:
        self.rows = rows
        super().__init__(message)


class Severity(StrEnum):
    """How bad a failed check is."""

    ERROR = "ERROR"
    WARN = "WARN"


class Risk(StrEnum):
    """Risk tier of a product: decides which approvals a release needs."""

    LOW = "low"
    LIMITED = "limited"
    HIGH = "high"


class Inputs(Protocol):
    """What an asset's function reads: one consistent snapshot, declared inputs only."""

    @property
    def commit(self) -> str:
        """Id of the input commit."""
        ...

    def table(self, path: str) -> pl.LazyFrame:
        """The declared input table at `path`."""
        ...

    def folder(self, path: str) -> Path:
        """The declared input folder at `path`, read only."""
        ...

    def entry(self, path: str) -> Entry:
        """Data version, schema, row count of a declared input."""
        ...

    def provenance(self, path: str) -> Provenance:
        """The record of the commit that last wrote a declared input."""
        ...

    def written_in(self, path: str) -> str:
        """Id of the commit that last wrote a declared input."""
        ...

    def landed(self, name: str) -> Path:
        """The landed file of a source, by its name in the landing folder."""
        ...

    def previous(self, path: str, *, commit: str | None = None) -> Snapshot | None:
        """The lake as `path` stood before this build (or at an older commit), None when there was nothing.

        For what compares itself with its own past, such as a champion. Recorded, but never makes an asset stale.
        """
        ...

    def history(self, path: str, *, commit: str | None = None) -> Iterator[Commit]:
        """The commits that wrote `path`, one of those it compares itself with, newest first, up to the input commit (or an older one)."""
        ...

    @property
    def feed(self) -> Path:
        """The folder in which the records of a fed table arrive."""
        ...

    @property
    def positions(self) -> Positions:
        """Up to where earlier builds took the records of a fed table; empty before the first."""
        ...

    @property
    def started(self) -> datetime:
        """When the build began, UTC: the clock of rules about age."""
        ...


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an asset's function returns when it has more to say than the data.

    Attributes:
        data: The rows (tables) or None (folders, whose function writes files).
        facts: Small JSON values kept in the commit's provenance and shown in Dagster.
    """

    data: "TableData | None" = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a check sees.

    Attributes:
        path: The audited asset's path.
        partition: The partition written, or None.
        staged: The branch with the output on it.
        base: The pinned input commit, before this output.
        facts: What the function reported.
        partition_column: Column that holds the partition key, or None.
    """

    path: str
    partition: str | None
    staged: Snapshot
    base: Snapshot
    facts: Mapping[str, Any]
    partition_column: str | None = None
    _held: list[pl.DataFrame] = field(default_factory=list, repr=False, compare=False)

    def rows(self) -> pl.LazyFrame:
        """The written rows: the partition's, when there is one. Read once for all checks unless there are very many."""
        frame = self.staged.table(self.path)
        if self.partition is not None and self.partition_column is not None:
            frame = frame.filter(pl.col(self.partition_column) == self.partition)
        if (self.staged.entry(self.path).rows or 0) > _ROWS_HELD:
            return frame
        if not self._held:
            self._held.append(frame.collect())
        return self._held[0].lazy()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A check's answer.

    Attributes:
        passed: Whether the claim holds.
        facts: What people read: counts, limits, a few failing rows.
        description: One sentence, mostly for failures.
    """

    passed: bool
    facts: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Check:
    """A claim about an asset's output, judged on the transaction's branch before anyone sees it.

    Attributes:
        name: The claim in words joined by `_`, such as `keys_are_unique`.
        judge: Pure function from the audit to a verdict.
        blocking: Whether a failure refuses publication (severity ERROR only).
        severity: How bad a failure is.
        description: One sentence for the UI.
    """

    name: str
    judge: Callable[[Audit], Verdict]
    blocking: bool = True
    severity: Severity = Severity.ERROR
    description: str = ""

    def __post_init__(self) -> None:
        if not _CHECK_NAME.fullmatch(self.name):
            raise DeclarationError(
                what="Check",
                name=self.name,
                problem="its name has other characters.",
                remedy="Use letters, digits, '_'.",
            )
        if self.blocking and self.severity is not Severity.ERROR:
            raise DeclarationError(
                what="Check",
                name=self.name,
                problem="it blocks at severity WARN.",
                remedy="Set blocking=False or severity=Severity.ERROR.",
            )


@dataclass(frozen=True, kw_only=True)
class Partitions:
    """The known partition keys of an asset, such as months.

    Attributes:
        column: String column that holds the key in the table.
        keys: All keys that can ever be landed, in order.
    """

    column: str
    keys: tuple[str, ...]

    @classmethod
    def months(cls, first: str, last: str, *, column: str = "period") -> "Partitions":
        """Every month from `first` to `last`, both as `YYYY-MM`, inclusive.

        The column is called `period`, because files often have a `month` of their own.
        """
        year, month = map(int, first.split("-"))
        keys = []
        while f"{year:04d}-{month:02d}" <= last:
            keys.append(f"{year:04d}-{month:02d}")
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        return cls(column=column, keys=tuple(keys))


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One versioned thing in the lake, declared as a pure function.

    Attributes:
        path: Lake path and asset key; its first segment is the product.
        kind: Table or folder.
        compute: For tables `f(inputs) -> frame | Result` (`f(inputs, partition)` when partitioned); for folders
            `f(inputs, folder) -> None | Result`, writing files below `folder`.
        inputs: Lake paths it may read.
        previous: Lake paths whose earlier versions it compares itself with.
        landed: Names of landed files it reads (`{partition}` stands for the partition key).
        checks: Its claims.
        partitions: Its partition keys, or None.
        identity: For folders: files that make the data version (None: all).
        description: One sentence or more for the UI and the cards.
        kinds: Labels in the UI, such as `polars`, `lightgbm`.
        declaration: JSON values that belong to its code version (parameters).
        covers: Further functions whose code belongs to its code version.
        packages: Installed distributions whose version belongs to its code version.
        versioned: Whether each publication gets a semantic version; its function then reports the fact `signature`.
        feed: Records from outside that a table is fed from: its function then returns what it took as `Appended`.
        refusals: The table (see `headwater.refusals`) that keeps each refused build when its branch is gone, and what a build that ended
            well did not follow (its fact `refused`); None keeps none.
        urgent: Whether automation builds it of what stands as soon as something changed, whatever above it is on its way or was refused:
            a failing version does not wait for a training. It is built again with what comes.
    """

    path: str
    kind: Kind
    compute: Callable[..., Any]
    inputs: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()
    landed: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    partitions: Partitions | None = None
    identity: tuple[str, ...] | None = None
    description: str = ""
    kinds: tuple[str, ...] = ()
    declaration: Mapping[str, Any] = field(default_factory=dict)
    covers: tuple[Callable[..., Any], ...] = ()
    packages: tuple[str, ...] = ()
    versioned: bool = False
    feed: Feed | None = None
    refusals: "Asset | None" = None
    urgent: bool = False

    def __post_init__(self) -> None:
        check_path(self.path)
        for path in (*self.inputs, *self.previous):
            check_path(path)
        if "/" not in self.path:
            raise DeclarationError(
                what="Asset", name=self.path, problem="it has no product.", remedy="Call it `<product>/<layer>/<name>`."
            )
        if self.path in self.inputs:
            raise DeclarationError(
                what="Asset", name=self.path, problem="it reads itself.", remedy="Use `previous` for its own past."
            )
        names = [check.name for check in self.checks]
        if twice := {name for name in names if names.count(name) > 1}:
            raise DeclarationError(
                what="Asset",
                name=self.path,
                problem=f"two checks are called {', '.join(sorted(twice))}.",
                remedy="Give each claim a name of its own.",
            )
        if self.partitions is not None and self.kind is Kind.FOLDER:
            raise DeclarationError(
                what="Asset",
                name=self.path,
                problem="a folder has partitions.",
                remedy="Make it a table or one folder each.",
            )
        if self.feed is not None and (self.partitions is not None or self.kind is Kind.FOLDER):
            raise DeclarationError(
                what="Asset",
                name=self.path,
                problem="it has a feed and is a folder or has partitions.",
                remedy="Feed a table without partitions.",
            )
        json.dumps(self.declaration)

    @property
    def product(self) -> str:
        """Name of the product it belongs to."""
        return self.path.split("/", 1)[0]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the pure function, as a test does."""
        return self.compute(*args, **kwargs)


def table(
    path: str,
    *,
    inputs: Sequence[str] = (),
    checks: Sequence[Check] = (),
    partitions: Partitions | None = None,
    kinds: Sequence[str] = ("polars",),
    **more: Any,
) -> Callable[[Callable[..., Any]], Asset]:
    """Declares the decorated function as a table asset. Its docstring is the description.

    Args:
        path: Lake path and asset key.
        inputs: Lake paths that the function may read.
        checks: Claims judged before publication.
        partitions: Partition keys; the function then takes `(inputs, partition)`.
        kinds: Labels in the UI.
        more: Further fields of `Asset`.
    """

    def declare(function: Callable[..., Any]) -> Asset:
        more.setdefault("description", inspect.cleandoc(function.__doc__ or ""))
        return Asset(
            path=path, kind=Kind.TABLE, compute=function, inputs=tuple(inputs), checks=tuple(checks),
            partitions=partitions, kinds=tuple(kinds), **more,
        )  # fmt: skip

    return declare


def folder(
    path: str, *, inputs: Sequence[str] = (), checks: Sequence[Check] = (), kinds: Sequence[str] = (), **more: Any
) -> Callable[[Callable[..., Any]], Asset]:
    """Declares the decorated function `f(inputs, folder)` as a folder asset. Its docstring is the description."""

    def declare(function: Callable[..., Any]) -> Asset:
        more.setdefault("description", inspect.cleandoc(function.__doc__ or ""))
        return Asset(
            path=path, kind=Kind.FOLDER, compute=function, inputs=tuple(inputs), checks=tuple(checks),
            kinds=tuple(kinds), **more,
        )  # fmt: skip

    return declare


@dataclass(frozen=True, kw_only=True)
class PackagedFile:
    """A data file inside an installed distribution, read without importing it.

    Attributes:
        distribution: Distribution and version, `name==version`.
        file: Path inside the package's folder.
        sha256: Of the file.
    """

    distribution: str
    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """Files that arrive from outside. The landing asset keeps every cell as the text that arrived.

    Attributes:
        name: The landing asset is `<product>/landing/<name>`.
        columns: Header that every file must have, in any order.
        partitions: Keys when files come by partition, else None.
        packaged: Where real data ships; `make run` lands from there.
        sample: Or a file in the product's own folder to start with, landed like a packaged one.
        partition_of: For packaged files that hold all partitions: column names year and month, or one key column.
        initial: Partition keys that `make run` lands; the rest wait for a replay.
        null_values: Texts that stand for null.
        licence: Licence of the data.
        description: One sentence.
    """

    name: str
    columns: tuple[str, ...]
    partitions: Partitions | None = None
    packaged: PackagedFile | None = None
    sample: str = ""
    partition_of: tuple[str, ...] = ()
    initial: tuple[str, ...] = ()
    null_values: tuple[str, ...] = ("", "NA")
    licence: str = ""
    description: str = ""

    def file_name(self, partition: str | None = None) -> str:
        """Name of a landed file below `<landing>/<product>/`."""
        return f"{self.name}/{partition}.csv" if self.partitions else f"{self.name}.csv"


@dataclass(frozen=True, kw_only=True)
class DbtModels:
    """The part of `dbt_project/` that belongs to a product: one dbt build, one transaction, one commit.

    Attributes:
        models: dbt model name to the lake path it publishes.
        sources: dbt source table name (in source schema `<product>`) to the lake path it reads.
    """

    models: Mapping[str, str]
    sources: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The entities, prediction times and truths that a model learns from.

    Attributes:
        path: Lake table with one row a labelled event.
        key: Columns that name a row.
        time: Column with the prediction time (UTC): features are those known by then.
        label: 0/1 column; null rows (no truth) are left out of training and counted.
        columns: Further columns kept in the training set (request features known at prediction time, slices).
        known_at: Column with the time from which the label could be read (UTC). Rows of the train and validation parts whose
            label came in after their part ended are left out and counted. None where labels are there at once.
    """

    path: str
    key: tuple[str, ...]
    time: str
    label: str
    columns: tuple[str, ...] = ()
    known_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Split:
    """Time split by months of the labels' time: the newest months test, those before validate, the rest train.

    While the newest month has just begun, and the test part rows on fewer than ten days, it takes the month before in.

    Attributes:
        validation_months: Months that choose rounds and threshold.
        test_months: Newest months, seen by the evaluation alone.
        timezone: Zone whose midnights begin the months.
    """

    validation_months: int = 1
    test_months: int = 1
    timezone: str = "UTC"


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is trained, on which columns of the training set.

    Attributes:
        algorithm: `lightgbm`.
        features: Numeric and categorical columns, in order.
        categorical: Those of `features` that are categories.
        baseline: Columns of the logistic baseline that must be beaten.
        parameters: Hyper-parameters of the algorithm.
        rounds: Boosting rounds at most.
        slices: Columns by which the evaluation is sliced.
        slice_floor: Rows below which a slice is not judged.
        positive_rate: Share of rows that the decision threshold marks on validation, or None for F1-optimal.
    """

    algorithm: str = "lightgbm"
    features: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 300
    slices: tuple[str, ...] = ()
    slice_floor: int = 500
    positive_rate: float | None = None


class LogFull(StrEnum):
    """What a service does with a request whose answer the prediction log has no room for."""

    REFUSE = "refuse"
    ANSWER = "answer"


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a model answers requests.

    `window`, `keep`, `unique_for` and `ahead` are a hundred years at most.

    Attributes:
        window: How far back from the newest feature row the online features answer as the lake would, more than zero. Rows of which a
            time lay in the future when the tables were built do not count for it.
        keep: How long answers, records that were rejected and failures stay in their tables after the request came in, more than zero;
            None keeps all. What was answered today about an old time is kept. A product whose decisions look back further is refused; a test of
            versions that lasts longer goes on, learns nothing more and does not end by itself. Outcomes lose these rows when the next labels or
            reviews come, and the lake's history when `headwater lake gc` with a retention takes it; tags keep them, and so does lakeFS.
        unique_for: How long after an answer another one to the same request id is a repetition of it, more than zero. After it, or once the
            first one is no longer kept, it is another prediction.
        least_records: So many records of the prediction log start their compaction, at least one.
        longest_wait: So long a record may wait for others before it is compacted, more than zero.
        assign_by: Request fields by which a traffic policy draws: who has the same values gets the same version. Empty takes
            the labels' key, so that one event gets one version however often it is asked for. A request in which one of them
            is absent or null is drawn by its own id.
        redacted: Request fields and features that the prediction log must not hold.
        ahead: How far ahead of the clock a prediction time may be.
        log_full: What becomes of requests while the log's disk is full: `refuse` gives no answer (503), so that none is lost; `answer`
            gives one that says that it is not logged.
    """

    window: timedelta = timedelta(days=7)
    keep: timedelta | None = None
    unique_for: timedelta = timedelta(days=7)
    least_records: int = 10_000
    longest_wait: timedelta = timedelta(minutes=1)
    assign_by: tuple[str, ...] = ()
    redacted: tuple[str, ...] = ()
    ahead: timedelta = timedelta(days=1)
    log_full: LogFull = LogFull.REFUSE

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "log_full", LogFull(self.log_full))
        except ValueError as error:
            raise DeclarationError(
                what="Serving",
                name="log_full",
                problem=f"it is {self.log_full!r}.",
                remedy="Give 'refuse' or 'answer'.",
            ) from error
        for name in ("window", "keep", "unique_for", "longest_wait", "least_records"):
            value = getattr(self, name)
            if value is not None and value <= (0 if name == "least_records" else timedelta(0)):
                raise DeclarationError(
                    what="Serving", name=name, problem=f"it is {value}.", remedy="Give more than zero."
                )
        if self.ahead < timedelta(0):
            raise DeclarationError(
                what="Serving", name="ahead", problem=f"it is {self.ahead}.", remedy="Give zero or more."
            )
        for name in ("window", "keep", "unique_for", "ahead"):
            length = getattr(self, name)
            if length is not None and length > LONGEST:
                remedy = f"Give {LONGEST} at most{', or None, which keeps all' if name == 'keep' else ''}."
                raise DeclarationError(what="Serving", name=name, problem=f"it is {length}.", remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class DriftWatch:
    """What is compared, and when a column counts as shifted.

    Attributes:
        columns: Columns of the training set to watch; empty watches all features.
        psi_limit: Population stability index above which a column counts as shifted (0.25, Siddiqi 2006).
        min_rows: Rows below which nothing is judged.
        by_season: Whether a window in service is compared with the train part's rows of its calendar month and the months
            next to it, of any year, where they are `min_rows` at least. Otherwise, and without it: with the whole train part.
    """

    columns: tuple[str, ...] = ()
    psi_limit: float = 0.25
    min_rows: int = 500
    by_season: bool = True


@dataclass(frozen=True, kw_only=True)
class Product:
    """One question answered from data to release. Everything below its name comes from this declaration.

    Attributes:
        name: Key prefix, Dagster group, lake folder and Python folder, all in one.
        question: What it answers.
        owners: `team:x` or an email, at least one.
        sources: What arrives from outside.
        assets: Its datasets and feature tables in Polars.
        dbt: Its datasets and feature tables in SQL.
        features: How feature tables join the labels, as of which time.
        events: What comes in one by one and is taken from a log into a table of the lake.
        streams: Which feature views a stream carries on online, between two publications.
        on_demand: Features computed from a request and from what was looked up for it, in training and in service.
        labels, split, model, gates, drift: From training set to release; all or none.
        serving: How the model answers requests.
        performance: How the model in service is judged; None takes weeks and the model's slices.
        service_levels: What the service promises; None takes the usual: 95% of answers within 100 ms, 1% of errors.
        retraining: When it is trained again; None trains whenever the training set changes.
        replay: Gives its past to play again, from a snapshot of the lake and its packaged files by source; None for no replay.
        rollout: How a new version comes in: all at once, in the shadow first, or by growing shares.
        review: Which predictions wait for a person; None asks nobody.
        risk: Risk tier.
        intended_use, out_of_scope, limitations, licence: Texts for the cards.
    """

    name: str
    question: str
    owners: tuple[str, ...]
    sources: tuple[Source, ...] = ()
    assets: tuple[Asset, ...] = ()
    dbt: DbtModels | None = None
    features: "tuple[FeatureView, ...]" = ()
    events: "tuple[StreamSource, ...]" = ()
    streams: "tuple[StreamedView, ...]" = ()
    on_demand: "tuple[OnDemandFeatures, ...]" = ()
    labels: Labels | None = None
    split: Split = field(default_factory=Split)
    model: Model | None = None
    gates: "tuple[Gate, ...]" = ()
    drift: DriftWatch = field(default_factory=DriftWatch)
    serving: Serving = field(default_factory=Serving)
    performance: "PerformanceRules | None" = None
    service_levels: "ServiceLevels | None" = None
    retraining: "Retraining | None" = None
    replay: "Callable[[Snapshot, Mapping[str, pl.DataFrame]], ReplaySource] | None" = None
    rollout: Rollout = field(default_factory=Rollout)
    review: "Review | None" = None
    risk: Risk = Risk.LOW
    intended_use: str = ""
    out_of_scope: str = ""
    limitations: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if not PRODUCT_NAME.fullmatch(self.name) or keyword.iskeyword(self.name):
            raise DeclarationError(
                what="Product",
                name=self.name,
                problem="its name is not a Python folder name.",
                remedy="Use lower-case letters, digits and '_', starting with a letter, at most 40, and no word of "
                "Python's own.",
            )
        if not self.owners:
            raise DeclarationError(
                what="Product", name=self.name, problem="nobody owns it.", remedy="Add owners=('team:<name>',)."
            )
        placed = [
            *((asset.path, "asset") for asset in self.assets),
            *((source.path, "stream") for source in self.events),
        ]
        for path, kind in placed:
            if not path.startswith(f"{self.name}/"):
                raise DeclarationError(
                    what="Product",
                    name=self.name,
                    problem=f"{kind} {path!r} lies outside its folder.",
                    remedy=f"Start the path with '{self.name}/'.",
                )
        self._check_streams()
        if self.model is not None and self.labels is None:
            raise DeclarationError(
                what="Product",
                name=self.name,
                problem="it has a model but no labels.",
                remedy="Declare labels=Labels(...).",
            )
        if self.review is not None and self.model is None:
            raise DeclarationError(
                what="Product",
                name=self.name,
                problem="it has a review but no model.",
                remedy="Declare model=Model(...), or take the review out.",
            )
        if self.labels and (hidden := sorted({*self.serving.redacted} & {*self.labels.key})):
            raise DeclarationError(
                what="Product",
                name=self.name,
                problem=f"Serving(redacted=...) holds {', '.join(hidden)}, which name its labelled events.",
                remedy="Keep them in the log: without them no prediction ever meets its outcome.",
            )
        self._check_serving()
        if short := kept_too_short(self):
            raise DeclarationError(what="Product", name=self.name, problem=short[0], remedy=short[1])
        if self.labels and self.labels.known_at in ("", self.labels.label):
            raise DeclarationError(
                what="Product",
                name=self.name,
                problem=f"Labels(known_at={self.labels.known_at!r}) names no column of times.",
                remedy="Name the column with the time from which the label could be read, or leave it out.",
            )
        if self.model and self.labels and self.labels.known_at in self.model.features:
            raise DeclarationError(
                what="Product",
                name=self.name,
                problem=f"{self.labels.known_at!r}, the time its label comes in, is among the model's features.",
                remedy="Take it out: nobody knows it at prediction time.",
            )

    def _check_serving(self) -> None:
        """A name that no request has would draw everybody alike, or leave in the log what must not be there."""
        if self.model is None or self.labels is None:
            return
        fields = request_names(self)
        if TIME_NAME in fields:
            raise DeclarationError(
                what="Product",
                name=self.name,
                problem=f"requests to it would have a field {TIME_NAME!r}, and call their prediction time so.",
                remedy="Rename that column.",
            )
        known = {"assign_by": fields | {self.labels.time}, "redacted": fields | {*self.model.features}}
        for what, names in known.items():
            if strange := [name for name in getattr(self.serving, what) if name not in names]:
                near = difflib.get_close_matches(strange[0], sorted(names), n=1)
                said = f" Did you mean {near[0]!r}?" if near else ""
                raise DeclarationError(
                    what="Product",
                    name=self.name,
                    problem=f"Serving({what}=...) holds {', '.join(map(repr, strange))}, which no request to it has.{said}",
                    remedy=f"Known are {', '.join(sorted(names))}.",
                )

    def _check_streams(self) -> None:
        views = {view.name: view for view in self.features}
        names = [streamed.view for streamed in self.streams]
        for name in names:
            if name not in views or names.count(name) > 1:
                found = "is streamed twice" if name in views else "is none of its feature views"
                raise DeclarationError(
                    what="Product",
                    name=self.name,
                    problem=f"the streamed view {name!r} {found}.",
                    remedy="Declare one StreamedView for a FeatureView of that name.",
                )
        for streamed in self.streams:
            if untimely := self._untimely(streamed, views[streamed.view]):
                raise DeclarationError(what="Product", name=self.name, problem=untimely[0], remedy=untimely[1])

    def _untimely(self, streamed: "StreamedView", view: "FeatureView") -> tuple[str, str] | None:
        """Why nobody can say when a streamed view's rows are known, and what to do; None when it can be said."""
        told = f"the streamed view {streamed.view!r}"
        within = {source.path: source.arrives_within for source in self.events}
        if view.known_at == view.event_time:
            return f"{told} has one column for event time and known-at time.", "A row is known later: add a column."
        if streamed.events not in within:
            return (
                f"{told} reads {streamed.events!r}, which is none of its events.",
                "Declare events=(StreamSource(...),).",
            )
        longest = within[streamed.events]
        if longest is None:
            said = f"{told} reads {streamed.events!r}, and nobody says how soon its events are in the log."
            return said, "Declare StreamSource(arrives_within=...)."
        if streamed.known_after < longest:
            said = f"{told} is known {streamed.known_after} after its event time, and events of {streamed.events!r} take up to {longest}."
            return said, "Give known_after= that much, and more for reading, computing and the time between two rounds."
        return None
