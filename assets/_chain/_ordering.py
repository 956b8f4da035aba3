"""What an order about a release would do, before it is given: the same rules, over the same reading of the lake."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from assets._chain._paths import ChainPaths
from assets._chain._release import named_versions, standing_statement
from assets._chain._rules_of_requests import told_unanswerable, told_undrawable, unanswerable, undrawable
from assets._chain._versions import Versions
from headwater.decisions import (
    CHANGES_NOTHING,
    Judged,
    Order,
    OrderKind,
    OrderRefusedError,
    Release,
    heed,
    policy_versions,
)
from headwater.errors import HeadwaterError
from headwater.product import Inputs, Product
from headwater.release_orders import read_orders


class NotReleasedYetError(HeadwaterError):
    """An order about a product of which nothing is live."""

    def __init__(self, *, product: str) -> None:
        self.product = product
        super().__init__(f"Nothing of {product!r} is released yet. Build it first: `headwater build {product}`.")


class NoVersionError(HeadwaterError):
    """An order that names no version, where none suggests itself."""

    rule = "version"
    is_awaited = False

    def __init__(self, *, product: str, problem: str) -> None:
        self.product = product
        self.evidence: Mapping[str, Any] = {}
        super().__init__(
            f"{product}: {problem}. Name one with --to; `headwater model list --product {product}` shows all."
        )


Choose = Callable[[Inputs, Callable[[str | None], Order]], Order]


def chosen_once(product: Product, *, kind: OrderKind, version: str | None, policy: Mapping[str, Any] | None) -> Choose:
    """Makes one order, tried again where others were quicker: it stays about the version that it was about at first.

    Who rolls back means what is live then. Were the version chosen anew after a roll-back by somebody else, two who see the
    same trouble would go back twice; so the second is told that it is done.

    Args:
        product: The product.
        kind: What is ordered.
        version: The named one, or None.
        policy: The ordered policy, or None.

    Returns:
        From the inputs that a release reads, and what makes an order of a version, the order. Raises as `checked_order`.
    """
    found = version

    def choose(inputs: Inputs, make: Callable[[str | None], Order]) -> Order:
        nonlocal found

        def kept(name: str | None) -> Order:
            nonlocal found
            found = name
            return make(name)

        return checked_order(inputs, product, kept, kind=kind, version=found, policy=policy)

    return choose


def checked_order(inputs: Inputs, product: Product, make: Callable[[str | None], Order], **asked: Any) -> Order:
    """An order that can be followed as things are, its version filled in.

    The version is chosen by what is live; whether it can be followed, by what will be once all orders are heard.

    Args:
        inputs: As the release reads them.
        product: The product.
        make: From a version the order.
        asked: See `version_of_order`.

    Raises:
        NotReleasedYetError: Nothing is live.
        NoVersionError: It needs a version and none suggests itself.
        OrderRefusedError: It cannot be followed.
    """
    statement, _ = standing_statement(inputs, ChainPaths(product=product.name))
    if not statement:
        raise NotReleasedYetError(product=product.name)
    versions = Versions(inputs, product)
    live = Release.from_json(statement)
    now = _with_pending(live, inputs, product, versions)
    order = make(version_of_order(live, product.name, newest=versions.newest, **asked))
    candidate, judged = versions.candidate(), _judged(versions, order)
    try:
        after = heed(now, order, candidate=candidate, judged=judged)
        if after.policy != now.policy:
            _check_servable(order, after, inputs, product, versions)
    except OrderRefusedError as error:
        error.evidence = {"release": now.to_json(), "judged": {name: one.to_json() for name, one in judged.items()}}
        error.is_awaited = error.rule == CHANGES_NOTHING and not _changes_nothing(live, order, candidate, judged)
        raise
    return order


def _changes_nothing(release: Release, order: Order, candidate: Judged | None, judged: Mapping[str, Judged]) -> bool:
    """Whether what is ordered stands already."""
    try:
        heed(release, order, candidate=candidate, judged=judged)
    except OrderRefusedError as error:
        return error.rule == CHANGES_NOTHING
    return False


def _check_servable(order: Order, after: Release, inputs: Inputs, product: Product, versions: Versions) -> None:
    """Raises OrderRefusedError for a policy that the service could not follow."""
    rule, problem = "", ""
    if unknown := undrawable(product, after.policy, versions):
        rule, problem = "undrawable", told_undrawable(product.name, unknown)
    elif unfit := unanswerable(product, after.policy, versions, inputs):
        rule, problem = "unanswerable", told_unanswerable(product.name, unfit)
    if rule:
        said = problem.removesuffix(".")
        raise OrderRefusedError(order=order, rule=rule, problem=said, remedy="Nothing was ordered.")


def version_of_order(
    now: Release,
    product: str,
    *,
    kind: OrderKind,
    version: str | None,
    policy: Mapping[str, Any] | None,
    newest: str,
) -> str | None:
    """The version that an order is about: the named one; else the newest to promote, the one before to roll back to.

    Args:
        now: What is live.
        product: The product's name.
        kind: What is ordered.
        version: The named one, or None.
        policy: The ordered policy, or None.
        newest: The newest published version.

    Raises:
        NoVersionError: None suggests itself.
    """
    if version is not None or kind in (OrderKind.HOLD, OrderKind.RESUME):
        return version
    if kind is OrderKind.PROMOTE:
        return policy_versions(policy)[0] if policy is not None else newest
    if kind is OrderKind.ROLLBACK:
        if (back := now.back_to()) is None:
            raise NoVersionError(product=product, problem=f"nothing was live before {now.version} that could be again")
        return back
    raise NoVersionError(product=product, problem=f"{kind.value} needs a version")


def _with_pending(now: Release, inputs: Inputs, product: Product, versions: Versions) -> Release:
    """The release after orders that were given and that no release has heard yet."""
    if (past := inputs.previous(path := ChainPaths(product=product.name).release_orders)) is None:
        return now
    for order in read_orders(past.table(path)):
        if order.id in now.heard:
            continue
        now = replace(now, heard=(*now.heard, order.id))
        try:
            now = heed(now, order, candidate=versions.candidate(), judged=_judged(versions, order))
        except OrderRefusedError:
            continue
    return now


def _judged(versions: Versions, order: Order) -> Mapping[str, Judged]:
    names = named_versions(order.version, order.policy)
    return {name: found for name in sorted(names) if (found := versions.judged(name)) is not None}
