"""How much each feature counted in a prediction, from the bundle that made it and the values that the log kept."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from headwater.lake import Lake
from headwater.lake.errors import LakeError
from headwater.models import Bundle, read_bundle
from headwater.models.errors import ModelError
from headwater.models.row_encoder import RowEncoder
from headwater.registry import ModelNotFoundError, model_version

_HELD: Final = 4


class Explainer:
    """Explains predictions of one product; the newest few models stay in memory."""

    def __init__(self, lake: Lake, product: str, *, branch: str) -> None:
        """Prepares.

        Args:
            lake: The lake.
            product: The product.
            branch: Whose history holds the versions.
        """
        self._lake, self._product, self._branch = lake, product, branch
        self._bundle = lru_cache(maxsize=_HELD)(self._read)

    def explain(self, version: str, features: Mapping[str, Any]) -> dict[str, float]:
        """By feature how far it moved the log odds, what moved them most first; empty where nothing can be said.

        Nothing can be said of an ensemble, of a model that gives no contributions, of features that the log does not keep, and of
        a bundle that is not there any more.

        Args:
            version: The version that answered.
            features: What it read, by name.
        """
        try:
            bundle = self._bundle(version)
            contributions = getattr(bundle.scorer, "contributions", None)
            encoder = RowEncoder(bundle.preprocessing)
            if contributions is None or not set(encoder.names) <= set(features):
                return {}
            row = contributions(encoder.encode([tuple(features[name] for name in encoder.names)]))[0]
        except (ModelNotFoundError, ModelError, LakeError):
            return {}
        found = dict(zip(encoder.names, (float(value) for value in row[:-1]), strict=True))
        return dict(sorted(found.items(), key=lambda item: -abs(item[1])))

    def _read(self, version: str) -> Bundle:
        found = model_version(self._lake, f"{self._product}@{version}", ref=self._branch)
        return read_bundle(self._lake.at(found.commit).folder(found.path), for_service=True)
