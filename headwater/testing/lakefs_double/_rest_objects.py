"""REST: objects."""

from collections.abc import Mapping
from email.parser import BytesParser
from email.policy import HTTP
from http import HTTPStatus
from typing import Any, Final

from headwater.testing.lakefs_double._errors import Refusal, bad_request
from headwater.testing.lakefs_double._http import Request, Response, json_response, ranged
from headwater.testing.lakefs_double._listing import amount, entries, page
from headwater.testing.lakefs_double._model import StoredObject
from headwater.testing.lakefs_double._routing import Rest, route
from headwater.testing.lakefs_double._store import Condition

_META_HEADER: Final = "x-lakefs-meta-"
_DELETE_LIMIT: Final = 1000


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


@route("GET", "/repositories/{repository}/refs/{ref}/objects")
def _get_object(rest: Rest, request: Request, names: list[str]) -> Response:
    return _object_response(rest, request, names, body=True)


@route("HEAD", "/repositories/{repository}/refs/{ref}/objects")
def _head_object(rest: Rest, request: Request, names: list[str]) -> Response:
    return _object_response(rest, request, names, body=False)


@route("GET", "/repositories/{repository}/refs/{ref}/objects/stat")
def _stat_object(rest: Rest, request: Request, names: list[str]) -> Response:
    path = request.parameter("path")
    return json_response(_stats_json(path, rest.store.read(names[0], names[1], path)))


@route("GET", "/repositories/{repository}/refs/{ref}/objects/ls")
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


@route("POST", "/repositories/{repository}/branches/{branch}/objects")
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


@route("DELETE", "/repositories/{repository}/branches/{branch}/objects")
def _delete_object(rest: Rest, request: Request, names: list[str]) -> Response:
    rest.store.delete(names[0], names[1], request.parameter("path"))
    return Response(status=HTTPStatus.NO_CONTENT)


@route("POST", "/repositories/{repository}/branches/{branch}/objects/delete")
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


@route("POST", "/repositories/{repository}/branches/{branch}/objects/copy")
def _copy_object(rest: Rest, request: Request, names: list[str]) -> Response:
    body, path = request.json(), request.parameter("dest_path")
    stored = rest.store.read(names[0], body.get("src_ref") or names[1], body.get("src_path", ""))
    rest.store.write(names[0], names[1], path, stored)
    return json_response(_stats_json(path, stored), HTTPStatus.CREATED)
