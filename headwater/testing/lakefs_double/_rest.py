"""The REST subset: `/api/v1/...` to operations of the store."""

import base64
import re
from collections.abc import Callable, Mapping
from email.parser import BytesParser
from email.policy import HTTP
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

from headwater.testing.lakefs_double import _history as history
from headwater.testing.lakefs_double._errors import Refusal, bad_request, not_found, precondition_failed
from headwater.testing.lakefs_double._http import Request, Response, json_response, ranged
from headwater.testing.lakefs_double._listing import amount, entries, page, pagination
from headwater.testing.lakefs_double._model import Repository, StoredCommit, StoredObject
from headwater.testing.lakefs_double._refs import resolve_commit
from headwater.testing.lakefs_double._store import Condition, Store

BASE: Final = "/api/v1"
VERSION: Final = "1.86.0"
_META_HEADER: Final = "x-lakefs-meta-"
_DELETE_LIMIT: Final = 1000

Handler = Callable[["Rest", Request, list[str]], Response]
_routes: list[tuple[str, re.Pattern[str], Handler]] = []


def _route(method: str, template: str) -> Callable[[Handler], Handler]:
    pattern = re.compile("^" + re.sub(r"\{\w+\}", r"([^/]+)", template) + "$")

    def register(handler: Handler) -> Handler:
        _routes.append((method, pattern, handler))
        return handler

    return register


class Rest:
    """Answers REST requests."""

    def __init__(self, store: Store, credentials: Mapping[str, str]) -> None:
        """Serves `store` to whoever knows an access key and its secret."""
        self.store = store
        self._credentials = credentials

    def answer(self, request: Request) -> Response:
        """The answer to one request; refusals become lakeFS's JSON errors."""
        try:
            return self._dispatch(request)
        except Refusal as refusal:
            return json_response({"message": refusal.message}, refusal.status)

    def _dispatch(self, request: Request) -> Response:
        path = request.raw_path.removeprefix(BASE)
        if path == "/healthcheck":
            return Response(status=HTTPStatus.NO_CONTENT)
        self._authenticate(request)
        for method, pattern, handler in _routes:
            match = pattern.match(path)
            if match and method == request.method:
                return handler(self, request, [unquote(group) for group in match.groups()])
        raise not_found("invalid API endpoint")

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            key, _, secret = base64.b64decode(token).decode().partition(":")
        except ValueError:
            key = secret = ""
        if scheme.lower() != "basic" or self._credentials.get(key) != secret:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "error authenticating request")


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


def _stats_json(path: str, stored: StoredObject) -> dict[str, Any]:
    return {
        "path": path,
        "path_type": "object",
        "physical_address": stored.address,
        "checksum": stored.checksum,
        "size_bytes": stored.size,
        "mtime": stored.mtime,
        "metadata": dict(stored.metadata),
        "content_type": stored.content_type,
    }


def _repository_json(repository: Repository) -> dict[str, Any]:
    return {
        "id": repository.name,
        "creation_date": repository.created,
        "default_branch": repository.default_branch,
        "storage_id": "",
        "storage_namespace": repository.namespace,
        "read_only": False,
    }


def condition_of(headers: Mapping[str, str], *, unconditional: bool = False) -> Condition | None:
    """What `If-None-Match` and `If-Match` ask, None when nothing is asked."""
    none_match, match = headers.get("if-none-match"), headers.get("if-match")
    if unconditional or (none_match is None and match is None):
        return None
    if none_match not in (None, "*"):
        raise Refusal(HTTPStatus.NOT_IMPLEMENTED, "If-None-Match supports only '*'", code="NotImplemented")
    if none_match is not None:
        return lambda stored: stored is None
    wanted = (match or "").strip('"')
    return lambda stored: stored is not None and stored.checksum == wanted


# Server


@_route("GET", "/config/version")
def _version(rest: Rest, request: Request, names: list[str]) -> Response:
    return json_response({"version": VERSION, "upgrade_recommended": False})


@_route("GET", "/config")
def _config(rest: Rest, request: Request, names: list[str]) -> Response:
    storage = {
        "blockstore_type": "mem",
        "blockstore_namespace_example": "mem://example",
        "blockstore_namespace_ValidityRegex": "^mem://",
        "pre_sign_support": False,
        "pre_sign_support_ui": False,
        "import_support": False,
        "import_validity_regex": "^mem://",
        "blockstore_id": "",
    }
    return json_response({"version_config": {"version": VERSION}, "storage_config": storage, "storage_config_list": []})


# Repositories


@_route("GET", "/repositories")
def _list_repositories(rest: Rest, request: Request, names: list[str]) -> Response:
    found = [item for item in rest.store.repositories() if item.name.startswith(request.parameter("prefix"))]
    chosen, record = page(found, [item.name for item in found], after=request.parameter("after"), limit=amount(request))
    return json_response({"pagination": record, "results": [_repository_json(item) for item in chosen]})


@_route("POST", "/repositories")
def _create_repository(rest: Rest, request: Request, names: list[str]) -> Response:
    body = request.json()
    made = rest.store.create_repository(
        body.get("name", ""),
        namespace=body.get("storage_namespace", ""),
        default_branch=body.get("default_branch") or "main",
    )
    return json_response(_repository_json(made), HTTPStatus.CREATED)


@_route("GET", "/repositories/{repository}")
def _get_repository(rest: Rest, request: Request, names: list[str]) -> Response:
    return json_response(_repository_json(rest.store.repository(names[0])))


@_route("DELETE", "/repositories/{repository}")
def _delete_repository(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.delete_repository(names[0])
    return Response(status=HTTPStatus.NO_CONTENT)


def _rules_etag(patterns: tuple[str, ...]) -> str:
    return base64.b64encode("\n".join(patterns).encode()).decode() or "empty"


@_route("GET", "/repositories/{repository}/settings/branch_protection")
def _get_protection(rest: Rest, request: Request, names: list[str]) -> Response:
    patterns = rest.store.repository(names[0]).protection
    answer = json_response([{"pattern": pattern} for pattern in patterns])
    return Response(headers={**answer.headers, "ETag": _rules_etag(patterns)}, body=answer.body)


@_route("PUT", "/repositories/{repository}/settings/branch_protection")
def _set_protection(rest: Rest, request: Request, names: list[str]) -> Response:
    wanted = request.headers.get("if-match")
    if wanted and wanted != _rules_etag(rest.store.repository(names[0]).protection):
        raise precondition_failed("Precondition failed")
    rest.store.protect(names[0], [rule["pattern"] for rule in request.json()])
    return Response(status=HTTPStatus.NO_CONTENT)


@_route("GET", "/repositories/{repository}/settings/gc_rules")
def _get_gc_rules(rest: Rest, request: Request, names: list[str]) -> Response:
    rules = rest.store.repository(names[0]).gc_rules
    if rules is None:
        raise not_found("gc rules")
    return json_response(rules)


@_route("PUT", "/repositories/{repository}/settings/gc_rules")
def _set_gc_rules(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.repository(names[0]).gc_rules = request.json()
    return Response(status=HTTPStatus.NO_CONTENT)


# Tags and branches


def _refs_response(request: Request, refs: Mapping[str, str]) -> Response:
    found = sorted(name for name in refs if name.startswith(request.parameter("prefix")))
    chosen, record = page(found, found, after=request.parameter("after"), limit=amount(request))
    return json_response({"pagination": record, "results": [{"id": name, "commit_id": refs[name]} for name in chosen]})


@_route("GET", "/repositories/{repository}/tags")
def _list_tags(rest: Rest, request: Request, names: list[str]) -> Response:
    return _refs_response(request, dict(rest.store.repository(names[0]).tags))


@_route("POST", "/repositories/{repository}/tags")
def _create_tag(rest: Rest, request: Request, names: list[str]) -> Response:
    body = request.json()
    commit = rest.store.create_tag(names[0], body.get("id", ""), ref=body.get("ref", ""))
    return json_response({"id": body["id"], "commit_id": commit}, HTTPStatus.CREATED)


@_route("GET", "/repositories/{repository}/tags/{tag}")
def _get_tag(rest: Rest, request: Request, names: list[str]) -> Response:
    tags = rest.store.repository(names[0]).tags
    if names[1] not in tags:
        raise not_found("tag")
    return json_response({"id": names[1], "commit_id": tags[names[1]]})


@_route("DELETE", "/repositories/{repository}/tags/{tag}")
def _delete_tag(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.delete_tag(names[0], names[1])
    return Response(status=HTTPStatus.NO_CONTENT)


@_route("GET", "/repositories/{repository}/branches")
def _list_branches(rest: Rest, request: Request, names: list[str]) -> Response:
    branches = dict(rest.store.repository(names[0]).branches)
    hidden = request.flag("show_hidden")
    return _refs_response(request, {name: item.commit for name, item in branches.items() if hidden or not item.hidden})


@_route("POST", "/repositories/{repository}/branches")
def _create_branch(rest: Rest, request: Request, names: list[str]) -> Response:
    body = request.json()
    commit = rest.store.create_branch(
        names[0], body.get("name", ""), source=body.get("source", ""), hidden=bool(body.get("hidden"))
    )
    return Response(status=HTTPStatus.CREATED, headers={"Content-Type": "text/html"}, body=commit.encode())


@_route("GET", "/repositories/{repository}/branches/{branch}")
def _get_branch(rest: Rest, request: Request, names: list[str]) -> Response:
    return json_response({"id": names[1], "commit_id": rest.store.branch(names[0], names[1]).commit})


@_route("DELETE", "/repositories/{repository}/branches/{branch}")
def _delete_branch(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.delete_branch(names[0], names[1])
    return Response(status=HTTPStatus.NO_CONTENT)


@_route("PUT", "/repositories/{repository}/branches/{branch}")
def _reset_branch(rest: Rest, request: Request, names: list[str]) -> Response:
    body = request.json()
    kind, path = body.get("type"), body.get("path") or ""
    if kind not in ("object", "common_prefix", "reset"):
        raise bad_request("unknown reset type")
    rest.store.reset(
        names[0], names[1], path=path if kind == "object" else "", prefix=path if kind == "common_prefix" else ""
    )
    return Response(status=HTTPStatus.NO_CONTENT)


# History


@_route("POST", "/repositories/{repository}/branches/{branch}/commits")
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


@_route("GET", "/repositories/{repository}/commits/{commit}")
def _get_commit(rest: Rest, request: Request, names: list[str]) -> Response:
    return json_response(_commit_json(rest.store.commit_at(names[0], names[1])))


@_route("GET", "/repositories/{repository}/refs/{ref}/commits")
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


@_route("GET", "/repositories/{repository}/refs/{left}/diff/{right}")
def _diff_refs(rest: Rest, request: Request, names: list[str]) -> Response:
    repository = rest.store.repository(names[0])
    left, right = rest.store.commit_at(names[0], names[1]), rest.store.commit_at(names[0], names[2])
    if request.parameter("type", "three_dot") == "two_dot":
        changes = history.diff(left.tree, right.tree)
    else:
        base = history.merge_base(repository.commits, left.id, right.id)
        changes = history.three_dot(base.tree, left.tree, right.tree)
    return _diff_response(request, changes, right.tree)


@_route("GET", "/repositories/{repository}/branches/{branch}/diff")
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


@_route("GET", "/repositories/{repository}/refs/{source}/merge/{destination}")
def _find_merge_base(rest: Rest, request: Request, names: list[str]) -> Response:
    repository = rest.store.repository(names[0])
    source, destination = rest.store.commit_at(names[0], names[1]), rest.store.commit_at(names[0], names[2])
    base = history.merge_base(repository.commits, source.id, destination.id)
    return json_response(
        {"source_commit_id": source.id, "destination_commit_id": destination.id, "base_commit_id": base.id}
    )


@_route("POST", "/repositories/{repository}/refs/{source}/merge/{destination}")
def _merge(rest: Rest, request: Request, names: list[str]) -> Response:
    try:
        made = rest.store.merge(names[0], names[1], names[2], request.json())
    except Refusal as refusal:
        if refusal.status is HTTPStatus.CONFLICT:
            return json_response({"reference": ""}, HTTPStatus.CONFLICT)
        raise
    return json_response({"reference": made.id})


@_route("POST", "/repositories/{repository}/branches/{branch}/revert")
def _revert(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.revert(names[0], names[1], request.json())
    return Response(status=HTTPStatus.NO_CONTENT)


# Objects


def _object_response(rest: Rest, request: Request, names: list[str], *, body: bool) -> Response:
    stored = rest.store.read(names[0], names[1], request.parameter("path"))
    headers = {"ETag": f'"{stored.checksum}"', "Content-Type": stored.content_type}
    if not body:
        return Response(headers={**headers, "Content-Length": str(stored.size)})
    try:
        span = ranged(stored.data, request.headers.get("range", ""))
    except ValueError as error:
        raise Refusal(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "Requested Range Not Satisfiable") from error
    if span is None:
        return Response(headers=headers, body=stored.data)
    headers["Content-Range"] = f"bytes {span[0]}-{span[1]}/{stored.size}"
    return Response(status=HTTPStatus.PARTIAL_CONTENT, headers=headers, body=stored.data[span[0] : span[1] + 1])


@_route("GET", "/repositories/{repository}/refs/{ref}/objects")
def _get_object(rest: Rest, request: Request, names: list[str]) -> Response:
    return _object_response(rest, request, names, body=True)


@_route("HEAD", "/repositories/{repository}/refs/{ref}/objects")
def _head_object(rest: Rest, request: Request, names: list[str]) -> Response:
    return _object_response(rest, request, names, body=False)


@_route("GET", "/repositories/{repository}/refs/{ref}/objects/stat")
def _stat_object(rest: Rest, request: Request, names: list[str]) -> Response:
    path = request.parameter("path")
    return json_response(_stats_json(path, rest.store.read(names[0], names[1], path)))


@_route("GET", "/repositories/{repository}/refs/{ref}/objects/ls")
def _list_objects(rest: Rest, request: Request, names: list[str]) -> Response:
    tree = rest.store.tree(names[0], names[1])
    found = entries(tree, prefix=request.parameter("prefix"), delimiter=request.parameter("delimiter"))
    listed = list(found)
    chosen, record = page(listed, listed, after=request.parameter("after"), limit=amount(request))
    results = [
        {"path": name, "path_type": "common_prefix", "physical_address": "", "checksum": "", "mtime": 0}
        if found[name]
        else _stats_json(name, tree[name])
        for name in chosen
    ]
    return json_response({"pagination": record, "results": results})


@_route("POST", "/repositories/{repository}/branches/{branch}/objects")
def _upload_object(rest: Rest, request: Request, names: list[str]) -> Response:
    content_type, data = _content(request)
    metadata = {
        name.removeprefix(_META_HEADER): value
        for name, value in request.headers.items()
        if name.startswith(_META_HEADER)
    }
    stored = StoredObject.of(data, content_type=content_type, metadata=metadata)
    condition = condition_of(request.headers, unconditional=request.unconditional)
    path = request.parameter("path")
    rest.store.write(names[0], names[1], path, stored, condition=condition)
    return json_response(_stats_json(path, stored), HTTPStatus.CREATED)


def _content(request: Request) -> tuple[str, bytes]:
    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        return content_type, request.body
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + request.body)
    for part in message.iter_parts():
        if part.get_param("name", header="content-disposition") == "content":
            data = part.get_payload(decode=True)
            return part.get_content_type(), data if isinstance(data, bytes) else b""
    raise Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "multipart upload missing key 'content'")


@_route("DELETE", "/repositories/{repository}/branches/{branch}/objects")
def _delete_object(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.delete(names[0], names[1], request.parameter("path"))
    return Response(status=HTTPStatus.NO_CONTENT)


@_route("POST", "/repositories/{repository}/branches/{branch}/objects/delete")
def _delete_objects(rest: Rest, request: Request, names: list[str]) -> Response:
    paths = request.json().get("paths", [])
    if len(paths) > _DELETE_LIMIT:
        raise bad_request(f"request size exceeded, max paths is set to {_DELETE_LIMIT}")
    errors = []
    for path in paths:
        try:
            rest.store.delete(names[0], names[1], path)
        except Refusal as refusal:
            errors.append({"path": path, "status_code": refusal.status.value, "message": refusal.message})
    return json_response({"errors": errors})


@_route("POST", "/repositories/{repository}/branches/{branch}/objects/copy")
def _copy_object(rest: Rest, request: Request, names: list[str]) -> Response:
    body, path = request.json(), request.parameter("dest_path")
    stored = rest.store.read(names[0], body.get("src_ref") or names[1], body.get("src_path", ""))
    rest.store.write(names[0], names[1], path, stored)
    return json_response(_stats_json(path, stored), HTTPStatus.CREATED)
