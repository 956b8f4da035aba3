"""The lake as a Dagster resource."""

from collections.abc import Mapping, Sequence
from typing import Final

import dagster as dg
import polars as pl

from headwater.code_version import code_version
from headwater.lake import Kind, Lake, Snapshot
from headwater.materialize import Outcome, Run, Status, materialize, record_of, why_held, why_stale
from headwater.product import Asset
from resources.opening import open_lake, this_run
from resources.pictures import pictures
from resources.progress import telling_start, told
from resources.settings import Settings, load_settings
from resources.tracing import traced
from resources.verdicts import recorded_verdicts, standing

ONLY_STALE_TAG: Final = "headwater/only_stale"
ACTOR_TAG: Final = "headwater/actor"
DRAWS: Final = "matplotlib"
"""Kind of the folders whose plots are shown."""


class LakeResource(dg.ConfigurableResource):
    """Opens the lake that the environment names, when a run needs it.

    Attributes:
        state: State folder; empty takes `HEADWATER_STATE` or `.headwater` in the checkout.
    """

    state: str = ""

    def settings(self) -> Settings:
        """Where everything is."""
        import os

        return load_settings({**os.environ, **({"HEADWATER_STATE": self.state} if self.state else {})})

    def open(self, *, create: bool = False) -> Lake:
        """The lake; `create` and errors as of `open_lake`."""
        return open_lake(self.settings(), create=create)

    def run(self, *, run_id: str, tags: Mapping[str, str]) -> Run:
        """The facts of a Dagster run."""
        return this_run(run_id=run_id, actor=tags.get(ACTOR_TAG))

    def build(self, asset: Asset, *, run_id: str, tags: Mapping[str, str], partition: str | None) -> Outcome:
        """Materializes one asset in one transaction, or finds it fresh when the run asked for stale ones only.

        What somebody took back, and nothing changed since, counts as fresh: the outcome has no entry.
        """
        settings, lake = self.settings(), self.open(create=True)
        if tags.get(ONLY_STALE_TAG) == "true":
            fresh = _fresh(lake, asset, partition, settings)
            if fresh is not None:
                return told(fresh)
        telling_start(asset.path, partition)

        def build() -> Outcome:
            return materialize(
                lake,
                asset,
                run=self.run(run_id=run_id, tags=tags),
                partition=partition,
                landing=settings.landing,
                scratch=settings.scratch,
                state=settings.state,
                branch=settings.branch,
            )

        return told(traced(build, asset=asset, partition=partition, run_id=run_id, lake=lake, settings=settings))

    def partition_rows(self, asset: Asset, outcome: Outcome) -> int | None:
        """Rows of the partition that an outcome is about, None when it is about no partition."""
        entry, key = outcome.entry, outcome.partition
        if asset.partitions is None or entry is None or key not in entry.partitions:
            return None
        rows = self._shown(outcome).table(asset.path).filter(pl.col(asset.partitions.column) == key)
        return int(rows.select(pl.len()).collect().item())

    def plots(self, asset: Asset, outcome: Outcome) -> Mapping[str, str]:
        """Plots that an asset of kind `matplotlib` drew, as Markdown by name."""
        if asset.kind is not Kind.FOLDER or DRAWS not in asset.kinds or outcome.entry is None:
            return {}
        return pictures(self._shown(outcome).folder(asset.path))

    def _shown(self, outcome: Outcome) -> Snapshot:
        """The lake as an outcome left it. What is fresh may stand in a commit whose files were collected."""
        return self.open().at(outcome.into if outcome.status is Status.FRESH else str(outcome.commit))

    def fresh(self, assets: Sequence[Asset], *, tags: Mapping[str, str]) -> tuple[Outcome, ...] | None:
        """The outcomes of assets that are all fresh when the run asked for stale ones only, else None."""
        if tags.get(ONLY_STALE_TAG) != "true":
            return None
        settings, lake = self.settings(), self.open(create=True)
        found = [_fresh(lake, asset, None, settings) for asset in assets]
        return None if any(outcome is None for outcome in found) else tuple(told(o) for o in found if o is not None)

    def held(self, asset: Asset) -> bool:
        """Whether somebody took an unpartitioned asset back, and nothing that it is built from changed since."""
        settings, lake = self.settings(), self.open()
        return bool(why_held(lake, lake.at(settings.branch), asset, code=code_version(asset), landing=settings.landing))

    def as_it_stands(self, asset: Asset) -> Outcome:
        """What stands at an unpartitioned asset's path, with the verdicts on it, fresh or not."""
        settings, lake = self.settings(), self.open()
        return _standing(lake, lake.at(settings.branch), asset, None, settings)


def _fresh(lake: Lake, asset: Asset, partition: str | None, settings: Settings) -> Outcome | None:
    snapshot = lake.at(settings.branch)
    code = code_version(asset)
    if why_stale(lake, snapshot, asset, code=code, partition=partition, landing=settings.landing):
        return None
    return _standing(lake, snapshot, asset, partition, settings)


def _standing(lake: Lake, snapshot: Snapshot, asset: Asset, partition: str | None, settings: Settings) -> Outcome:
    there = standing(snapshot, asset.path, partition)
    record = record_of(lake, snapshot, asset.path, partition)
    return Outcome(
        status=Status.FRESH,
        path=asset.path,
        partition=partition,
        entry=there,
        commit=record.commit.id if record else None,
        into=settings.branch,
        checks=recorded_verdicts(lake, snapshot, asset.path, partition),
        provenance=record.provenance if record else None,
        uri=snapshot.uri(asset.path) if there else "",
    )
