"""The names that a request may hold, as far as a declaration says them: before anything is trained, and without any dtype."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headwater.features import FeatureView, OnDemandFeatures
    from headwater.product import Product

TIME_NAME: Final = "time"
"""How requests call their prediction time. As tensors it stands among the fields, so none of them may have this name."""


def functions_read(
    on_demand: "Sequence[OnDemandFeatures]", features: Iterable[str]
) -> "tuple[tuple[OnDemandFeatures, ...], set[str]]":
    """The functions whose outputs somebody reads, in order, and all names that are read then.

    Args:
        on_demand: On-demand features of a product, in order.
        features: What the model reads.
    """
    needed, used = set(features), []
    for one in reversed(on_demand):
        if needed & set(one.outputs):
            needed |= set(one.inputs)
            used.append(one)
    return tuple(reversed(used)), needed


def given_names(views: "Sequence[FeatureView]", on_demand: "Sequence[OnDemandFeatures]") -> set[str]:
    """Names that are looked up or computed, so that no request holds them."""
    looked_up = {name for view in views for name in view.outputs.values()}
    return looked_up | {name for one in on_demand for name in one.outputs}


def request_names(product: "Product") -> frozenset[str]:
    """The fields of a request to a product with a model and labels; its prediction time stands beside them and is none."""
    assert product.model is not None
    assert product.labels is not None
    _, needed = functions_read(product.on_demand, product.model.features)
    keys = {key for view in product.features if needed & set(view.outputs.values()) for key in view.keys}
    asked = needed - given_names(product.features, product.on_demand)
    return frozenset((asked | keys | {*product.labels.key}) - {product.labels.time})
