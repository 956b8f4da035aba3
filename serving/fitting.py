"""Which online features some model versions can be answered from: the newest of a lake's history that have what all of them look up."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from headwater.features.online import OnlineView
from headwater.features.online._content import read_shape
from headwater.lake import Lake, Snapshot
from headwater.lake.errors import CollectedCommitError
from headwater.models.request_schema import ViewUse
from serving.errors import UnfitFeaturesError

Reads: TypeAlias = Mapping[str, Sequence[ViewUse]]
"""By version what it looks up."""
_FAR: Final = 1_000
"""So many publications back are looked at."""
_FAMILIES: Final = {"texts": ("String", "Categorical", "Enum"), "whole": ("Int", "UInt"), "floats": ("Float",)}


class Published(NamedTuple):
    """Online features of the lake, without rows.

    Attributes:
        commit: A commit that holds them.
        data_version: Their data version.
        views: The views by name.
    """

    commit: str
    data_version: str
    views: Mapping[str, ViewUse]


def misfit(uses: Iterable[ViewUse], there: Mapping[str, ViewUse]) -> str:
    """What views lack of what is looked up, in words; empty where they have it.

    A view fits with the same keys and at least the features that are read, all of the same families of dtypes: whole numbers, floats,
    texts, booleans. Whole numbers and floats are two: a category of whole numbers has no floats. What an older bundle does not say
    of dtypes is not compared.
    """
    for use in uses:
        view = there.get(use.name)
        if view is None:
            return f"they have no view {use.name!r}"
        if view.keys != use.keys or not set(use.features) <= set(view.features):
            return (
                f"view {use.name!r} gives {view.features} by {view.keys} there, and {use.features} by {use.keys} here"
            )
        found = dtypes_of(view)
        for name, dtype in dtypes_of(use).items():
            if name in found and _family(found[name]) != _family(dtype):
                return f"{name!r} of view {use.name!r} is {found[name]} there, and was {dtype} in the training"
    return ""


def dtypes_of(use: ViewUse) -> dict[str, str]:
    """Dtypes of a view's keys and features by name, as far as they are known."""
    named = (*zip(use.keys, use.entity, strict=False), *zip(use.features, use.dtypes, strict=False))
    return {name: dtype for name, dtype in named if dtype}


def _family(dtype: str) -> str:
    return next((name for name, begin in _FAMILIES.items() if dtype.startswith(begin)), dtype)


def views_of(views: Iterable[OnlineView]) -> dict[str, ViewUse]:
    """By name what a service can look up of published views."""
    return {
        view.name: ViewUse(
            name=view.name, keys=view.keys, features=view.features, dtypes=view.dtypes, entity=view.entity
        )
        for view in views
    }


def first_fitting(contents: Iterable[Published], reads: Reads) -> tuple[Published | None, str]:
    """The first that has what all versions look up, and what the very first lacks; None where none has it."""
    problem = ""
    for content in contents:
        lacks = ((version, misfit(uses, content.views)) for version, uses in reads.items())
        why = next((f"{version}: {said}" for version, said in lacks if said), "")
        if not why:
            return content, problem
        problem = problem or why
    return None, problem


def contents(commits: Iterable[str], at: Callable[[str], Snapshot | None], path: str) -> Iterator[Published]:
    """The online features at some commits, each once; commits whose content `gc` took are passed over.

    Args:
        commits: The commits, in the order in which they are wanted.
        at: The lake at a commit, None where nothing stands at the path.
        path: Lake path of the online features.
    """
    seen = set()
    for commit in commits:
        try:
            snapshot = at(commit)
            if snapshot is None or not snapshot.has(path) or (version := snapshot.entry(path).data_version) in seen:
                continue
            folder = snapshot.folder(path)
        except CollectedCommitError:
            continue
        seen.add(version)
        views = views_of(table.view for table in read_shape(folder).tables)
        yield Published(commit, version, views)


def newest_fitting(lake: Lake, product: str, reads: Reads, *, snapshot: Snapshot) -> tuple[str | None, str]:
    """What some versions are answered from.

    Args:
        lake: The lake.
        product: The product.
        reads: What each version looks up.
        snapshot: The lake at the commit whose release counts: what stands there is taken where it fits, else the newest of its history
            that does.

    Returns:
        The data version of the online features, None where there are none and nobody looks anything up; and the commit that holds them,
        empty where it is the snapshot's.

    Raises:
        UnfitFeaturesError: None fit all versions.
    """
    path, head = f"{product}/online_features", snapshot.commit.id
    if not any(reads.values()):
        return (snapshot.entry(path).data_version if snapshot.has(path) else None), ""
    found, problem = first_fitting(contents(_commits(lake, product, head), lake.at, path), reads)
    if found is None:
        raise UnfitFeaturesError(product=product, versions=tuple(reads), problem=problem or "there are none")
    return found.data_version, "" if found.commit == head else found.commit


def _commits(lake: Lake, product: str, head: str) -> Iterator[str]:
    """The head, what changed the online features, newest first, then the releases: `gc` keeps these, with what was online then."""
    yield head
    for path in (f"{product}/online_features", f"{product}/release"):
        yield from (commit.id for commit in lake.log(head, path=path, limit=_FAR))
