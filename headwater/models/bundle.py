"""The model bundle: a folder with everything that a prediction needs, and nothing that runs code when read.

Equal training data gives equal bytes: no time, host, path or random id is in it. `digests.json` is written last, so a
folder without it is half-written, and every read checks every file against it.
"""

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar

from headwater.models._environment import environment_lock
from headwater.models._json import file_digest, from_text, to_text
from headwater.models.declarations import LightGBMModel, LogisticBaseline, ModelDeclaration, declaration_from_json
from headwater.models.errors import BundleError, BundleExistsError, RecordError, ReservedFileError
from headwater.models.preprocessing import Preprocessing
from headwater.models.request_schema import RequestSchema
from headwater.models.signature import Signature
from headwater.models.training import Predictor, Scorer, TrainedModel

_T = TypeVar("_T")

FORMAT: Final = 1
DIGESTS_FILE: Final = "digests.json"
DECLARATION_FILE: Final = "declaration.json"
PREPROCESSING_FILE: Final = "preprocessing.json"
SIGNATURE_FILE: Final = "signature.json"
THRESHOLD_FILE: Final = "threshold.json"
REFERENCE_FILE: Final = "training_reference.json"
ENVIRONMENT_FILE: Final = "environment.lock"
METRICS_FILE: Final = "metrics.json"
MLMODEL_FILE: Final = "MLmodel"
REQUEST_FILE: Final = "request.json"
WEIGHTS_PREFIX: Final = "model."

_TOLERATED: Final = frozenset({"registered_model_meta"})
"""What MLflow writes into its own copy of a bundle when it loads it from the registry; nothing reads it here."""

IDENTITY: Final = (
    f"{WEIGHTS_PREFIX}*",
    DECLARATION_FILE,
    PREPROCESSING_FILE,
    SIGNATURE_FILE,
    THRESHOLD_FILE,
    REFERENCE_FILE,
    METRICS_FILE,
    REQUEST_FILE,
)
"""The files that say which model it is: all but the environment's lock, `MLmodel`, digests and extra files."""


@dataclass(frozen=True, kw_only=True)
class Bundle(Predictor):
    """A model read from its folder.

    Attributes:
        metrics: Facts of the training.
        reference: Profile of the training features.
        environment: Lines `name==version` of what was installed, interpreter first.
        digests: Sha256 by file name.
        request: How its inputs come from a request; None for a model that no product has.
    """

    metrics: Mapping[str, Any]
    reference: Mapping[str, Any]
    environment: str
    digests: Mapping[str, str]
    request: RequestSchema | None = None


def write_bundle(
    folder: Path,
    trained: TrainedModel,
    *,
    extra_files: Mapping[str, bytes] | None = None,
    environment: str | None = None,
    request: RequestSchema | None = None,
) -> Bundle:
    """Writes `trained` into `folder` and gives it as read back from there.

    Args:
        folder: New or empty directory.
        trained: The model.
        extra_files: Further files by relative name, such as a drift reference; covered by the digests.
        environment: Text of `environment.lock`; None describes this process.
        request: How the model's inputs come from a request.

    Raises:
        BundleExistsError: The folder has files.
        ReservedFileError: An extra file would leave the folder or replace a file of the bundle.
    """
    if folder.exists() and (found := [item.name for item in folder.iterdir()]):
        raise BundleExistsError(folder=str(folder), found=found)
    files = _own_files(trained, environment_lock() if environment is None else environment)
    if request is not None:
        files[REQUEST_FILE] = to_text(request.to_json()).encode()
    for name, content in (extra_files or {}).items():
        files[_extra_name(name, files)] = content
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in sorted(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    digests = {name: file_digest(folder / name) for name in sorted(files)}
    (folder / DIGESTS_FILE).write_text(to_text({"format": FORMAT, "sha256": digests}), encoding="utf-8")
    return read_bundle(folder)


def read_request(folder: Path) -> tuple[RequestSchema | None, tuple[str, ...]]:
    """What a bundle says of requests, and what its model reads, without its weights; None for one that says nothing of them.

    Raises:
        BundleError: A file cannot be used; the message names it.
    """
    if not (folder / REQUEST_FILE).is_file():
        return None, ()
    features = tuple(_parsed(folder, PREPROCESSING_FILE, Preprocessing.from_json).schema)
    return _parsed(folder, REQUEST_FILE, RequestSchema.from_json), features


def read_bundle(folder: Path, *, for_service: bool = False) -> Bundle:
    """The model in `folder`, after checking every file. Needs Polars, NumPy and the library of the weights alone.

    Args:
        folder: The bundle.
        for_service: Takes a scorer that loads and scores single rows fast, with the same scores.

    Raises:
        BundleError: A file is missing, changed, unlisted or unreadable; the message names it.
        MissingPackageError: The library that scores this kind of model is not installed.
    """
    digests = _verified(folder)
    declaration = _parsed(folder, DECLARATION_FILE, declaration_from_json)
    preprocessing = _parsed(folder, PREPROCESSING_FILE, Preprocessing.from_json)
    if _parsed(folder, SIGNATURE_FILE, Signature.from_json) != Signature.of(preprocessing):
        raise BundleError(folder=str(folder), file=SIGNATURE_FILE, problem=f"disagrees with {PREPROCESSING_FILE}")
    return Bundle(
        declaration=declaration,
        preprocessing=preprocessing,
        scorer=_parsed(
            folder, DECLARATION_FILE, lambda _: _load_scorer(declaration, _weights(folder, digests), for_service)
        ),
        threshold=_parsed(folder, THRESHOLD_FILE, lambda raw: float(raw["threshold"])),
        metrics=_parsed(folder, METRICS_FILE, dict),
        reference=_parsed(folder, REFERENCE_FILE, dict),
        environment=(folder / ENVIRONMENT_FILE).read_text(encoding="utf-8"),
        digests=digests,
        request=_parsed(folder, REQUEST_FILE, RequestSchema.from_json) if REQUEST_FILE in digests else None,
    )


def _own_files(trained: TrainedModel, environment: str) -> dict[str, bytes]:
    texts = {
        DECLARATION_FILE: to_text(trained.declaration.to_json()),
        PREPROCESSING_FILE: to_text(trained.preprocessing.to_json()),
        SIGNATURE_FILE: to_text(trained.signature.to_json()),
        THRESHOLD_FILE: to_text({"threshold": trained.threshold}),
        REFERENCE_FILE: to_text(trained.reference),
        METRICS_FILE: to_text(dict(trained.metrics)),
        ENVIRONMENT_FILE: environment,
        MLMODEL_FILE: _mlmodel(trained.signature),
    }
    return {**{name: text.encode() for name, text in texts.items()}, **trained.scorer.files()}


def _mlmodel(signature: Signature) -> str:
    """MLflow's description of the folder. JSON is YAML, so no YAML writer decides the bytes."""
    flavor = {"loader_module": "headwater.models.pyfunc", "python_version": platform.python_version()}
    return json.dumps({"flavors": {"python_function": flavor}, "signature": signature.to_mlflow()}, indent=2) + "\n"


def _extra_name(name: str, taken: Mapping[str, bytes]) -> str:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or str(path) != name or "\\" in name:
        raise ReservedFileError(name=name, reason="is not a plain relative name")
    if name in taken or name in (DIGESTS_FILE, REQUEST_FILE) or name in _TOLERATED or name.startswith(WEIGHTS_PREFIX):
        raise ReservedFileError(name=name, reason="is a name of the bundle itself")
    return name


def _verified(folder: Path) -> dict[str, str]:
    """Sha256 by name, after comparing each with its file."""
    where = str(folder)
    if not (folder / DIGESTS_FILE).is_file():
        raise BundleError(
            folder=where, file=DIGESTS_FILE, problem="is missing: the folder is half-written or no bundle"
        )
    written, digests = _parsed(folder, DIGESTS_FILE, lambda raw: (raw["format"], dict(raw["sha256"])))
    if written != FORMAT:
        raise BundleError(
            folder=where, file=DIGESTS_FILE, problem=f"says format {written}, this Headwater reads {FORMAT}"
        )
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    for name in sorted((present | set(digests)) - {DIGESTS_FILE} - _TOLERATED):
        if name not in present:
            raise BundleError(folder=where, file=name, problem="is missing")
        if name not in digests:
            raise BundleError(folder=where, file=name, problem=f"is not listed in {DIGESTS_FILE}")
        if file_digest(folder / name) != digests[name]:
            raise BundleError(
                folder=where, file=name, problem=f"was changed: its sha256 is not the one in {DIGESTS_FILE}"
            )
    own = (DECLARATION_FILE, PREPROCESSING_FILE, SIGNATURE_FILE, THRESHOLD_FILE, METRICS_FILE, REFERENCE_FILE)
    for name in (*own, ENVIRONMENT_FILE, MLMODEL_FILE):
        if name not in digests:
            raise BundleError(folder=where, file=name, problem="is missing")
    return digests


def _parsed(folder: Path, name: str, parse: Callable[[dict[str, Any]], _T]) -> _T:
    """What `parse` makes of the JSON file `name`; a `BundleError` naming the file when it makes nothing of it."""
    try:
        return parse(from_text((folder / name).read_text(encoding="utf-8"), record=name))
    except (RecordError, KeyError, TypeError, ValueError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise BundleError(folder=str(folder), file=name, problem=f"cannot be used ({reason})") from error


def _weights(folder: Path, digests: Mapping[str, str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in digests if name.startswith(WEIGHTS_PREFIX)}


def _load_scorer(declaration: ModelDeclaration, weights: Mapping[str, bytes], for_service: bool) -> Scorer:
    if isinstance(declaration, LightGBMModel) and for_service:
        from headwater.models.lightgbm_adapter import FILE
        from headwater.models.lightgbm_native import NativeLightGBMScorer

        return NativeLightGBMScorer(weights[FILE])
    if isinstance(declaration, LightGBMModel):
        from headwater.models.lightgbm_adapter import load as load_lightgbm

        return load_lightgbm(weights)
    if isinstance(declaration, LogisticBaseline):
        from headwater.models.logistic_adapter import load as load_logistic

        return load_logistic(weights)
    from headwater.models.torch_adapter import load as load_torch

    return load_torch(weights)
