"""Which experiment is in progress, and since when, as the release and its history say it."""

import json
from dataclasses import dataclass

from assets._chain._paths import ChainPaths
from assets._chain._release import RELEASE_FILE
from assets._chain._rollout_standing import told_releases
from headwater.decisions import ExperimentStanding, Release, policy_versions, same_experiment
from headwater.lake.errors import LakeError
from headwater.names import InvalidNameError
from headwater.product import Inputs, Product


@dataclass(frozen=True, kw_only=True)
class Experimenting:
    """What is decided about.

    Attributes:
        standing: The experiment, None when there is none.
        idle: Then why not.
        release: What the release says, None before the first.
    """

    standing: ExperimentStanding | None
    idle: str = ""
    release: Release | None = None


def experiment_of(inputs: Inputs, product: Product) -> Experimenting:
    """The experiment in progress: the policy of several versions that stands, since somebody ordered it or a version came in."""
    path = ChainPaths(product=product.name).release
    found = inputs.previous(path)
    if found is None:
        return Experimenting(standing=None, idle="Nothing is released yet.")
    release = Release.from_json(json.loads((found.folder(path) / RELEASE_FILE).read_text()))
    if not release.is_experiment:
        what = "is a rollout" if release.rollout is not None else "answers everything"
        return Experimenting(standing=None, release=release, idle=f"{release.versions[0]} {what}: nothing is tested.")
    return Experimenting(standing=_standing(inputs, path, release), release=release)


def _standing(inputs: Inputs, path: str, release: Release) -> ExperimentStanding:
    """Read backwards. What a commit does not tell (a revert, a merge, an older Headwater) ends the search: evidence begins with it."""
    since, begun = None, release.policy
    for commit, told in told_releases(inputs, path):
        is_same = told.get("order") == release.order and same_experiment(told.get("policy"), release.policy)
        if since is not None and not is_same:
            break
        since, begun = commit, told["policy"] if is_same else begun
        if not is_same:
            break
    assert since is not None  # the release stands, so that a commit wrote it
    policy = release.policy
    return ExperimentStanding(
        policy=policy,
        begun=begun,
        control=_control(release),
        back=release.back_to(),
        candidate=release.rollout.candidate if release.rollout is not None else "",
        since=since.created,
        since_commit=since.id,
        order=release.order,
    )


def _control(release: Release) -> str:
    """Whom the others are compared with: who answers everything while others score, who did before, else who was promoted.

    Never the first of the shares: a statement holds them sorted as text.
    """
    policy, names = release.policy, policy_versions(release.policy)
    if policy["kind"] == "ensemble":
        return "ensemble"
    if policy["kind"] == "shadow":
        return names[0]
    before = next((version for version in reversed(release.before) if version in names), None)
    if before is not None:
        return before
    return release.version if "live" not in policy and release.version in names else names[0]


def policies_under(inputs: Inputs, path: str, release: Release, commits: list[str]) -> dict[str, Release]:
    """Of the commits that services followed, those whose release is of this experiment, with what it said then.

    By commit, so that no clock matters: a service says with each answer which commit it followed.
    """
    found: dict[str, Release] = {}
    kept: dict[str, Release] = {}
    for commit in commits:
        try:
            past = inputs.previous(path, commit=commit)
            if past is None:
                continue
            content = past.entry(path).data_version
            if content not in found:
                found[content] = Release.from_json(json.loads((past.folder(path) / RELEASE_FILE).read_text()))
        except (LakeError, InvalidNameError):  # collected, or no commit of this lake
            continue
        then = found[content]
        if then.order == release.order and same_experiment(then.policy, release.policy):
            kept[commit] = then
    inputs.previous(path)  # on record is what stands
    return kept
