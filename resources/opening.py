"""Opens the lake that the settings name. No Dagster, so that the command line starts fast."""

from headwater.lake import Lake
from headwater.materialize import Run
from headwater.runtime import code_state, environment_digest, user
from resources.settings import LAKEFS, Settings


def open_lake(settings: Settings, *, create: bool = True) -> Lake:
    """The lake, embedded or lakeFS.

    Raises:
        LakeError: It is of another format, unsafe, unavailable, or (with `create=False`) not there.
    """
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
