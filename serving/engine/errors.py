"""Errors of answering requests. What the caller did wrong is a `RequestError` and names the field."""

from collections.abc import Mapping, Sequence

from serving.errors import ServingError, shortened


class RequestError(ServingError):
    """A request that cannot be answered as it is.

    Attributes:
        fields: What is wrong, by field; empty when it is none of them.
    """

    def __init__(self, message: str, *, fields: Mapping[str, str] | None = None) -> None:
        self.fields = dict(fields or {})
        super().__init__(message)


class FieldsError(RequestError):
    """Fields are missing, unknown, or have values that they cannot have."""

    def __init__(self, *, product: str, fields: Mapping[str, str]) -> None:
        said = "; ".join(f"{name!r} {problem}" for name, problem in fields.items())
        super().__init__(f"A request to {product!r}: {said}.", fields=fields)


class RequestTimeError(RequestError):
    """A prediction time that nothing can be said about."""

    def __init__(self, *, time: str, problem: str) -> None:
        super().__init__(f"The prediction time {time} {problem}.", fields={"time": problem})


class RefusedLookupError(RequestError):
    """A time or an entity that the online store answers for no version: what became of it says nothing about who was drawn."""


class RefusedValuesError(RequestError):
    """Values that a declared function cannot use. Another version may have an answer to them (`Engine.others_take`)."""


class ExplanationError(RequestError):
    """An explanation of a model that gives none."""

    def __init__(self, *, product: str, version: str, kind: str) -> None:
        super().__init__(f"{product}@{version} is a {kind} model, which explains nothing. Ask without 'explain'.")


class VersionFaultError(ServingError):
    """A version that failed on a request by no doing of its caller: its function, its model or its record of the answer."""

    def __init__(self, *, product: str, version: str, error: Exception) -> None:
        self.product, self.version = product, version
        super().__init__(
            f"{product}@{version} failed on this request ({type(error).__name__}), by a fault of its own and none of the request. The "
            "service's log says where."
        )


class VersionNotServedError(ServingError):
    """A version that this service has not loaded.

    Attributes:
        product, version: What was asked for.
        is_known: Whether it was released once. Of other names anybody may invent as many as they like.
    """

    def __init__(self, *, product: str, version: str, served: Sequence[str], is_known: bool = False) -> None:
        self.product, self.version, self.is_known = product, version, is_known
        super().__init__(
            f"{product}@{shortened(version)} is not served here; served are {', '.join(sorted(served))}. `headwater release status {product}` "
            "says what is live."
        )


class VersionRetiredError(ServingError):
    """A version that was taken out of service for good."""

    def __init__(self, *, product: str, version: str, served: Sequence[str]) -> None:
        self.product, self.version = product, version
        super().__init__(
            f"{product}@{version} is retired and answers nobody any more; served are {', '.join(sorted(served))}. Ask without a "
            "version, or for one of these."
        )


class NotServableError(ServingError):
    """A model without a request schema."""

    def __init__(self, *, product: str, version: str) -> None:
        super().__init__(
            f"{product}@{version} does not say what a request holds: an older Headwater trained it. Build the product again "
            f"(`headwater build {product}`) and release the new version."
        )


class UnfitModelError(ServingError):
    """A model whose inputs the online features do not hold."""

    def __init__(self, *, product: str, version: str, problem: str) -> None:
        super().__init__(
            f"{product}@{version} does not fit the online features: {problem}. What was served before goes on. Build the product "
            "again, so that both come from one declaration."
        )


class FunctionChangedError(ServingError):
    """A function of on-demand features that is not the one of the training."""

    def __init__(self, *, product: str, version: str, function: str, problem: str) -> None:
        super().__init__(
            f"{product}@{version} computes features with {function}, {problem}. What was served before goes on. Start the service "
            "from the code that trained the model, or train it again with this code."
        )


class UnknownFieldsError(ServingError):
    """A release whose rules for requests name fields that no request has."""

    def __init__(self, *, product: str, rule: str, names: Sequence[str], known: Sequence[str]) -> None:
        self.product, self.rule, self.names = product, rule, tuple(names)
        super().__init__(
            f"The release of {product!r} says {rule} = {', '.join(names)}, which no request to it has; known are "
            f"{', '.join(known)}. What was served before goes on. Mend Serving({rule}=...) and publish the release again."
        )
