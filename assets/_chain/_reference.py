"""What is kept with a model to compare its service with: distributions of what it learned from, and of what it was judged on."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._paths import ChainPaths
from assets._chain._release import RELEASE_FILE, RUN_FILE
from headwater.models.bundle import PREPROCESSING_FILE
from headwater.models.preprocessing import Preprocessing
from headwater.product import Inputs, Model, Product

if TYPE_CHECKING:
    from headwater.drift import ReferenceProfile
    from headwater.monitoring import CalibrationReference, SeasonalReference

FEATURES_FILE: Final = "drift_reference.parquet"
"""In the bundle: profile of the watched features of the train part."""
MONTH_FILE: Final = "drift_reference_{:02}.parquet"
"""In the bundle: the same of its rows of one calendar month."""
SCORES_FILE: Final = "scores.parquet"
"""In the evaluation: profile of the scores of the test part."""
_POINTS: Final = 2_000
"""Values kept of a numeric column: cumulative shares are off by 1/2000 at most."""
_MONTH_POINTS: Final = 500


@dataclass(frozen=True, kw_only=True)
class LiveReference:
    """What is known of the version that is live.

    Attributes:
        version: The version.
        preprocessing: The model's inputs.
        features: Profile of its training features; None in a bundle that an older Headwater wrote.
        scores: Profile of its scores on its test rows; None likewise.
        calibration: How well it was calibrated on them; None where that is undefined.
        months: Profiles of its training features by calendar month; empty in a bundle without them.
    """

    version: str
    preprocessing: Preprocessing
    features: "ReferenceProfile | None"
    scores: "ReferenceProfile | None"
    calibration: "CalibrationReference | None"
    months: "Mapping[int, ReferenceProfile]" = field(default_factory=dict)

    def by_season(self, product: Product, whole: "ReferenceProfile | pl.DataFrame") -> "SeasonalReference":
        """What windows are compared with: months of their season as declared, or the whole."""
        from headwater.monitoring import SeasonalReference

        months = self.months if product.drift.by_season else {}
        return SeasonalReference(
            whole=whole, months=months, zone=product.split.timezone, min_rows=product.drift.min_rows
        )

    def watched(self, product: Product) -> tuple[str, ...]:
        """The watched features that this version reads: what is declared since waits for a version that knows it."""
        there = self.preprocessing.names if self.features is None else self.features.columns
        return tuple(name for name in watched_features(product) if name in self.preprocessing.names and name in there)

    def categories(self, product: Product) -> tuple[str, ...]:
        """Those of them that are categories to it."""
        return tuple(name for name in self.watched(product) if name in self.preprocessing.categorical)


def watched(product: Product) -> tuple[str, ...]:
    """Columns whose drift is watched: the declared ones, or all features."""
    return product.drift.columns or model_of(product).features


def watched_categories(product: Product) -> tuple[str, ...]:
    """Those of them whose numbers are codes."""
    return tuple(name for name in model_of(product).categorical if name in watched(product))


def watched_features(product: Product) -> tuple[str, ...]:
    """Those of them that the model reads and the prediction log may hold, so that a prediction says them."""
    said = [name for name in model_of(product).features if name not in product.serving.redacted]
    return tuple(name for name in watched(product) if name in said)


def model_of(product: Product) -> Model:
    """The declared model of a product that has one."""
    assert product.model is not None
    return product.model


def kept_profile(rows: pl.DataFrame, *, categorical: Sequence[str] = (), points: int = _POINTS) -> bytes:
    """The profile of all columns, as a file's bytes, with about so many values of a numeric one."""
    from headwater.drift import profile, write_profile

    with tempfile.TemporaryDirectory(prefix="profile-") as name:
        file = Path(name) / "profile.parquet"
        write_profile(profile(rows, categorical=categorical).compress(points), file)
        return file.read_bytes()


def kept_months(
    rows: pl.DataFrame, moments: pl.Series, *, zone: str, categorical: Sequence[str] = ()
) -> dict[str, bytes]:
    """The profile of the rows of each calendar month, by the name of its file.

    Args:
        rows: What is profiled.
        moments: When each row is; a Datetime without a time zone counts as it stands.
        zone: Whose calendar it is.
        categorical: Columns whose numbers are codes.
    """
    is_zoned = isinstance(moments.dtype, pl.Datetime) and moments.dtype.time_zone is not None
    months = (moments.dt.convert_time_zone(zone) if is_zoned else moments).dt.month()
    return {
        MONTH_FILE.format(month): kept_profile(
            rows.filter(months == month), categorical=categorical, points=_MONTH_POINTS
        )
        for month in months.drop_nulls().unique().sort()
    }


def live_reference(inputs: Inputs, product: Product) -> LiveReference | None:
    """The reference of the released version, from its own bundle and evaluation; None before the first release.

    Args:
        inputs: Of an asset that names release, model and evaluation as `previous`.
    """
    paths = ChainPaths(product=product.name)
    released = inputs.previous(paths.release)
    if released is None:
        return None
    folder = released.folder(paths.release)
    run: dict[str, Any] = json.loads((folder / RUN_FILE).read_text())
    bundle = inputs.previous(paths.model, commit=run["model_commit"])
    if bundle is None:
        return None
    model = bundle.folder(paths.model)
    evaluation = live_evaluation(inputs, paths)
    return LiveReference(
        version=json.loads((folder / RELEASE_FILE).read_text())["version"],
        preprocessing=Preprocessing.from_json(json.loads((model / PREPROCESSING_FILE).read_text())),
        features=_profile(model / FEATURES_FILE),
        scores=None if evaluation is None else _profile(evaluation / SCORES_FILE),
        calibration=None if evaluation is None else _calibration(evaluation),
        months={month: found for month in range(1, 13) if (found := _profile(model / MONTH_FILE.format(month)))},
    )


def live_version(inputs: Inputs, paths: ChainPaths) -> str | None:
    """The version that is live now; None before the first release.

    Args:
        inputs: Of an asset that names the release as `previous`.
        paths: Of the product.
    """
    released = inputs.previous(paths.release)
    if released is None:
        return None
    found: str = json.loads((released.folder(paths.release) / RELEASE_FILE).read_text())["version"]
    return found


def live_evaluation(inputs: Inputs, paths: ChainPaths) -> Path | None:
    """The folder with the evaluation that the released version went live on; None before the first release, or without one.

    Args:
        inputs: Of an asset that names release and evaluation as `previous`.
        paths: Of the product.
    """
    released = inputs.previous(paths.release)
    if released is None:
        return None
    commit = json.loads((released.folder(paths.release) / RUN_FILE).read_text()).get("evaluation_commit")
    judged = inputs.previous(paths.evaluation, commit=commit) if commit else None
    return None if judged is None else judged.folder(paths.evaluation)


def live_metric(inputs: Inputs, paths: ChainPaths, name: str) -> float | None:
    """A metric of the released version as that evaluation found it; None where there is none, or it is undefined."""
    from assets._chain._evaluation import read_evaluation

    folder = live_evaluation(inputs, paths)
    return None if folder is None else read_evaluation(folder).numbers().get(name)


def _profile(file: Path) -> "ReferenceProfile | None":
    from headwater.drift import read_profile

    return read_profile(file) if file.is_file() else None


def _calibration(folder: Path) -> "CalibrationReference | None":
    from assets._chain._evaluation import read_evaluation
    from headwater.monitoring import CalibrationReference

    return CalibrationReference.of(read_evaluation(folder))
