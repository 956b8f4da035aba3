"""Opens the lake that the settings name. No Dagster, so that the command line starts fast."""

import logging
import os
import threading
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headwater.lake import Lake
from headwater.lake._layout import Layout
from headwater.lake._storage import storage_errors
from headwater.lake.errors import LakeError, RefExistsError
from headwater.materialize import Run
from headwater.names import MAIN
from headwater.runtime import code_state, environment_digest, user
from resources.settings import KAFKA_SETTINGS, LAKEFS, REDIS, Settings, SettingsError, checked_url

if TYPE_CHECKING:
    from headwater.features.online import OnlineStore
    from headwater.lake.lakefs import LakeFSLake, LakeFSSettings
    from headwater.streams import EventLog, StreamSource

_log = logging.getLogger(__name__)
_opened: Final[dict[tuple[int, "LakeFSSettings"], "LakeFSLake"]] = {}
_opening: Final = threading.Lock()
_MARK: Final = "lake.begun"
_SAID: Final = (
    "A lake was begun in the folder `lake` beside this file. While it is not there, no other is begun in its place.\n"
)
_SIGNS: Final = (_MARK, "logs/build.log", "mlflow/synced.sha256", "serving/cache")
"""What is in a state folder only after its lake was: state folders of before the mark have some of the others."""


class LakeAwayError(LakeError):
    """There was a lake in the state folder, and there is none now."""

    def __init__(self, *, location: Path, sign: str) -> None:
        self.location, self.sign = location, sign
        super().__init__(
            f"The lake of this state folder is not where it was: {location} holds none, and {sign} tells of one. Mount it, or move it "
            f"back; if it was one of lakeFS, set HEADWATER_LAKE=lakefs. To begin anew, remove the state folder {location.parent}."
        )


def open_lake(settings: Settings, *, create: bool = False) -> Lake:
    """The lake, embedded or lakeFS; with `create`, also the branch that builds publish into is there afterwards.

    Args:
        settings: Where everything is.
        create: Whether an absent lake, or branch (off main), is made: for what publishes. An embedded lake is made only in a state
            folder that never had one.

    Raises:
        LakeAwayError: The state folder had an embedded lake, and it is not there.
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
        return _open_lakefs(settings, create=create)
    return _open_embedded(settings, create=create)


def _open_embedded(settings: Settings, *, create: bool) -> Lake:
    """The embedded lake. A disk that is not mounted looks like a state folder without one, but for what the lake left beside it."""
    from headwater.lake import EmbeddedLake

    folder, mark = settings.lake_folder, settings.state / _MARK
    with storage_errors(folder, "opened"):
        # Before the lake is looked for: another process, which begins one meanwhile, leaves the mark after it.
        sign = next((name for name in _SIGNS if (settings.state / name).exists()), None)
        if sign is not None and not Layout(folder).format.exists():
            raise LakeAwayError(location=folder, sign=sign)
        lake = EmbeddedLake.open(folder, create=create)
        if create and not mark.exists():
            mark.write_text(_SAID, encoding="utf-8")
    return lake


def _open_lakefs(settings: Settings, *, create: bool) -> Lake:
    """The lake on lakeFS, whose store is probed once a process: a probe makes a branch and writes to it.

    The embedded lake is cheap to open and is opened each time, so that a folder put in its place is noticed.
    """
    from headwater.lake.lakefs import LakeFSLake, LakeFSSettings

    where = LakeFSSettings(
        endpoint=settings.lakefs_endpoint,
        access_key=settings.lakefs_access_key,
        secret_key=settings.lakefs_secret_key,
        repository=settings.lakefs_repository,
    )
    key = (os.getpid(), where)  # a forked process shares no connection with its parent
    known = _opened.get(key)
    if known is not None and _still_there(known):
        return known
    with _opening:
        if _opened.get(key) is known:  # no other thread was first
            _opened[key] = LakeFSLake.open(where, create=create)
        return _opened[key]


def _still_there(lake: Lake) -> bool:
    try:
        lake.resolve(MAIN)
    except LakeError:  # opening it anew says what is wrong, or makes the repository again
        return False
    return True


def open_event_log(settings: Settings, source: "StreamSource") -> "EventLog":
    """The log that a stream's events come in by: a topic of the brokers that the settings name, or files of the state folder.

    Raises:
        EventLogError: It cannot be opened.
        SettingsError: The file with settings of the Kafka client cannot be read.
    """
    if settings.kafka:
        from headwater.streams import KafkaLog

        more = _properties(settings.kafka_settings) if settings.kafka_settings is not None else {}
        return KafkaLog(settings.kafka, source.path.replace("/", "."), settings=more)
    from headwater.streams import FileLog

    return FileLog(settings.streams / source.path)


def _properties(file: Path) -> Mapping[str, str]:
    """The settings in a file of properties, as Kafka's own tools read them. Errors repeat no line: it may hold a password."""
    reader = ConfigParser(delimiters=("=",), comment_prefixes=("#", "!"), interpolation=None, strict=False)
    reader.optionxform = str  # type: ignore[assignment,method-assign] # as it is written
    try:
        reader.read_string(f"[client]\n{file.read_text()}")
    except (OSError, UnicodeDecodeError, ConfigParserError) as error:
        why = error.strerror if isinstance(error, OSError) else "it has lines that are no 'name=value'"
        remedy = "It holds a setting of librdkafka a line, such as security.protocol=SASL_SSL."
        raise SettingsError(variable=KAFKA_SETTINGS, problem=f"{file}: {why}.", remedy=remedy) from error
    return dict(reader["client"])


def open_online_store(settings: Settings, *, redis: str | None = None) -> "OnlineStore":
    """The store that a service looks features up in: the Redis that the settings name, or files of the state folder.

    Args:
        settings: Where everything is.
        redis: URL of a Redis instead, or empty for files; None takes what the settings say.

    Raises:
        SettingsError: The package for Redis is missing, or it is no URL.
    """
    url = settings.redis if redis is None else redis
    if not url:
        from headwater.features.online._lmdb_store import EmbeddedOnlineStore

        folder = settings.serving / "online" / "2"  # by format: it is a copy, and an older one is no obstacle
        return EmbeddedOnlineStore(folder, largest=settings.online_largest)
    if find_spec("redis") is None:
        raise SettingsError(variable=REDIS, problem="redis is not installed.", remedy="Install headwater[redis].")
    from headwater.features.online._redis_store import RedisOnlineStore

    return RedisOnlineStore(checked_url(url, REDIS), lookup_timeout=settings.redis_timeout)


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
