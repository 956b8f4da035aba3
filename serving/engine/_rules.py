"""Whether what a release says of requests speaks of what requests have: fields to draw by, fields to hide."""

from collections.abc import Mapping

from serving.deployment import Deployment
from serving.engine._loaded import LoadedModel
from serving.engine.errors import UnknownFieldsError
from serving.policies import draws


def check_rules(deployment: Deployment, models: Mapping[str, LoadedModel]) -> None:
    """Refuses names that no request has.

    A policy that draws by a field that nobody sends would draw everybody alike; a field to hide that is written wrongly stands
    in the log.

    Args:
        deployment: What shall be served.
        models: Its loaded versions.

    Raises:
        UnknownFieldsError: It draws by names that requests lack, or hides what no version's requests and features have.
    """
    asked = models[deployment.live].schema  # reads every request that names no version
    named = {field.name for field in asked.fields} | {asked.time}
    if draws(deployment.policy):
        _check(deployment, "assign_by", deployment.assign_by, named)
    held = {name for model in models.values() for name in (*_fields(model), *model.encoder.names)}
    _check(deployment, "redacted", deployment.redacted, held)


def _fields(model: LoadedModel) -> tuple[str, ...]:
    return tuple(field.name for field in model.schema.fields)


def _check(deployment: Deployment, rule: str, names: tuple[str, ...], known: set[str]) -> None:
    if strange := [name for name in names if name not in known]:
        raise UnknownFieldsError(product=deployment.product, rule=rule, names=strange, known=sorted(known))
