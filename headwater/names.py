"""Every name that crosses a border: metadata keys, branch names, folders. One place, no magic strings elsewhere."""

import re
from typing import Final

from headwater.errors import HeadwaterError

MAIN: Final = "main"
"""The protected branch that readers see."""

RELEASE_ASSET: Final = "release"
"""Below each product: the statement of what is live."""

BY_HAND: Final = frozenset({"revert", "import", "merge", "remove"})
"""Actions whose commits put content there on somebody's word rather than by building it."""

FLEETING_ASSETS: Final = frozenset(
    {
        *("predictions", "predictions.rejected", "service_failures", "service_failures.rejected"),
        *("outcomes", "served_parity"),
    }
)
"""Below each product: what services were asked and answered, which `Serving.keep` drops, and what repeats rows of it."""

# Commit metadata, on both lakes (values are strings).
PROVENANCE_KEY: Final = "headwater/provenance"
TRANSACTION_KEY: Final = "headwater/transaction"
# Custom metadata of every Delta commit that Headwater writes.
DELTA_TRANSACTION_KEY: Final = "headwater.transaction"

# Dagster metadata of ours; Dagster's own conventions live beside their use in `assets`.
META_COMMIT: Final = "headwater/commit"
META_INPUT_COMMIT: Final = "headwater/input_commit"
META_BRANCH: Final = "headwater/branch"
META_TRANSACTION: Final = "headwater/transaction"
META_DATA_VERSION: Final = "headwater/data_version"
META_STATUS: Final = "headwater/status"
META_CPU_SECONDS: Final = "headwater/cpu_seconds"
META_WALL_SECONDS: Final = "headwater/wall_seconds"
META_BYTES: Final = "headwater/bytes"
META_MODEL_VERSION: Final = "headwater/model_version"

# Facts that outputs carry in their provenance.
VERSION_FACT: Final = "model_version"
SIGNATURE_FACT: Final = "signature"
METRICS_FACT: Final = "metrics"
GATES_FACT: Final = "gates"
RELEASED_FACT: Final = "released"
DECISION_FACT: Final = "decision"
INTRODUCED_FACT: Final = "introduced"
STATEMENT_FACT: Final = "release_statement"
LINEAGE_FACT: Final = "column_lineage"
AS_OF_FACT: Final = "as_of"
ASSET_FACT: Final = "asset"
REFUSED_FACT: Final = "refused"
"""What a build that ended well did not follow, for the table of its asset's refusals: `id`, `rule`, `reason`, `evidence`."""

NO_VERSION: Final = ""
"""In a failure: the service could not answer, and no version had a part in it."""
DEADLINE: Final = "deadline"
"""In a failure: there was no answer in time."""

# Folders below the state folder `.headwater/`.
STATE_FOLDER: Final = ".headwater"
LAKE_FOLDER: Final = "lake"
SERVING_FOLDER: Final = "serving"
DAGSTER_FOLDER: Final = "dagster"
MLFLOW_FOLDER: Final = "mlflow"
LANDING_FOLDER: Final = "landing"
PREDICTION_LOG_FOLDER: Final = "serving/log"
FAILURE_LOG_FOLDER: Final = "serving/failures"
STREAMS_FOLDER: Final = "streams"

TARIFF_FILE: Final = "tariff.toml"
"""The prices of what is used, in the checkout."""

PRODUCT_NAME: Final = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
_SEGMENT = re.compile(r"^[a-z0-9][a-z0-9_.=-]{0,99}$")
_COMMIT_ID = re.compile(r"^[0-9a-f]{64}$")
COMMIT_PREFIX: Final = re.compile(r"^[0-9a-f]{6,64}$")
"""What is looked up as the beginning of a commit id when no branch or tag is called so."""
_REF = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,199}$")


class InvalidNameError(HeadwaterError):
    """A path, branch or tag that no lake could hold safely."""

    def __init__(self, *, what: str, name: str, rule: str) -> None:
        self.what, self.name, self.rule = what, name, rule
        shown = name if len(name) <= 80 else name[:77] + "..."
        super().__init__(f"{what} {shown!r} is not a valid name. {rule}")


def check_path(path: str) -> str:
    """Returns an asset path unchanged, or says what is wrong with it.

    Args:
        path: Segments joined by `/`, such as `flights/features/route_history`. A segment is lower-case ASCII letters,
            digits, `_`, `.`, `=`, `-`, starts with a letter or digit, and has 100 characters at most; a path has 250.

    Raises:
        InvalidNameError: The path is empty, absolute, has `..`, a space, upper case, unicode, or is too long.
    """
    rule = (
        "Use segments of lower-case letters, digits, '_', '.', '=' and '-' joined by '/', each at most 100 characters "
        "and starting with a letter or digit, 250 in all."
    )
    if (
        not path
        or len(path) > 250
        or not all(_SEGMENT.fullmatch(part) and ".." not in part for part in path.split("/"))
    ):
        raise InvalidNameError(what="Path", name=path, rule=rule)
    return path


def check_ref(name: str, *, what: str = "Branch") -> str:
    """Returns a branch or tag name unchanged, or says what is wrong with it.

    The rule is the common part of what lakeFS and a file system accept: no slash, no space, no leading dash.

    Raises:
        InvalidNameError: The name breaks the rule or is `HEAD`-like (`~`, `^`, `$` are operators of ref expressions).
    """
    rule = "Use letters, digits, '_', '-', '.' and '@', starting with a letter, digit or '_', at most 200 characters."
    if not _REF.fullmatch(name) or ".." in name or name.endswith((".", "@")):
        raise InvalidNameError(what=what, name=name, rule=rule)
    return name


def check_new_ref(name: str, *, what: str = "Branch") -> str:
    """Returns the name of a branch or tag to be made unchanged, or says what is wrong with it.

    Raises:
        InvalidNameError: `check_ref` refuses it, or it reads as a commit id and would hide the commit of that id.
    """
    if _COMMIT_ID.fullmatch(name):
        raise InvalidNameError(what=what, name=name, rule="It reads as a commit id, and would hide that commit.")
    return check_ref(name, what=what)
