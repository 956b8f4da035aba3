"""What a product says of requests, and whether it fits what the released versions were trained to be asked."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from assets._chain._paths import ChainPaths
from assets._chain._versions import Versions
from headwater.product import Inputs, Product

if TYPE_CHECKING:
    from headwater.monitoring import ServiceLevels


def levels_of(product: Product) -> "ServiceLevels":
    """What the service promises: as declared, or the usual."""
    from headwater.monitoring import ServiceLevels

    return product.service_levels or ServiceLevels()


def drawn_by(product: Product) -> tuple[str, ...]:
    """Request fields by which a policy draws."""
    return product.serving.assign_by or (product.labels.key if product.labels else ())


def undrawable(product: Product, policy: Mapping[str, Any], versions: Versions) -> tuple[str, ...]:
    """Fields that a policy would draw by and that the version which reads the requests does not know.

    Empty where nothing is drawn, where the policy cannot be (the release says so) or where the version says nothing of requests.
    """
    from serving.policies import PolicyError, draws, from_json
    from serving.policies import versions as named

    try:
        read = from_json(policy)
    except PolicyError:
        return ()
    schema = versions.asked(named(read)[0])[0] if draws(read) else None
    if schema is None:
        return ()
    known = {schema.time, *(field.name for field in schema.fields)}
    return tuple(name for name in drawn_by(product) if name not in known)


def hidden(product: Product, released: Iterable[str], versions: Versions) -> list[str]:
    """Fields and features that the log must not hold, of those that a released version has.

    The declaration knows them all; one that only a newer version has means nothing to older ones, and must not keep a
    product from rolling back to them.
    """
    known: set[str] = set()
    for version in released:
        schema, features = versions.asked(version)
        if schema is None:
            return list(product.serving.redacted)
        known |= {*features, *(field.name for field in schema.fields)}
    return [name for name in product.serving.redacted if name in known]


def unanswerable(product: Product, policy: Mapping[str, Any], versions: Versions, inputs: Inputs) -> str:
    """What online features lack that the versions of a policy look up together, in words.

    Empty where the declared views have everything, which the next build publishes, or something that was published has; where a
    single version answers; where nothing was published yet; and where the policy cannot be (the release says so).
    """
    from headwater.models.request_schema import ViewUse
    from serving.fitting import contents, dtypes_of, first_fitting, misfit
    from serving.policies import PolicyError, from_json
    from serving.policies import versions as named

    try:
        names = named(from_json(policy))
    except PolicyError:
        return ""
    reads = {name: schema.views for name in names if (schema := versions.asked(name)[0]) is not None}
    if len(reads) < 2:
        return ""
    uses = [use for looked_up in reads.values() for use in looked_up]
    trained = {name: dtype for use in uses for name, dtype in dtypes_of(use).items()}
    declared = {}
    for view in product.features:
        features = tuple(view.outputs.values())
        dtypes, entity = (tuple(trained.get(name, "") for name in given) for given in (features, view.keys))
        declared[view.name] = ViewUse(name=view.name, keys=view.keys, features=features, dtypes=dtypes, entity=entity)
    if not misfit(uses, declared):
        return ""
    path = ChainPaths(product=product.name).online_features
    commits = (commit.id for commit in inputs.history(path))
    found, problem = first_fitting(contents(commits, lambda id: inputs.previous(path, commit=id), path), reads)
    return "" if found is not None else problem


def told_unanswerable(product: str, problem: str) -> str:
    """What to do about it."""
    return (
        f"No online features of {product!r} have what all versions of the policy look up. Of the newest: {problem}. "
        "Promote one version to everything instead."
    )


def told_undrawable(product: str, names: tuple[str, ...]) -> str:
    """What to do about them."""
    return (
        f"The policy draws by {', '.join(names)}, which requests to its first version of {product!r} do not have: it would draw "
        "everybody alike. Promote a version that knows them to everything first, or mend Serving(assign_by=...)."
    )
