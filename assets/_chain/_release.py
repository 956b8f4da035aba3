"""The release: which versions answer, by whose word, on which evidence. What it newly lets in has to pass the gates."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from assets._chain._declare import declared_values
from assets._chain._paths import ChainPaths
from assets._chain._release_orders import release_refusals_asset
from assets._chain._rules_of_requests import (
    drawn_by,
    hidden,
    levels_of,
    told_unanswerable,
    told_undrawable,
    unanswerable,
    undrawable,
)
from assets._chain._versions import Versions
from headwater.decisions import (
    Judged,
    NextRelease,
    NothingToReleaseError,
    Release,
    ReleaseInput,
    RolloutStep,
    next_release,
)
from headwater.lake import Kind
from headwater.lake.errors import PathNotFoundError
from headwater.models import Gate
from headwater.names import GATES_FACT, INTRODUCED_FACT, METRICS_FACT, RELEASED_FACT, STATEMENT_FACT
from headwater.product import Asset, Audit, Check, Inputs, Product, RejectedInputError, Result, Verdict
from headwater.release_orders import read_orders

RELEASE_FILE: Final = "release.json"
RUN_FILE: Final = "run.json"
DECISION_FILE: Final = "decision.json"
"""The whole input of the decision, beside what was decided."""
STEP_FILE: Final = "step.json"
_JUDGED: Final = "judged"
_UNDRAWABLE: Final = "undrawable"
_UNANSWERABLE: Final = "unanswerable"
_TOLD: Final = ("policy", "traffic", "reason", "actor", "order", "waits", "waits_for", "held")
"""What of a statement its commit tells, so that a history needs no files."""


def release_asset(product: Product) -> Asset:
    """The release of a product with a model: refused when what it newly lets in fails a gate, and the live version stays."""
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.release,
        kind=Kind.FOLDER,
        compute=partial(_release, product=product),
        inputs=(
            paths.model,
            paths.evaluation,
            paths.model_card,
            paths.drift_report,
            paths.release_orders,
            paths.rollout_step,
        ),
        previous=(
            paths.release,
            paths.model,
            paths.evaluation,
            paths.model_card,
            paths.release_orders,
            paths.predictions,
            paths.service_failures,
            paths.online_features,
        ),
        identity=(RELEASE_FILE,),
        checks=(
            *(
                Check(
                    name=gate.name,
                    judge=partial(_gate_holds, gate=gate),
                    description="A gate that the product declares, on what newly goes live; what is undefined fails.",
                )
                for gate in product.gates
            ),
            Check(
                name="policy_can_be_served",
                judge=_policy_can_be_served,
                description="The service can read the policy, and answer all its versions from one publication of online features.",
            ),
        ),
        refusals=release_refusals_asset(product),
        description="Which versions answer, under which policy, by whose word, on which evidence.",
        urgent=True,
        kinds=("json",),
        declaration=declared_values(
            risk=product.risk, gates=product.gates, rollout=_shape(product), serving=_serving(product)
        ),
    )


def _release(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    paths = ChainPaths(product=product.name)
    versions = Versions(inputs, product)
    before, run_before = standing_statement(inputs, paths)
    previous = Release.from_json(before) if before else None
    for path in (paths.model_card, paths.drift_report):  # on record as what was known, whatever is decided
        inputs.entry(path)
    given = _given(inputs, product, versions, previous)
    try:
        found = next_release(given)
    except NothingToReleaseError as error:
        raise RejectedInputError(str(error)) from error
    details, judged = _details(found, before, given.candidate, versions)
    since = run_before.get("since") if _is_same(before, found.release) else None
    run = {**versions.commits(found.release.version), "since": since or inputs.commit}
    (folder / DECISION_FILE).write_text(json.dumps(given.to_json(), indent=1, sort_keys=True))
    rules = {**_serving(product), "redacted": hidden(product, found.release.versions, versions)}
    statement = _write(folder, product, found.release, details, run, rules)
    # What stands may be held, resumed and taken back, whatever it draws by: the service has its own word to say to it.
    stands, policy = _is_same(before, found.release), found.release.policy
    unknown = () if stands else undrawable(product, policy, versions)
    unfit = "" if stands else unanswerable(product, policy, versions, inputs)
    facts = {
        RELEASED_FACT: found.release.version,
        GATES_FACT: details[found.release.version]["gates"],
        METRICS_FACT: versions.metrics(found.release.version),
        INTRODUCED_FACT: list(judged),
        STATEMENT_FACT: {
            **{name: statement[name] for name in _TOLD},
            "orders": [order.to_json() for order in given.orders],
            "refused": {one.id: why for one in given.orders if (why := found.release.refused.get(one.id)) is not None},
        },
        _JUDGED: {name: details[name]["gates"] for name in judged},
        _UNDRAWABLE: list(unknown),
        _UNANSWERABLE: unfit,
    }
    return Result(facts=facts)


def _given(inputs: Inputs, product: Product, versions: Versions, previous: Release | None) -> ReleaseInput:
    """What the decision looks at: of the orders those that no release has heard, of requests whether there were any."""
    from assets._chain._rollout_standing import watched_for  # it reads what is written here

    heard = previous.heard if previous else ()
    paths = ChainPaths(product=product.name)
    table = inputs.table(paths.release_orders)
    orders = tuple(order for order in read_orders(table) if order.id not in heard)
    named = {name for order in orders for name in named_versions(order.version, order.policy)}
    candidate = versions.candidate()
    is_newer = previous is not None and candidate is not None and candidate.version not in previous.versions
    return ReleaseInput(
        previous=previous,
        candidate=candidate,
        judged={name: one for name in sorted(named) if (one := versions.judged(name)) is not None},
        orders=orders,
        rollout=product.rollout,
        step=_newest_step(inputs, paths),
        watched=watched_for(inputs, product, previous) if is_newer else None,
    )


def _newest_step(inputs: Inputs, paths: ChainPaths) -> RolloutStep | None:
    """The newest step. Orders are followed also where nobody built the decisions yet, after an older Headwater."""
    try:
        return read_step(inputs.folder(paths.rollout_step))
    except PathNotFoundError:
        return None


def read_step(folder: Path) -> RolloutStep | None:
    """The newest step, from the folder that the decisions about a rollout write; None before the first."""
    raw = json.loads((folder / STEP_FILE).read_text())["step"]
    return None if raw is None else RolloutStep.from_json(raw)


def _shape(product: Product) -> dict[str, Any]:
    """How a new version comes in; the rules of evidence belong to who decides by them."""
    return {name: value for name, value in product.rollout.to_json().items() if name != "rules"}


def _is_same(before: Mapping[str, Any], release: Release) -> bool:
    """Whether the same version stays live under the same policy."""
    now = release.to_json()
    return bool(before) and all(before[name] == now[name] for name in ("version", "policy"))


def named_versions(version: str | None, policy: Mapping[str, Any] | None) -> set[str]:
    """Every version that an order may name; what names nothing is the order's own fault and found there."""
    told = [version, *_texts(policy or {})]
    return {name for name in told if name is not None}


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for key, item in value.items() for text in (str(key), *_texts(item))]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def standing_statement(inputs: Inputs, paths: ChainPaths) -> tuple[dict[str, Any], dict[str, Any]]:
    """The statement that stands and what is kept beside it; empty before the first release."""
    standing = inputs.previous(paths.release)
    if standing is None:
        return {}, {}
    folder = standing.folder(paths.release)
    statement: dict[str, Any] = json.loads((folder / RELEASE_FILE).read_text())
    if "before" not in statement:  # an older Headwater wrote it
        statement["before"] = _released_before(inputs, paths, statement["version"])
    return statement, json.loads((folder / RUN_FILE).read_text())


def _released_before(inputs: Inputs, paths: ChainPaths, live: str) -> list[str]:
    found: list[str] = []
    for commit in inputs.history(paths.release):
        output = commit.provenance.output(paths.release) if commit.provenance else None
        version = str(output.facts.get(RELEASED_FACT, "")) if output else ""
        if version and version != live and version not in found:
            found.append(version)
    return found[::-1]


def _details(
    found: NextRelease, before: Mapping[str, Any], candidate: Judged | None, versions: Versions
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is known of each version in service, and those of them whose gates are judged now.

    The newest version's evidence is the newest there is; if that fails its gates while somebody's order is followed, the evidence
    that it went live on stays, so that the order is followed.
    """
    known = dict(before.get("versions", {}))
    if before and "versions" not in before:  # an older Headwater wrote it
        known = {before["version"]: {name: before[name] for name in ("data_version", "gates", "evidence")}}
    details, judged = {}, set(found.introduces)
    for name in found.release.versions:
        is_newest = candidate is not None and name == candidate.version
        is_kept = found.has_acted and name not in found.introduces and bool(candidate and candidate.problem)
        if is_newest and not is_kept:
            details[name] = versions.newest_details()
            judged.add(name)
        elif name in known:
            details[name] = known[name]
        else:
            details[name] = versions.details(name)
    return details, tuple(sorted(judged))


def _write(
    folder: Path,
    product: Product,
    release: Release,
    details: Mapping[str, Any],
    run: Mapping[str, Any],
    rules: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes what the release says; beside it, outside of its data version, which commits that follows from."""
    statement = {
        **release.to_json(),
        "product": product.name,
        "risk": str(product.risk),
        "serving": rules,
        "versions": details,
        **details[release.version],
    }
    (folder / RELEASE_FILE).write_text(json.dumps(statement, indent=1, sort_keys=True))
    (folder / RUN_FILE).write_text(json.dumps(run, indent=1, sort_keys=True))
    return statement


def _serving(product: Product) -> dict[str, Any]:
    """How the service treats requests."""
    rules = product.serving
    return {
        "assign_by": list(drawn_by(product)),
        "redacted": list(rules.redacted),
        "ahead_seconds": rules.ahead.total_seconds(),
        "log_full": rules.log_full.value,
        "latency_seconds": levels_of(product).latency.total_seconds(),
    }


def _gate_holds(audit: Audit, *, gate: Gate) -> Verdict:
    """One gate on every version that newly goes live, or goes on with another evaluation."""
    verdicts = [v for found in audit.facts[_JUDGED].values() for v in found if v["gate"] == gate.name]
    if len(verdicts) < len(audit.facts[_JUDGED]):
        return Verdict(passed=False, description="A version that goes live was not judged by this gate.")
    if not verdicts:
        return Verdict(passed=True, description="Nothing newly goes live.")
    shown = min(verdicts, key=lambda verdict: bool(verdict["passed"]))
    return Verdict(passed=shown["passed"], facts=shown, description=shown["reason"])


def _policy_can_be_served(audit: Audit) -> Verdict:
    from serving.deployment import policy_of
    from serving.policies import PolicyError

    statement = json.loads((audit.staged.folder(audit.path) / RELEASE_FILE).read_text())
    try:
        policy = policy_of(statement)
    except PolicyError as error:
        return Verdict(passed=False, description=str(error))
    if unknown := tuple(audit.facts[_UNDRAWABLE]):
        return Verdict(passed=False, description=told_undrawable(statement["product"], unknown))
    if unfit := audit.facts[_UNANSWERABLE]:
        said = told_unanswerable(statement["product"], unfit)
        return Verdict(passed=False, facts={"unanswerable": unfit}, description=said)
    return Verdict(passed=True, facts={"policy": policy.kind})
