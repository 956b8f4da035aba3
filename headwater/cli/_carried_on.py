"""Which publications the streams of a product carry on: the newest features, and those of an older shape that a release still reads."""

from dataclasses import dataclass, replace

from headwater.features import FeatureView, StreamedView
from headwater.features.errors import FeatureViewError
from headwater.features.online import OnlineVersion, OnlineView
from headwater.features.online._content import read_shape
from headwater.features.online._extension import EXTENDED
from headwater.lake import Lake
from headwater.product import Product
from serving.deployment import read_deployment
from serving.errors import NotReleasedError, UnfitFeaturesError
from serving.publication import store_name


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What streams make for one publication.

    Attributes:
        product: The product with the views as they are published there, and the streams that make them.
        left: What no stream makes any more, each a sentence.
    """

    product: Product
    left: tuple[str, ...]


def carried(product: Product, there: OnlineVersion) -> Carried:
    """How a product's streams carry on what is published, whose views may be of another shape than it declares.

    A view is made by the stream of its name, or by one of the same table where it had another name.

    Args:
        product: The product as it is declared.
        there: What is published.
    """
    made: list[tuple[FeatureView, StreamedView]] = []
    left: list[str] = []
    for view in there.views.values():
        found = _stream_of(product, view)
        if found is None:
            if view.content.endswith(EXTENDED):
                left.append(f"view {view.name!r} of {there.product}: no stream makes the table {view.path} any more")
            continue
        try:
            made.append(_as_published(*found, view))
        except FeatureViewError as error:
            left.append(f"view {view.name!r} of {there.product}: {error}")
    wanted = Product(
        name=product.name,
        question=product.question,
        owners=product.owners,
        events=product.events,
        features=tuple(view for view, _ in made),
        streams=tuple(streamed for _, streamed in made),
    )
    return Carried(product=wanted, left=tuple(left))


def _stream_of(product: Product, view: OnlineView) -> tuple[FeatureView, StreamedView] | None:
    declared = {one.name: one for one in product.features}
    pairs = [(declared[streamed.view], streamed) for streamed in product.streams]
    same = [pair for pair in pairs if pair[0].name == view.name] or [
        pair for pair in pairs if pair[0].path == view.path
    ]
    return same[0] if same else None


def _as_published(declared: FeatureView, streamed: StreamedView, view: OnlineView) -> tuple[FeatureView, StreamedView]:
    """Raises FeatureViewError where the published features cannot be those of the declared table."""
    features = tuple(name.removeprefix(declared.prefix) for name in view.features)
    if view.keys != declared.keys or any(not name.startswith(declared.prefix) for name in view.features):
        problem = f"it is published with {', '.join(view.features)} by {', '.join(view.keys) or 'nothing'}."
        remedy = f"Its prefix is {declared.prefix!r} and its entity {', '.join(declared.keys) or 'none'} now: release a model of these."
        raise FeatureViewError(view=view.name, problem=problem, remedy=remedy)
    defaults = {name: value for name, value in declared.defaults.items() if name in features}
    return replace(declared, name=view.name, features=features, defaults=defaults), replace(streamed, view=view.name)


def older_name(lake: Lake, product: str) -> str | None:
    """Where the features are published that the released versions are answered from, None where these are the newest.

    Args:
        lake: The lake.
        product: The product.

    Raises:
        ModelNotFoundError, PolicyError, StatementError, BundleError: The release cannot be followed.
        LakeError: The lake is away.
    """
    try:
        deployment = read_deployment(lake, product)
    except (NotReleasedError, UnfitFeaturesError):
        return None
    if not deployment.online_commit:
        return None
    return store_name(product, read_shape(lake.at(deployment.online_commit).folder(f"{product}/online_features")))
