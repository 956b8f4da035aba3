"""Which stage a rollout stands at, and since when, as the release and its history say it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from assets._chain._failures import of_versions
from assets._chain._paths import ChainPaths
from assets._chain._release import RELEASE_FILE
from headwater.decisions import Release, Standing, Watch, policy_versions
from headwater.lake import Commit
from headwater.lake.errors import CollectedCommitError, RefNotFoundError
from headwater.names import RELEASED_FACT, STATEMENT_FACT, InvalidNameError
from headwater.product import Inputs, Product


@dataclass(frozen=True, kw_only=True)
class Stood:
    """What is decided about, and the times that matter to it.

    Attributes:
        standing: The stage, None when there is nothing to decide.
        idle: Then why not.
        release: What the release says, None before the first.
        begun: When the candidate came in at all, by the lake's clock.
        stage: Commits of the release since the stage began: what is served under one of them belongs to the stage.
        rolling: Commits of the release since the candidate came in.
        is_told: Whether commits tell where the stage begins; a revert and a merge do not.
    """

    standing: Standing | None
    idle: str = ""
    release: Release | None = None
    begun: datetime | None = None
    stage: frozenset[str] = frozenset()
    rolling: frozenset[str] = frozenset()
    is_told: bool = True


def standing_of(inputs: Inputs, product: Product) -> Stood:
    """The stage of the rollout in progress, or the watch of the version that got everything last."""
    path = ChainPaths(product=product.name).release
    found = inputs.previous(path)
    if found is None:
        return Stood(standing=None, idle="Nothing is released yet.")
    release = Release.from_json(json.loads((found.folder(path) / RELEASE_FILE).read_text()))
    if release.is_experiment:
        idle = f"{release.actor or 'Declared'}: the policy {release.policy['kind']}, at which {product.name}/experiment looks."
        return Stood(standing=None, release=release, idle=idle)
    history = _history(inputs, path, release)
    candidate = release.rollout.candidate if release.rollout is not None else release.version
    other = release.version if release.rollout is not None else release.back_to()
    if release.rollout is not None and release.rollout.is_watch:
        other = release.rollout.replaced
    if other is None:
        return Stood(
            standing=None, release=release, idle=f"{candidate} answers everything, and nothing can be gone back to."
        )
    if release.rollout is None and (why := _not_new(inputs, path, release, history)):
        return Stood(standing=None, release=release, idle=why)
    return Stood(
        standing=_standing(product, release, candidate, other, history.since),
        release=release,
        begun=history.begun.created,
        stage=frozenset(history.stage),
        rolling=frozenset(history.rolling),
        is_told=history.is_told,
    )


def _standing(product: Product, release: Release, candidate: str, other: str, since: Commit) -> Standing:
    rolling = release.rollout
    stages = rolling.stages if rolling is not None else product.rollout.stages
    return Standing(
        candidate=candidate,
        other=other,
        share=rolling.share if rolling is not None else 1.0,
        since=since.created,
        since_commit=since.id,
        stages=len(stages) + 1,
        is_watch=rolling is None or rolling.is_watch,
        is_compared=rolling is not None and rolling.is_watch,
        order=release.order,
    )


@dataclass(frozen=True, kw_only=True)
class _History:
    """Commits of the release that matter.

    Attributes:
        since: The first with the policy that stands.
        begun: The first whose policy names the newest version of it.
        before: The one before `since`, None when that is the first.
        stage: Ids of those from `since` on.
        rolling: Ids of those from `begun` on.
        is_told: Whether `since` and `before` tell what they say.
    """

    since: Commit
    begun: Commit
    before: Commit | None
    stage: tuple[str, ...]
    rolling: tuple[str, ...]
    is_told: bool


def _history(inputs: Inputs, path: str, release: Release) -> _History:
    """Read backwards. What a commit does not tell (a revert, a merge) ends the search: evidence begins with it."""
    said = release.to_json()
    now = (said["version"], said["policy"])
    candidate = release.rollout.candidate if release.rollout is not None else release.version
    stage: list[Commit] = []
    rolling: list[Commit] = []
    before: Commit | None = None
    is_told = True
    for commit, told in told_releases(inputs, path):
        if not stage or (before is None and (told.get("version"), told.get("policy")) == now):
            stage.append(commit)
            rolling.append(commit)
            is_told = bool(told)
            continue
        is_told = is_told and (before is not None or bool(told))
        before = before or commit
        if candidate not in _versions(told):
            break
        rolling.append(commit)
    assert stage  # the release stands, so that a commit wrote it
    return _History(
        since=stage[-1],
        begun=rolling[-1],
        before=before,
        stage=tuple(one.id for one in stage),
        rolling=tuple(one.id for one in rolling),
        is_told=is_told,
    )


def told_releases(inputs: Inputs, path: str) -> Iterator[tuple[Commit, Mapping[str, Any]]]:
    """The commits of a release with what each tells of its statement, newest first."""
    for commit in inputs.history(path):
        output = commit.provenance.output(path) if commit.provenance is not None else None
        facts = output.facts if output is not None else {}
        said = facts.get(STATEMENT_FACT)
        yield commit, {**said, "version": facts[RELEASED_FACT]} if said is not None else {}


def _versions(told: Mapping[str, Any]) -> tuple[str, ...]:
    policy = told.get("policy")
    if isinstance(policy, Mapping):
        return policy_versions(policy)
    return (str(told["version"]),) if told else ()


def _not_new(inputs: Inputs, path: str, release: Release, history: _History) -> str:
    """Why a version that answers everything is not watched, empty when it is. Where no release said so, an older Headwater wrote it."""
    version = release.version
    if release.watch is Watch.ON:
        return ""
    if release.watch is Watch.OVER:
        return f"{version} answers everything, and its watch is over."
    if history.before is None:
        return f"{version} was the first version."
    past = _release_at(inputs, path, history.before)
    if past is None:
        return f"What was live before {version} is not kept any more."
    if past.version == version:
        return f"{version} answers everything, and its watch is over."
    if version in past.before:
        return f"{version} was live before, and was gone back to."
    return ""


def watched_for(inputs: Inputs, product: Product, release: Release | None) -> timedelta | None:
    """How long a release has been watched, by the clock of builds; zero where it is not, None where no version was ever asked."""
    paths = ChainPaths(product=product.name)
    if not _has_answers(inputs, paths.predictions) and not _has_failures(inputs, paths.service_failures):
        return None
    if release is None or release.watch is not Watch.ON:
        return timedelta(0)
    return max(inputs.started - _history(inputs, paths.release, release).since.created, timedelta(0))


def _has_answers(inputs: Inputs, path: str) -> bool:
    found = inputs.previous(path)
    return found is not None and bool(found.entry(path).rows)


def _has_failures(inputs: Inputs, path: str) -> bool:
    found = inputs.previous(path)
    return found is not None and bool(of_versions(found.table(path)).head(1).collect().height)


def _release_at(inputs: Inputs, path: str, commit: Commit) -> Release | None:
    try:
        found = inputs.previous(path, commit=commit.id)
        folder = None if found is None else found.folder(path)
    except CollectedCommitError:
        return None
    return None if folder is None else Release.from_json(json.loads((folder / RELEASE_FILE).read_text()))


@dataclass(frozen=True, kw_only=True)
class Served:
    """Commits that services followed, by the release that each of them had. A service says with each record which one it followed.

    Attributes:
        stage: Under the release of the stage that stands: what names one was served in it, whatever a clock says.
        alike: Under a release that says the same, where no commit tells when the stage began: what came in since belongs to it.
        rolling: Since the candidate came in at all.
    """

    stage: frozenset[str]
    alike: frozenset[str]
    rolling: frozenset[str]


def served_under(inputs: Inputs, path: str, stood: Stood, commits: Iterable[str]) -> Served:
    """Of the commits that services followed, those that belong to the stage that stands. A service follows a moment late."""
    stage, alike, rolling = set(), set(), set()
    for commit in commits:
        try:
            written = next(inputs.history(path, commit=commit), None)
        except (CollectedCommitError, RefNotFoundError, InvalidNameError):  # no commit of this lake any more, or ever
            continue
        if written is None:
            continue
        if written.id in stood.rolling:
            rolling.add(commit)
        if written.id in stood.stage:
            stage.add(commit)
        elif not stood.is_told and _says_the_same(inputs, path, stood, written):
            alike.add(commit)
    inputs.previous(path)  # on record is what stands
    return Served(stage=frozenset(stage), alike=frozenset(alike), rolling=frozenset(rolling))


def _says_the_same(inputs: Inputs, path: str, stood: Stood, written: Commit) -> bool:
    then, now = _release_at(inputs, path, written), stood.release
    return then is not None and now is not None and (then.version, then.policy) == (now.version, now.policy)
