"""Settings from environment variables, listed in `.env.example`. Read when asked, never at import."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from headwater.errors import HeadwaterError
from headwater.names import (
    DAGSTER_FOLDER,
    FAILURE_LOG_FOLDER,
    LAKE_FOLDER,
    LANDING_FOLDER,
    MLFLOW_FOLDER,
    PREDICTION_LOG_FOLDER,
    SERVING_FOLDER,
    STATE_FOLDER,
    STREAMS_FOLDER,
    TARIFF_FILE,
)
from headwater.runtime import project_root

EMBEDDED: Final = "embedded"
LAKEFS: Final = "lakefs"
REDIS: Final = "HEADWATER_REDIS"
POSTGRES: Final = "HEADWATER_POSTGRES"
KAFKA_SETTINGS: Final = "HEADWATER_KAFKA_SETTINGS"
_SCHEMES: Final = {REDIS: ("redis", "rediss", "unix"), POSTGRES: ("postgresql",)}


class SettingsError(HeadwaterError):
    """An environment variable has a value that means nothing, or one is missing."""

    def __init__(self, *, variable: str, problem: str, remedy: str) -> None:
        self.variable = variable
        super().__init__(f"Setting {variable}: {problem} {remedy} See .env.example.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where everything is.

    Attributes:
        state: The state folder.
        lake: `embedded` or `lakefs`.
        lakefs_endpoint, lakefs_access_key, lakefs_secret_key, lakefs_repository: For `lakefs`.
        branch: Lake branch that builds publish into.
        traces: Where traces go (OTLP over HTTP), empty for nowhere.
        kafka: Brokers with the logs of events, `host:port`, several with commas; empty keeps logs in files.
        kafka_settings: File with further settings of the Kafka client, such as those of TLS and SASL; None for none.
        redis: URL of a Redis with the online features; empty keeps them in files of the state folder.
        redis_timeout: Seconds that a service waits for an answer of Redis, more than zero.
        online_largest: Bytes that the files with the online features may grow to where there is no Redis, a MiB or more.
        postgres: URL of a PostgreSQL database with what Dagster remembers; empty keeps it in SQLite, in the state folder.
        tariff: File of the prices that `headwater cost` uses.
    """

    state: Path
    lake: str = EMBEDDED
    lakefs_endpoint: str = ""
    lakefs_access_key: str = field(default="", repr=False)
    lakefs_secret_key: str = field(default="", repr=False)
    lakefs_repository: str = "headwater"
    branch: str = "main"
    traces: str = ""
    kafka: str = ""
    kafka_settings: Path | None = None
    redis: str = field(default="", repr=False)
    redis_timeout: float = 0.05
    online_largest: int = 16 * 2**30
    postgres: str = field(default="", repr=False)
    tariff: Path = field(default_factory=lambda: project_root() / TARIFF_FILE)

    @property
    def lake_folder(self) -> Path:
        """The embedded lake."""
        return self.state / LAKE_FOLDER

    @property
    def landing(self) -> Path:
        """Where files land, `<product>/<source>...`."""
        return self.state / LANDING_FOLDER

    @property
    def dagster_home(self) -> Path:
        """Dagster's storage."""
        return self.state / DAGSTER_FOLDER

    @property
    def mlflow_folder(self) -> Path:
        """MLflow's database."""
        return self.state / MLFLOW_FOLDER

    @property
    def serving(self) -> Path:
        """What the prediction service keeps: copies of models, online features."""
        return self.state / SERVING_FOLDER

    @property
    def prediction_log(self) -> Path:
        """The prediction log, one folder a product."""
        return self.state / PREDICTION_LOG_FOLDER

    @property
    def failure_log(self) -> Path:
        """The logs of requests that got no answer, one folder a product."""
        return self.state / FAILURE_LOG_FOLDER

    @property
    def streams(self) -> Path:
        """Logs of events that are kept in files, one folder a stream."""
        return self.state / STREAMS_FOLDER

    @property
    def scratch(self) -> Path:
        """Temporary files of runs, made when missing."""
        folder = self.state / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings of this process.

    Args:
        environment: Variables; None reads the process's own.

    Raises:
        SettingsError: A value means nothing here, or a lakeFS credential is missing.
    """
    env = os.environ if environment is None else environment
    kind = env.get("HEADWATER_LAKE", EMBEDDED)
    if kind not in (EMBEDDED, LAKEFS):
        raise SettingsError(
            variable="HEADWATER_LAKE", problem=f"{kind!r} is no lake.", remedy="Use embedded or lakefs."
        )
    needed = (
        "LAKECTL_SERVER_ENDPOINT_URL",
        "LAKECTL_CREDENTIALS_ACCESS_KEY_ID",
        "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY",
    )
    for variable in needed if kind == LAKEFS else ():
        if not env.get(variable):
            raise SettingsError(variable=variable, problem="it is missing.", remedy="HEADWATER_LAKE=lakefs needs it.")
    state = Path(env.get("HEADWATER_STATE") or project_root() / STATE_FOLDER).expanduser()
    return Settings(
        state=state if state.is_absolute() else Path.cwd() / state,
        lake=kind,
        lakefs_endpoint=env.get(needed[0], ""),
        lakefs_access_key=env.get(needed[1], ""),
        lakefs_secret_key=env.get(needed[2], ""),
        lakefs_repository=env.get("HEADWATER_LAKEFS_REPOSITORY", "headwater"),
        branch=env.get("HEADWATER_BRANCH", "main"),
        traces=env.get("HEADWATER_TRACES", ""),
        kafka=env.get("HEADWATER_KAFKA", ""),
        kafka_settings=Path(file).expanduser() if (file := env.get(KAFKA_SETTINGS)) else None,
        redis=checked_url(url, REDIS) if (url := env.get(REDIS, "")) else "",
        redis_timeout=_seconds(env, "HEADWATER_REDIS_TIMEOUT", default=0.05),
        online_largest=_gibibytes(env, "HEADWATER_ONLINE_LARGEST", default=16),
        postgres=checked_url(url, POSTGRES) if (url := env.get(POSTGRES, "")) else "",
        tariff=Path(env.get("HEADWATER_TARIFF") or project_root() / TARIFF_FILE).expanduser(),
    )


def checked_url(value: str, variable: str) -> str:
    """A URL of what a setting names. Errors do not repeat it: it may hold a password. Raises SettingsError."""
    scheme, _, rest = value.partition("://")
    if scheme not in _SCHEMES[variable] or not rest:
        known = " or ".join(f"{one}://" for one in _SCHEMES[variable])
        raise SettingsError(variable=variable, problem="it is no URL of one.", remedy=f"Begin it with {known}.")
    return value


def _seconds(env: Mapping[str, str], variable: str, *, default: float) -> float:
    value = _number(env, variable, default=default)
    if not 0 < value < math.inf:
        raise SettingsError(
            variable=variable, problem=f"{env[variable]!r} is no time.", remedy=f"Give seconds, such as {default}."
        )
    return value


def _gibibytes(env: Mapping[str, str], variable: str, *, default: float) -> int:
    """Bytes that a setting says in GiB: from a MiB to what a processor can address."""
    value = _number(env, variable, default=default)
    if not 2**-10 <= value <= 2**16:
        raise SettingsError(
            variable=variable,
            problem=f"{env[variable]!r} is no size.",
            remedy=f"Give GiB, from 0.001 to {2**16}, such as {default}.",
        )
    return int(value * 2**30)


def _number(env: Mapping[str, str], variable: str, *, default: float) -> float:
    """What a setting says, the default where it says nothing, NaN where that is no number."""
    text = env.get(variable, "")
    try:
        return float(text) if text else default
    except ValueError:
        return math.nan
