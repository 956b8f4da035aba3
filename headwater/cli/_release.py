"""`headwater release`: what is live, and steering it. An order is written, and the release is built from it, at once."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from headwater.cli._heard import built_until_heard
from headwater.cli._output import json_option, show_json, show_rows
from headwater.cli._times import instant
from headwater.decisions import Order, OrderKind

if TYPE_CHECKING:
    from assets._chain._ordering import NoVersionError
    from headwater.decisions import OrderRefusedError
    from headwater.lake import Lake
    from headwater.materialize import Outcome
    from headwater.product import Asset, Product
    from resources.settings import Settings

_STATUS: Final = (
    "product", "version", "policy", "since", "actor", "reason", "stage", "stage_waits_for", "held", "waits", "waits_for",
)  # fmt: skip
_HISTORY: Final = ("from", "until", "version", "policy", "what", "actor", "reason", "commit")
_CALLERS: Final = ("version", "state", "caller", "answered", "refused", "not_served", "first", "last")
_SAID: Final = (
    "version", "policy", "traffic", "reason", "actor", "order", "rollout", "waits", "waits_for", "held", "before", "barred",
    "deprecated", "retired", "refused",
)  # fmt: skip
"""What a release says of itself."""
_KNOWN: Final = ("since", "since_commit", "stage", "stage_waits_for", "ordered")
"""What else is known of it. `ordered` are the orders that it has not heard yet."""
_STEERED: Final = {
    OrderKind.HOLD: ("held",),
    OrderKind.RESUME: ("held",),
    OrderKind.DEPRECATE: ("retired",),
    OrderKind.RETIRE: ("retired",),
}
"""What an order of a kind changes in a release; any other one what answers."""
_Option = Callable[[Callable[..., None]], Callable[..., None]]

_reason: Final = click.option("--reason", required=True, help="Why; kept with the order.")
_to: Final = click.option("--to", "version", metavar="VERSION", help="The version.")


@click.group()
def release() -> None:
    """What is live: who answers which request, since when, by whose word; and changing it."""


@release.command()
@click.argument("product")
@_to
@click.option("--policy", metavar="FILE_OR_JSON", help="Traffic policy to promote under; default all at once.")
@_reason
@json_option
def promote(product: str, version: str | None, policy: str | None, reason: str, as_json: bool) -> None:
    """Makes a version live: --to, else the newest one. Its gates must hold. The newest version, if it is another, stays out."""
    _order(OrderKind.PROMOTE, product, version, reason, as_json, policy=_policy(policy))


@release.command()
@click.argument("product")
@_reason
@json_option
def hold(product: str, reason: str, as_json: bool) -> None:
    """Lets nothing new go live by itself, and no training begin, until `resume`. Trainings alone: `headwater retraining stop`."""
    _order(OrderKind.HOLD, product, None, reason, as_json)


@release.command()
@click.argument("product")
@_reason
@json_option
def resume(product: str, reason: str, as_json: bool) -> None:
    """Ends a hold."""
    _order(OrderKind.RESUME, product, None, reason, as_json)


@release.command()
@click.argument("product")
@_to
@_reason
@json_option
def rollback(product: str, version: str | None, reason: str, as_json: bool) -> None:
    """Back to what was live before, or to an earlier one with --to. What came after it is barred until it is promoted."""
    _order(OrderKind.ROLLBACK, product, version, reason, as_json)


@release.command()
@click.argument("product")
@click.option("--version", "--to", "version", required=True, metavar="VERSION", help="The version.")
@_reason
@json_option
def deprecate(product: str, version: str, reason: str, as_json: bool) -> None:
    """Warns callers of a version, with a header on its answers; it never goes live by itself."""
    _order(OrderKind.DEPRECATE, product, version, reason, as_json)


@release.command()
@click.argument("product")
@click.option("--version", "--to", "version", required=True, metavar="VERSION", help="The version.")
@_reason
@json_option
def retire(product: str, version: str, reason: str, as_json: bool) -> None:
    """Takes a version out of service for good. Not one that answers or scores: promote another one first."""
    _order(OrderKind.RETIRE, product, version, reason, as_json)


@release.command()
@click.argument("product", required=False)
@json_option
def status(product: str | None, as_json: bool) -> None:
    """What is live, under which policy, since when, by whose word; what waits and why."""
    from assets._products import product as find
    from assets._products import products

    settings, lake = _opened()
    chosen = [find(product)] if product else list(products())
    rows = [_status_row(lake, one.name, settings.branch) for one in chosen if one.model is not None]
    shown = [{**row, "policy": _kind(row["policy"])} for row in rows]
    show_rows(rows if as_json else shown, _STATUS, as_json=as_json, empty="No product has a model.")
    for row in rows:
        for order in row["ordered"] or ():
            told = f"{row['product']}: {_what(order)} was ordered by {order['actor']} at {order['time']}, and nobody has followed it yet."
            click.echo(f"{told} A build does: `headwater build {row['product']}`.", err=True)


@release.command()
@click.argument("product")
@click.option("--at", "at", metavar="TIME", help="What was live at this instant (ISO 8601; UTC without a zone).")
@json_option
def history(product: str, at: str | None, as_json: bool) -> None:
    """Each commit that changed the release, oldest first."""
    from assets._products import product as find
    from headwater.release_history import live_at, release_history

    settings, lake = _opened()
    name = find(product).name
    spans = release_history(lake, name, ref=settings.branch)
    if at is not None:
        if (moment := instant(at, "--at")) > datetime.now(UTC):
            raise click.UsageError(f"--at {at!r} is to come: what will be live then is not known.")
        found = live_at(spans, moment)
        spans = () if found is None else (found,)
    rows = [span.to_json() for span in spans]
    shown = [{**row, "policy": _kind(row["policy"]), "commit": row["commit"][:12]} for row in rows]
    shown = [{**row, "what": "; ".join(_what(order) for order in row["orders"])} for row in shown]
    empty = "Nothing was live then." if at else "Nothing was released yet."
    show_rows(rows if as_json else shown, _HISTORY, as_json=as_json, empty=empty)
    for span in spans:
        if not span.known:
            until = f"to {span.end.isoformat(timespec='seconds')}" if span.end is not None else "on"
            told = f"What was live of {name} from {span.start.isoformat(timespec='seconds')} {until} is not kept any more: "
            click.echo(f"{told}the content of commit {span.commit[:12]} was removed by `headwater lake gc`.", err=True)


@release.command("callers")
@click.argument("product")
@click.option("--version", metavar="VERSION", help="This version alone.")
@click.option("--since", metavar="TIME", help="Only calls from this instant on (ISO 8601; UTC without a zone).")
@json_option
def callers_(product: str, version: str | None, since: str | None, as_json: bool) -> None:
    """Who calls which version, the last call first: answers that are in the lake, refused calls of retired versions, and refused calls by
    name of versions that are not served."""
    from assets._chain._paths import ChainPaths
    from assets._chain._retention import dropped_until
    from assets._products import product as find
    from headwater.callers import callers
    from headwater.registry import ModelNotFoundError, model_versions
    from serving.retired_calls import RETIRED_FILE, read_retired_calls

    settings, lake = _opened()
    name = find(product).name
    states = {one.version: one.state.value for one in model_versions(lake, name, ref=settings.branch)}
    refused = read_retired_calls(settings.prediction_log / RETIRED_FILE, name)
    found = callers(
        lake.at(settings.branch),
        name,
        refused,
        states,
        version=version,
        since=None if since is None else instant(since, "--since"),
    )
    if version is not None and version not in states and not found:
        ever = callers(lake.at(settings.branch), name, refused, states, version=version)
        if not ever:  # as evidence before a retirement, `Nobody called.` is of a version that is there
            raise ModelNotFoundError(name=f"{name}@{version}", known=tuple(states))
    rows = [one.to_json() for one in found]
    shown = [{**row, "caller": row["caller"] or "(no key)"} for row in rows]
    show_rows(rows if as_json else shown, _CALLERS, as_json=as_json, empty="Nobody called.")
    gone = dropped_until(lake.at(settings.branch), ChainPaths(product=name).predictions)
    if gone is not None and (since is None or instant(since, "--since") <= gone):
        told = f"Answers that came in up to {gone.isoformat(timespec='seconds')} are no longer kept (Serving.keep): who called before then alone is not shown."
        click.echo(told, err=True)


def _order(
    kind: OrderKind,
    name: str,
    version: str | None,
    reason: str,
    as_json: bool,
    *,
    policy: Mapping[str, Any] | None = None,
) -> None:
    """Gives an order and builds the release from it."""
    from assets._chain._ordering import NoVersionError, chosen_once
    from assets._products import product as find
    from headwater.decisions import OrderRefusedError
    from headwater.materialize import RecordingInputs, Status
    from headwater.release_orders import give_order, unheard_orders
    from headwater.runtime import user

    settings, lake = _opened()
    product = find(name)
    orders, released = _assets(product)
    choose = chosen_once(product, kind=kind, version=version, policy=policy)

    def made(snapshot: Any, id: str) -> Order:
        inputs = RecordingInputs(lake=lake, snapshot=snapshot, asset=released)
        given = {
            "id": id,
            "time": datetime.now(UTC),
            "order": kind,
            "policy": policy,
            "reason": reason,
            "actor": user(),
        }

        def make(found: str | None) -> Order:
            return Order(**given, version=found)  # type: ignore[arg-type]

        return choose(inputs, make)

    def build(heard: Sequence[Order]) -> "Outcome":
        wanted = {one.id for one in heard}
        return built_until_heard(lake, released, settings, lambda: wanted.isdisjoint(one.id for one in unheard()))

    def unheard() -> Sequence[Order]:
        return unheard_orders(lake, product.name, ref=settings.branch)

    before, given_before = _steered(lake, product.name, settings.branch, kind), unheard()
    try:
        order = give_order(lake, orders, made, into=settings.branch, now=lambda: datetime.now(UTC))
    except (OrderRefusedError, NoVersionError) as error:
        # What is asked for may be ordered already, by somebody who was interrupted before it was followed.
        outcome = build(given_before) if given_before and error.is_awaited else None
        is_refused = outcome is not None and outcome.status is Status.REFUSED
        if outcome is None or (not is_refused and _steered(lake, product.name, settings.branch, kind) == before):
            asked = {"order": kind.value, "version": version, "policy": policy, "reason": reason}
            _keep_refused(lake, product, settings.branch, asked, error)
            raise
        order = given_before[-1]
        told = ", ".join(f"{_what(one.to_json())} by {one.actor} ({one.reason})" for one in given_before)
        heard = "not followed" if is_refused else "followed now"
        click.echo(f"headwater: ordered before, and {heard}: {told}. No other order was needed.", err=True)
    else:
        try:
            outcome = build((order,))
        except KeyboardInterrupt:
            told = f"The order is written: {_what(order.to_json())}. `headwater release status {name}` says whether it is followed."
            click.echo(told, err=True)
            raise
    row = _status_row(lake, product.name, settings.branch)
    said = _unfollowed(outcome, row, order)
    if as_json:
        show_json({**row, "order": order.to_json(), "problem": said})
    else:
        show_rows([{**row, "policy": _kind(row["policy"])}], _STATUS, as_json=False, empty="")
    if said:
        click.echo(f"headwater: {said}", err=True)
    if outcome.status is Status.REFUSED or said:
        raise click.exceptions.Exit(1)


def _keep_refused(
    lake: "Lake",
    product: "Product",
    branch: str,
    asked: Mapping[str, Any],
    error: "OrderRefusedError | NoVersionError",
) -> None:
    """Keeps an order that was heard and is refused, with what it was judged on."""
    from assets._chain._release_orders import release_refusals_asset
    from headwater.refusals import ORDER, Refusal, write_refusal
    from headwater.runtime import user

    def made(snapshot: Any, id: str) -> Refusal:
        return Refusal(
            id=id,
            time=datetime.now(UTC),
            what=ORDER,
            version=asked["version"],
            order=asked,
            rule=error.rule,
            reason=str(error),
            evidence=error.evidence,
            actor=user(),
            commit=snapshot.commit.id,
        )

    write_refusal(lake, release_refusals_asset(product), made, into=branch, now=lambda: datetime.now(UTC))


def _steered(lake: "Lake", product: str, branch: str, kind: OrderKind) -> Mapping[str, Any]:
    """What orders of a kind steer, as the release that stands has it."""
    from headwater.registry import release_statement

    statement = release_statement(lake, product, ref=branch)
    return {name: statement.get(name) for name in _STEERED.get(kind, ("version", "policy"))}


def _unfollowed(outcome: "Outcome", row: Mapping[str, Any], order: Order) -> str:
    """Why an order that was written did nothing; empty when it was followed."""
    from headwater.materialize import Status

    if outcome.status is Status.REFUSED:
        failed = [
            f"{check.name} ({check.facts.get('description', '')})" for check in outcome.checks if not check.passed
        ]
        return f"The order is written, but the release was refused: {'; '.join(failed)}. What was live stays."
    return str(row["refused"].get(order.id, ""))


def _status_row(lake: "Lake", product: str, branch: str) -> dict[str, Any]:
    """What a release says of itself and what is known of it; the same names, with nothing in them, before the first one."""
    from headwater.registry import release_statement
    from headwater.release_history import live_since, release_history
    from headwater.release_orders import unheard_orders

    statement = release_statement(lake, product, ref=branch)
    since = live_since(release_history(lake, product, ref=branch))
    row: dict[str, Any] = {"product": product, **dict.fromkeys((*_SAID, *_KNOWN))}
    if not statement or since is None:
        return {**row, "reason": "Nothing is released yet."}
    row |= {name: statement.get(name) for name in _SAID}
    row |= {"since": since.start.isoformat(timespec="seconds"), "since_commit": since.commit}
    row["actor"] = statement.get("actor") or since.actor
    row["ordered"] = [order.to_json() for order in unheard_orders(lake, product, ref=branch)]
    return {**row, **_stage(lake, product, branch, statement)}


def rollout_stage(lake: "Lake", product: str, branch: str) -> str:
    """Where the rollout in progress stands, empty when there is none."""
    from headwater.registry import release_statement

    statement = release_statement(lake, product, ref=branch)
    return _stage(lake, product, branch, statement)["stage"] if statement and statement.get("rollout") else ""


def _stage(lake: "Lake", product: str, branch: str, statement: Mapping[str, Any]) -> dict[str, str]:
    """Where a rollout, or the watch of the live version, stands, and what it waits for as of the newest decision."""
    from headwater.registry import rollout_decision

    if (found := _experiment(lake, product, branch, statement)) is not None:
        return found
    rolling, decided = statement.get("rollout"), rollout_decision(lake, product, ref=branch)
    candidate = rolling["candidate"] if rolling else statement["version"]
    is_newest = decided.get("candidate") == candidate and decided["where"] is not None
    if rolling is None:
        is_unseen = statement.get("watch") == "on" and not is_newest
        return {
            "stage": decided["where"] if is_newest else "the watch" if is_unseen else "",
            "stage_waits_for": decided["reason"] if is_newest else "No request was looked at yet." if is_unseen else "",
        }
    share = rolling["stages"][min(rolling["stage"], len(rolling["stages"]) - 1)]
    stage = "watch" if share >= 1 else f"{share:.0%}" if share else "shadow"
    is_here = is_newest and decided["share"] == share
    return {
        "stage": f"{candidate}: {stage}",
        "stage_waits_for": decided["reason"] if is_here else "No answer of this stage was looked at yet.",
    }


def _experiment(lake: "Lake", product: str, branch: str, statement: Mapping[str, Any]) -> dict[str, str] | None:
    """What a test of versions that stands says as of the newest decision; None when there is none."""
    from headwater.decisions import Release, same_experiment
    from headwater.registry import experiment_decision

    now = Release.from_json(statement)
    if not now.is_experiment:
        return None
    decided = experiment_decision(lake, product, ref=branch)
    standing = decided["evidence"]["standing"] if decided else None
    is_here = (
        standing is not None and standing["order"] == now.order and same_experiment(standing["policy"], now.policy)
    )
    waits_for = decided["reason"] if is_here else "No answer under this policy was looked at yet."
    kind = now.rollout.kind if now.rollout is not None else now.policy["kind"]
    return {"stage": f"{', '.join(now.versions)}: {kind}", "stage_waits_for": waits_for}


def _assets(product: "Product") -> "tuple[Asset, Asset]":
    """The declared orders and the declared release."""
    from assets._chain._paths import ChainPaths
    from assets._declared import declared

    paths, found = ChainPaths(product=product.name), {asset.path: asset for asset in declared(product)}
    if paths.release not in found:
        raise click.UsageError(f"Product {product.name!r} has no model, so it has no release.")
    return found[paths.release_orders], found[paths.release]


def _opened() -> "tuple[Settings, Lake]":
    from resources.opening import open_lake
    from resources.settings import load_settings

    settings = load_settings()
    return settings, open_lake(settings, create=False)


def _policy(said: str | None) -> dict[str, Any] | None:
    """The traffic policy that a text or a file holds, as the service writes it. Raises PolicyError."""
    from serving.policies import from_json, to_json

    if said is None:
        return None
    text = said
    if not said.lstrip().startswith("{"):
        try:
            text = Path(said).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(
                f"--policy {said!r} is neither JSON nor a file that can be read: {error}."
            ) from error
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--policy is no JSON: {error}.") from error
    if not isinstance(raw, dict):
        raise click.UsageError("--policy is JSON, but no object such as {'kind': 'canary', ...}.")
    return to_json(from_json(raw))


def _what(order: Mapping[str, Any]) -> str:
    """An order in two words."""
    return f"{order['order']} {order['version'] or ''}".rstrip()


def _kind(policy: Any) -> str:
    """A policy in one word and its share."""
    if not isinstance(policy, Mapping):
        return str(policy or "")
    share = f" {policy['share']:.0%} {policy['candidate']}" if "share" in policy else ""
    return f"{policy['kind']}{share}"
