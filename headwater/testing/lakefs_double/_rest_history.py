"""REST: commits, logs, differences, merges, reverts."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from headwater.testing.lakefs_double import _history as history
from headwater.testing.lakefs_double._errors import Refusal
from headwater.testing.lakefs_double._http import Request, Response, json_response
from headwater.testing.lakefs_double._listing import amount, page, pagination
from headwater.testing.lakefs_double._model import StoredCommit, StoredObject
from headwater.testing.lakefs_double._refs import resolve_commit
from headwater.testing.lakefs_double._routing import Rest, route


def _commit_json(commit: StoredCommit) -> dict[str, Any]:
    return {
        "id": commit.id,
        "parents": list(commit.parents),
        "committer": commit.committer,
        "message": commit.message,
        "creation_date": int(commit.created),
        "meta_range_id": commit.tree_id,
        "metadata": dict(commit.metadata),
        "generation": commit.generation,
        "version": 1,
    }


@route("POST", "/repositories/{repository}/branches/{branch}/commits")
def _commit(rest: Rest, request: Request, names: list[str]) -> Response:
    body = request.json()
    made = rest.store.commit(
        names[0],
        names[1],
        message=body.get("message", ""),
        metadata=body.get("metadata") or {},
        allow_empty=bool(body.get("allow_empty")),
        created=body.get("date"),
    )
    return json_response(_commit_json(made), HTTPStatus.CREATED)


@route("GET", "/repositories/{repository}/commits/{commit}")
def _get_commit(rest: Rest, request: Request, names: list[str]) -> Response:
    return json_response(_commit_json(rest.store.commit_at(names[0], names[1])))


@route("GET", "/repositories/{repository}/refs/{ref}/commits")
def _log(rest: Rest, request: Request, names: list[str]) -> Response:
    repository = rest.store.repository(names[0])
    start = rest.store.commit_at(names[0], names[1])
    objects, prefixes = request.list("objects"), request.list("prefixes")
    after, limit, found, waiting = request.parameter("after"), amount(request), [], bool(request.parameter("after"))
    stop = rest.store.commit_at(names[0], request.parameter("stop_at")).id if request.parameter("stop_at") else ""
    last = resolve_commit(repository, after).id if after else ""
    for commit in history.log(repository.commits, start.id, first_parent=request.flag("first_parent")):
        if waiting:
            waiting = commit.id != last
            continue
        if not (objects or prefixes) or history.touches(repository.commits, commit, objects, prefixes):
            found.append(commit)
        if len(found) > limit or commit.id == stop:
            break
    more, chosen = len(found) > limit, found[:limit]
    record = pagination(more, chosen[-1].id if more else "", len(chosen))
    return json_response({"pagination": record, "results": [_commit_json(commit) for commit in chosen]})


@route("GET", "/repositories/{repository}/refs/{left}/diff/{right}")
def _diff_refs(rest: Rest, request: Request, names: list[str]) -> Response:
    repository = rest.store.repository(names[0])
    left, right = rest.store.commit_at(names[0], names[1]), rest.store.commit_at(names[0], names[2])
    if request.parameter("type", "three_dot") == "two_dot":
        changes = history.diff(left.tree, right.tree)
    else:
        base = history.merge_base(repository.commits, left.id, right.id)
        changes = history.three_dot(base.tree, left.tree, right.tree)
    return _diff_response(request, changes, right.tree)


@route("GET", "/repositories/{repository}/branches/{branch}/diff")
def _diff_staging(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.branch(names[0], names[1])
    resolved = rest.store.resolve(names[0], names[1])
    tree = resolved.tree()
    return _diff_response(request, history.diff(resolved.commit.tree, tree), tree)


def _diff_response(request: Request, changes: list[tuple[str, str]], tree: Mapping[str, StoredObject]) -> Response:
    changes = [item for item in changes if item[0].startswith(request.parameter("prefix"))]
    chosen, record = page(
        changes, [path for path, _ in changes], after=request.parameter("after"), limit=amount(request)
    )
    results = [
        {"type": how, "path": path, "path_type": "object", "size_bytes": tree[path].size if path in tree else 0}
        for path, how in chosen
    ]
    return json_response({"pagination": record, "results": results})


@route("GET", "/repositories/{repository}/refs/{source}/merge/{destination}")
def _find_merge_base(rest: Rest, request: Request, names: list[str]) -> Response:
    repository = rest.store.repository(names[0])
    source, destination = rest.store.commit_at(names[0], names[1]), rest.store.commit_at(names[0], names[2])
    base = history.merge_base(repository.commits, source.id, destination.id)
    return json_response(
        {"source_commit_id": source.id, "destination_commit_id": destination.id, "base_commit_id": base.id}
    )


@route("POST", "/repositories/{repository}/refs/{source}/merge/{destination}")
def _merge(rest: Rest, request: Request, names: list[str]) -> Response:
    try:
        made = rest.store.merge(names[0], names[1], names[2], request.json())
    except Refusal as refusal:
        if refusal.status is HTTPStatus.CONFLICT:
            return json_response({"reference": ""}, HTTPStatus.CONFLICT)
        raise
    return json_response({"reference": made.id})


@route("POST", "/repositories/{repository}/branches/{branch}/revert")
def _revert(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.revert(names[0], names[1], request.json())
    return Response(status=HTTPStatus.NO_CONTENT)
