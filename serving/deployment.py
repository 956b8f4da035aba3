"""What a service has of a product: the released versions and the online features, fetched from the lake and kept on disk.

The copies are named by their data versions and checked against them whenever they are opened. So the service starts, and goes on
answering, while the lake is away, and never with content that something changed.
"""

import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from headwater.errors import HeadwaterError
from headwater.features.errors import OnlineContentError
from headwater.features.online import OnlineContent
from headwater.features.online._content import read_content, read_shape
from headwater.lake import Lake, Snapshot
from headwater.lake._files import sync
from headwater.lake.errors import TableReadError
from headwater.models import IDENTITY, Bundle, read_bundle
from headwater.models.bundle import read_request
from headwater.models.request_schema import ViewUse
from headwater.names import MAIN
from headwater.product import LogFull
from headwater.registry import ModelVersion, model_version, released_versions
from serving.copies import PART, Copy
from serving.errors import DamagedSourceError, NotHeldError, NotReleasedError, StatementError
from serving.fitting import newest_fitting
from serving.policies import AllAtOnce, Policy, PolicyError, from_json, to_json, versions

RELEASE_FILE: Final = "release.json"
_MODELS, _ONLINE, _ASIDE, _STATE = "models", "online", "damaged", "deployment.json"
_ABANDONED: Final = 3_600.0
"""Seconds after which nobody is about a part any more."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What the lake says shall be served of a product at one commit.

    Attributes:
        product: The product.
        commit: The commit that says so.
        policy: Who answers.
        models: Data version of the bundle of each version that the policy needs.
        online: Data version of the online features, None for a product without.
        online_commit: A commit that holds them, empty where `commit` does: those of there lack what a version looks up.
        assign_by: Request fields whose values an assignment is drawn by; empty, or where one is null, draws by the request's id.
        redacted: Request fields and features that are not kept in the log.
        ahead: How far ahead of the clock a prediction time may be.
        log_full: What becomes of requests while the prediction log has no room.
        latency: Time within which an answer is promised; what takes longer is counted.
        deprecated: Versions whose callers are warned.
        deprecated_since: From when on, in seconds since 1970 (UTC), where an order says so.
        retired: Versions that answer nobody any more, for an error that says so.
        superseded: Versions that answered once, or are deprecated, and are neither served now nor retired: who asks for one by name is counted.
    """

    product: str
    commit: str
    policy: Policy
    models: Mapping[str, str]
    online: str | None
    online_commit: str = ""
    assign_by: tuple[str, ...] = ()
    redacted: tuple[str, ...] = ()
    ahead: timedelta = timedelta(days=1)
    log_full: LogFull = LogFull.REFUSE
    latency: timedelta = timedelta(milliseconds=100)
    deprecated: tuple[str, ...] = ()
    deprecated_since: Mapping[str, int] = field(default_factory=dict)
    retired: tuple[str, ...] = ()
    superseded: tuple[str, ...] = ()

    @property
    def live(self) -> str:
        """The version that answers, or answers first."""
        return versions(self.policy)[0]

    @property
    def online_at(self) -> str:
        """A commit that holds the online features."""
        return self.online_commit or self.commit

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        return {
            "product": self.product,
            "commit": self.commit,
            "policy": to_json(self.policy),
            "models": dict(self.models),
            "online": self.online,
            "online_commit": self.online_commit,
            "deprecated": list(self.deprecated),
            "deprecated_since": dict(self.deprecated_since),
            "retired": list(self.retired),
            "superseded": list(self.superseded),
            **_rules_to_json(self),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Deployment":
        """The deployment that `to_json` wrote. Raises PolicyError."""
        return cls(
            product=raw["product"],
            commit=raw["commit"],
            policy=from_json(raw["policy"]),
            models=dict(raw["models"]),
            online=raw["online"],
            online_commit=raw.get("online_commit", ""),
            deprecated_since=dict(raw.get("deprecated_since", {})),
            superseded=tuple(raw.get("superseded", ())),
            **_withdrawn(raw),
            **_rules(raw),
        )


def read_deployment(lake: Lake, product: str, *, ref: str = MAIN) -> Deployment:
    """What shall be served of a product.

    Args:
        lake: The lake.
        product: The product.
        ref: Branch, tag or commit whose release counts.

    Raises:
        NotReleasedError: It has no release there.
        ModelNotFoundError: The release names a version that was never published.
        PolicyError: Its policy cannot be.
        StatementError: The release cannot be read.
        TableReadError: The orders that deprecate versions cannot be read.
        BundleError: What a version looks up cannot be read.
        UnfitFeaturesError: No online features have what all versions look up.
    """
    snapshot = lake.at(ref)
    if not snapshot.has(f"{product}/release"):
        raise NotReleasedError(product=product, ref=ref)
    file = snapshot.folder(f"{product}/release") / RELEASE_FILE
    with _readable(file):
        statement = json.loads(file.read_text(encoding="utf-8"))
        policy = policy_of(statement)
        rules = {**_withdrawn(statement), **_rules(statement.get("serving", {}))}
        rules["deprecated_since"] = _deprecated_since(snapshot, product, rules["deprecated"])
    known = released_versions(lake, product, ref=snapshot.commit.id).union(rules["deprecated"])
    models = {
        version: model_version(lake, f"{product}@{version}", ref=snapshot.commit.id) for version in versions(policy)
    }
    reads = {version: _looked_up(lake, found) for version, found in models.items()}
    online, online_commit = newest_fitting(lake, product, reads, snapshot=snapshot)
    return Deployment(
        product=product,
        commit=snapshot.commit.id,
        policy=policy,
        models={version: found.data_version for version, found in models.items()},
        online=online,
        online_commit=online_commit,
        superseded=tuple(sorted(known.difference(models, rules["retired"]))),
        **rules,
    )


class DeploymentCache:
    """Copies of what is served, in a folder of this machine."""

    def __init__(self, folder: Path, *, again: float = 60.0) -> None:
        """Uses a folder, which need not be there yet.

        Args:
            folder: The folder.
            again: Seconds before the lake is asked again for content that it gave damaged: each time all of it is read.
        """
        self._folder, self._again = folder, again
        self._damaged: dict[Path, tuple[float, HeadwaterError]] = {}

    def take(self, lake: Lake, deployment: Deployment) -> None:
        """Fetches what is missing of a deployment. Several processes may do so at once.

        Raises:
            DamagedSourceError: What the lake gave is not what it recorded, now or a while ago.
            OSError: The disk is full, or cannot be written.
        """
        self._sweep(deployment.product)
        for version in (*deployment.models, *([None] if deployment.online is not None else [])):
            copy = self._copy(deployment, version)
            if not copy.is_there:
                with self._sparing(copy):
                    copy.fetch(partial(_source, lake, deployment, version))

    def renew(self, lake: Lake, deployment: Deployment, version: str | None, damage: HeadwaterError) -> None:
        """Fetches a copy again that cannot be used. Several processes may do so at once; the damaged one is put aside.

        Args:
            lake: The lake.
            deployment: What the copy is of.
            version: The version whose model it is, None for the online features.
            damage: Why it cannot be used.

        Raises:
            HeadwaterError: The lake gave no better a while ago.
            DamagedSourceError: What the lake gave is not what it recorded.
            OSError: The disk is full, or cannot be written.
        """
        copy = self._copy(deployment, version)
        with self._sparing(copy):
            if not copy.renew(partial(_source, lake, deployment, version)):
                self._damaged[copy.folder] = (time.monotonic(), damage)  # unless another process was first

    @contextmanager
    def _sparing(self, copy: Copy) -> Iterator[None]:
        """Around fetching: what the lake gave damaged is not asked for again at each look. Raises what it raised then."""
        asked, damage = self._damaged.get(copy.folder, (0.0, None))
        if damage is not None and time.monotonic() - asked < self._again:
            raise damage.with_traceback(None)
        self._damaged.pop(copy.folder, None)
        try:
            yield
        except DamagedSourceError as error:
            self._damaged[copy.folder] = (time.monotonic(), error)
            raise

    def remember(self, deployment: Deployment) -> None:
        """Makes a deployment the one that `held` gives. Raises OSError, and the one before stays."""
        file = self._folder / deployment.product / _STATE
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{PART}{secrets.token_hex(8)}")
        try:
            part.write_text(json.dumps(deployment.to_json(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
            sync(part)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        sync(file.parent)

    def remembers(self, deployment: Deployment) -> bool:
        """Whether `held` gives what a deployment serves, at whatever commit."""
        try:
            held = self.held(deployment.product)
        except (NotHeldError, PolicyError, StatementError):
            return False
        return replace(held, commit=deployment.commit) == deployment

    def products(self) -> tuple[str, ...]:
        """The products of which a deployment is remembered."""
        return tuple(sorted(file.parent.name for file in self._folder.glob(f"*/{_STATE}")))

    def held(self, product: str) -> Deployment:
        """The deployment that was remembered last. Raises NotHeldError, PolicyError, StatementError."""
        file = self._folder / product / _STATE
        if not file.is_file():
            raise NotHeldError(what=f"A deployment of {product!r}")
        with _readable(file):
            return Deployment.from_json(json.loads(file.read_text(encoding="utf-8")))

    def bundle(self, deployment: Deployment, version: str) -> Bundle:
        """The model of a version, checked.

        Raises:
            NotHeldError: It is not here.
            TamperedError: Its weights or rules were changed.
            BundleError: Another of its files was.
        """
        return read_bundle(self._copy(deployment, version).check(), for_service=True)

    def online(self, deployment: Deployment) -> OnlineContent | None:
        """The online features, checked; None for a product without. Raises NotHeldError, TamperedError."""
        return None if deployment.online is None else read_content(self._copy(deployment, None).check())

    def shapes(self) -> Iterator[tuple[str, OnlineContent]]:
        """Of each copy of online features its product and its views, without rows; of damaged ones none."""
        for folder in self._folder.glob(f"*/{_ONLINE}/[0-9a-f]*"):
            with suppress(OnlineContentError):
                yield folder.parent.parent.name, read_shape(folder)

    def forget(self, product: str, *, keep: Sequence[Deployment]) -> None:
        """Removes copies that none of some deployments needs."""
        models = {data_version for one in keep for data_version in one.models.values()}
        contents = {one.online for one in keep}
        for kind, wanted in ((_MODELS, models), (_ONLINE, contents)):
            for folder in (self._folder / product / kind).glob("[0-9a-f]*"):
                if folder.name not in wanted:
                    shutil.rmtree(folder, ignore_errors=True)

    def withdraw(self, product: str) -> None:
        """Removes a product that is released no more: the next start without the lake does not serve it either."""
        (self._folder / product / _STATE).unlink(missing_ok=True)
        self.forget(product, keep=())

    def _copy(self, deployment: Deployment, version: str | None) -> Copy:
        """That of a version's model, or of the online features."""
        product, folder = deployment.product, self._folder / deployment.product
        if version is None:
            assert deployment.online is not None
            kind, what, data_version, identity = _ONLINE, f"Online features of {product}", deployment.online, None
        else:
            kind, what, data_version = _MODELS, f"Model {product}@{version}", deployment.models[version]
            identity = IDENTITY
        return Copy(
            what=what,
            folder=folder / kind / data_version,
            aside=folder / _ASIDE / data_version,
            data_version=data_version,
            identity=identity,
        )

    def _sweep(self, product: str) -> None:
        """Removes what killed processes left half written. Nobody writes on one for an hour: who does finds it gone, and begins again."""
        old = time.time() - _ABANDONED
        for part in (file for where in (PART, f"*/{PART}") for file in (self._folder / product).glob(f"{where}*")):
            with suppress(OSError):
                if part.stat().st_mtime < old:
                    shutil.rmtree(part) if part.is_dir() else part.unlink()


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """What a file that anybody may have written can raise, as one error."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StatementError(file=str(file), problem=f"{type(error).__name__}: {error}") from error


def policy_of(statement: Mapping[str, Any]) -> Policy:
    """A release's policy; a plain name is that of one version for all. Raises PolicyError."""
    said = statement["policy"]
    if said == AllAtOnce.kind:
        return AllAtOnce(live=statement["version"])
    return from_json(said if isinstance(said, Mapping) else {"kind": said})


def _withdrawn(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Versions on their way out, as a release or a kept deployment names them."""
    return {name: tuple(sorted(raw.get(name, ()))) for name in ("deprecated", "retired")}


def _deprecated_since(snapshot: Snapshot, product: str, versions: Sequence[str]) -> dict[str, int]:
    """When each of some versions was deprecated, as far as orders say so: seconds since 1970. Raises TableReadError."""
    path = f"{product}/release_orders"
    if not versions or not snapshot.has(path):
        return {}
    orders = snapshot.table(path).filter(pl.col("order") == "deprecate", pl.col("version").is_in(list(versions)))
    newest = orders.group_by("version").agg(pl.col("time").max().dt.epoch("s")).sort("version")
    try:
        return dict(newest.collect().iter_rows())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        said, *_ = str(error).strip().splitlines() or [type(error).__name__]
        raise TableReadError(path=path, reason=f"{said.rstrip('.')}.") from error


def _rules_to_json(deployment: Deployment) -> dict[str, Any]:
    return {
        "assign_by": list(deployment.assign_by),
        "redacted": list(deployment.redacted),
        "ahead_seconds": deployment.ahead.total_seconds(),
        "log_full": deployment.log_full.value,
        "latency_seconds": deployment.latency.total_seconds(),
    }


def _rules(raw: Mapping[str, Any]) -> dict[str, Any]:
    """How requests are treated, as a release or a kept deployment says it; what it does not say is as usual."""
    found: dict[str, Any] = {name: tuple(raw[name]) for name in ("assign_by", "redacted") if name in raw}
    if "ahead_seconds" in raw:
        found["ahead"] = timedelta(seconds=raw["ahead_seconds"])
    if "latency_seconds" in raw:
        found["latency"] = timedelta(seconds=raw["latency_seconds"])
    if "log_full" in raw:
        found["log_full"] = LogFull(raw["log_full"])
    return found


def _looked_up(lake: Lake, found: ModelVersion) -> tuple[ViewUse, ...]:
    """What a version looks up, as its bundle says."""
    schema, _ = read_request(lake.at(found.commit).folder(found.path))
    return schema.views if schema is not None else ()


def _source(lake: Lake, deployment: Deployment, version: str | None) -> Path:
    """The lake's folder with a version's model, or with the online features."""
    product = deployment.product
    if version is None:
        return lake.at(deployment.online_at).folder(f"{product}/online_features")
    there = model_version(lake, f"{product}@{version}", ref=deployment.commit)
    return lake.at(there.commit).folder(f"{product}/model")
