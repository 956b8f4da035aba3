"""Opens the lake that the settings name. No Dagster, so that the command line starts fast."""

import logging

from headwater.lake import Lake
from headwater.lake.errors import RefExistsError
from headwater.materialize import Run
from headwater.names import MAIN
from headwater.runtime import code_state, environment_digest, user
from resources.settings import LAKEFS, Settings

_log = logging.getLogger(__name__)


def open_lake(settings: Settings, *, create: bool = True) -> Lake:
    """The lake, embedded or lakeFS; with `create`, also the branch that builds publish into is there afterwards.

    Args:
        settings: Where everything is.
        create: Whether an absent lake, or branch (off main), is made.

    Raises:
        LakeError: It is of another format, unsafe, unavailable, or (with `create=False`) not there.
    """
    lake = _open(settings, create=create)
    if create and settings.branch != MAIN:
        _ensure_branch(lake, settings.branch)
    return lake


def _ensure_branch(lake: Lake, name: str) -> None:
    if any(ref.name == name for ref in lake.branches()):
        return
    try:
        made = lake.create_branch(name, at=MAIN)
    except RefExistsError:  # another process was first
        return
    _log.warning("Lake branch %r did not exist; it was made off %s at commit %s.", name, MAIN, made.commit[:12])


def _open(settings: Settings, *, create: bool) -> Lake:
    if settings.lake == LAKEFS:
        from headwater.lake.lakefs import LakeFSLake, LakeFSSettings

        return LakeFSLake.open(
            LakeFSSettings(
                endpoint=settings.lakefs_endpoint,
                access_key=settings.lakefs_access_key,
                secret_key=settings.lakefs_secret_key,
                repository=settings.lakefs_repository,
            ),
            create=create,
        )
    from headwater.lake import EmbeddedLake

    return EmbeddedLake.open(settings.lake_folder, create=create)


def this_run(*, run_id: str | None = None, actor: str | None = None) -> Run:
    """The facts of a run in this process."""
    code = code_state()
    return Run(
        run_id=run_id,
        actor=actor or user(),
        git_commit=code.commit,
        git_dirty=code.dirty,
        environment=environment_digest(),
    )
