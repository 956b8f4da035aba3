"""REST: the server itself, repositories, tags and branches."""

import base64
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from headwater.testing.lakefs_double._errors import bad_request, not_found, precondition_failed
from headwater.testing.lakefs_double._http import Request, Response, json_response
from headwater.testing.lakefs_double._listing import amount, page
from headwater.testing.lakefs_double._model import Repository
from headwater.testing.lakefs_double._routing import Rest, route

VERSION: Final = "1.86.0"


def _repository_json(repository: Repository) -> dict[str, Any]:
    return {
        "id": repository.name,
        "creation_date": repository.created,
        "default_branch": repository.default_branch,
        "storage_id": "",
        "storage_namespace": repository.namespace,
        "read_only": False,
    }


# Server


@route("GET", "/config/version")
def _version(rest: Rest, request: Request, names: list[str]) -> Response:
    return json_response({"version": VERSION, "upgrade_recommended": False})


@route("GET", "/config")
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


@route("GET", "/repositories")
def _list_repositories(rest: Rest, request: Request, names: list[str]) -> Response:
    found = [item for item in rest.store.repositories() if item.name.startswith(request.parameter("prefix"))]
    chosen, record = page(found, [item.name for item in found], after=request.parameter("after"), limit=amount(request))
    return json_response({"pagination": record, "results": [_repository_json(item) for item in chosen]})


@route("POST", "/repositories")
def _create_repository(rest: Rest, request: Request, names: list[str]) -> Response:
    body = request.json()
    made = rest.store.create_repository(
        body.get("name", ""),
        namespace=body.get("storage_namespace", ""),
        default_branch=body.get("default_branch") or "main",
    )
    return json_response(_repository_json(made), HTTPStatus.CREATED)


@route("GET", "/repositories/{repository}")
def _get_repository(rest: Rest, request: Request, names: list[str]) -> Response:
    return json_response(_repository_json(rest.store.repository(names[0])))


@route("DELETE", "/repositories/{repository}")
def _delete_repository(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.delete_repository(names[0])
    return Response(status=HTTPStatus.NO_CONTENT)


def _rules_etag(patterns: tuple[str, ...]) -> str:
    return base64.b64encode("\n".join(patterns).encode()).decode() or "empty"


@route("GET", "/repositories/{repository}/settings/branch_protection")
def _get_protection(rest: Rest, request: Request, names: list[str]) -> Response:
    patterns = rest.store.repository(names[0]).protection
    answer = json_response([{"pattern": pattern} for pattern in patterns])
    return Response(headers={**answer.headers, "ETag": _rules_etag(patterns)}, body=answer.body)


@route("PUT", "/repositories/{repository}/settings/branch_protection")
def _set_protection(rest: Rest, request: Request, names: list[str]) -> Response:
    wanted = request.headers.get("if-match")
    if wanted and wanted != _rules_etag(rest.store.repository(names[0]).protection):
        raise precondition_failed("Precondition failed")
    rest.store.protect(names[0], [rule["pattern"] for rule in request.json()])
    return Response(status=HTTPStatus.NO_CONTENT)


@route("GET", "/repositories/{repository}/settings/gc_rules")
def _get_gc_rules(rest: Rest, request: Request, names: list[str]) -> Response:
    rules = rest.store.repository(names[0]).gc_rules
    if rules is None:
        raise not_found("gc rules")
    return json_response(rules)


@route("PUT", "/repositories/{repository}/settings/gc_rules")
def _set_gc_rules(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.repository(names[0]).gc_rules = request.json()
    return Response(status=HTTPStatus.NO_CONTENT)


# Tags and branches


def _refs_response(request: Request, refs: Mapping[str, str]) -> Response:
    found = sorted(name for name in refs if name.startswith(request.parameter("prefix")))
    chosen, record = page(found, found, after=request.parameter("after"), limit=amount(request))
    return json_response({"pagination": record, "results": [{"id": name, "commit_id": refs[name]} for name in chosen]})


@route("GET", "/repositories/{repository}/tags")
def _list_tags(rest: Rest, request: Request, names: list[str]) -> Response:
    return _refs_response(request, dict(rest.store.repository(names[0]).tags))


@route("POST", "/repositories/{repository}/tags")
def _create_tag(rest: Rest, request: Request, names: list[str]) -> Response:
    body = request.json()
    commit = rest.store.create_tag(names[0], body.get("id", ""), ref=body.get("ref", ""))
    return json_response({"id": body["id"], "commit_id": commit}, HTTPStatus.CREATED)


@route("GET", "/repositories/{repository}/tags/{tag}")
def _get_tag(rest: Rest, request: Request, names: list[str]) -> Response:
    tags = rest.store.repository(names[0]).tags
    if names[1] not in tags:
        raise not_found("tag")
    return json_response({"id": names[1], "commit_id": tags[names[1]]})


@route("DELETE", "/repositories/{repository}/tags/{tag}")
def _delete_tag(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.delete_tag(names[0], names[1])
    return Response(status=HTTPStatus.NO_CONTENT)


@route("GET", "/repositories/{repository}/branches")
def _list_branches(rest: Rest, request: Request, names: list[str]) -> Response:
    branches = dict(rest.store.repository(names[0]).branches)
    hidden = request.flag("show_hidden")
    return _refs_response(request, {name: item.commit for name, item in branches.items() if hidden or not item.hidden})


@route("POST", "/repositories/{repository}/branches")
def _create_branch(rest: Rest, request: Request, names: list[str]) -> Response:
    body = request.json()
    commit = rest.store.create_branch(
        names[0], body.get("name", ""), source=body.get("source", ""), hidden=bool(body.get("hidden"))
    )
    return Response(status=HTTPStatus.CREATED, headers={"Content-Type": "text/html"}, body=commit.encode())


@route("GET", "/repositories/{repository}/branches/{branch}")
def _get_branch(rest: Rest, request: Request, names: list[str]) -> Response:
    return json_response({"id": names[1], "commit_id": rest.store.branch(names[0], names[1]).commit})


@route("DELETE", "/repositories/{repository}/branches/{branch}")
def _delete_branch(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.delete_branch(names[0], names[1])
    return Response(status=HTTPStatus.NO_CONTENT)


@route("PUT", "/repositories/{repository}/branches/{branch}")
def _reset_branch(rest: Rest, request: Request, names: list[str]) -> Response:
    body = request.json()
    kind, path = body.get("type"), body.get("path") or ""
    if kind not in ("object", "common_prefix", "reset"):
        raise bad_request("unknown reset type")
    rest.store.reset(
        names[0], names[1], path=path if kind == "object" else "", prefix=path if kind == "common_prefix" else ""
    )
    return Response(status=HTTPStatus.NO_CONTENT)
