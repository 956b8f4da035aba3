"""The S3 subset: path-style `/repository/ref/key` to operations of the store."""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote, unquote_plus
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from headwater.testing.lakefs_double._errors import Refusal, bad_request
from headwater.testing.lakefs_double._http import Request, Response, ranged
from headwater.testing.lakefs_double._listing import MAX_PER_PAGE, entries, page
from headwater.testing.lakefs_double._model import StoredObject, Upload
from headwater.testing.lakefs_double._rest_objects import condition_of
from headwater.testing.lakefs_double._sigv4 import verify
from headwater.testing.lakefs_double._store import Store

_META_HEADER: Final = "x-amz-meta-"
_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_CHUNK_HEADER: Final = re.compile(rb"^([0-9a-fA-F]+)(?:;[^\r\n]*)?\r\n")


class Gateway:
    """Answers S3 requests."""

    def __init__(self, store: Store, credentials: Mapping[str, str]) -> None:
        """Serves `store` to whoever signs with a known key."""
        self._store = store
        self._credentials = credentials

    def answer(self, request: Request) -> Response:
        """The answer to one request; refusals become S3's XML errors."""
        try:
            verify(request, self._credentials)
            return self._dispatch(request)
        except Refusal as refusal:
            status = HTTPStatus.NOT_FOUND if refusal.code == "NoSuchVersion" else refusal.status
            text = f"<Code>{escape(refusal.code or 'InternalError')}</Code><Message>{escape(refusal.message)}</Message>"
            body = b"" if request.method == "HEAD" else _document("Error", text, namespace=False)
            return Response(status=status, headers={"Content-Type": "application/xml"}, body=body)

    def _dispatch(self, request: Request) -> Response:
        repository, _, rest = request.raw_path.lstrip("/").partition("/")
        if not repository:
            return self._list_buckets()
        repository = unquote(repository)
        try:
            self._store.repository(repository)
        except Refusal as refusal:
            raise Refusal(refusal.status, "The specified bucket does not exist", code="NoSuchBucket") from refusal
        if not rest:
            return self._bucket(request, repository)
        ref, _, key = rest.partition("/")
        return self._object(request, repository, unquote(ref), unquote(key))

    # Buckets

    def _list_buckets(self) -> Response:
        names = [
            f"<Bucket><Name>{item.name}</Name><CreationDate>{_iso(item.created)}</CreationDate></Bucket>"
            for item in self._store.repositories()
        ]
        return _xml("ListAllMyBucketsResult", f"<Buckets>{''.join(names)}</Buckets>")

    def _bucket(self, request: Request, repository: str) -> Response:
        match request.method:
            case "HEAD":
                return Response()
            case "POST" if "delete" in request.query:
                return self._delete_batch(request, repository)
            case "GET" if "location" in request.query:
                return _xml("LocationConstraint", "")
            case "GET" if request.parameter("list-type") == "2":
                return self._list(request, repository)
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "The specified method is not allowed.", code="MethodNotAllowed")

    def _list(self, request: Request, repository: str) -> Response:
        prefix, delimiter = request.parameter("prefix"), request.parameter("delimiter")
        limit = min(int(request.parameter("max-keys") or MAX_PER_PAGE), MAX_PER_PAGE)
        after = request.parameter("continuation-token") or request.parameter("start-after")
        ref, slash, _ = prefix.partition("/")
        if not slash:
            branches = self._store.repository(repository).branches
            found = {f"{name}/": True for name in sorted(branches) if name.startswith(ref)}
            tree: Mapping[str, StoredObject] = {}
        else:
            try:
                tree = {f"{ref}/{path}": item for path, item in self._store.tree(repository, ref).items()}
            except Refusal:
                tree = {}
            found = entries(tree, prefix=prefix, delimiter=delimiter)
        listed = list(found)
        chosen, record = page(listed, listed, after=after, limit=limit)
        parts = [
            f"<Name>{repository}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(chosen)}</KeyCount>",
            f"<MaxKeys>{limit}</MaxKeys><IsTruncated>{str(record['has_more']).lower()}</IsTruncated>",
        ]
        if record["has_more"]:
            parts.append(f"<NextContinuationToken>{escape(str(record['next_offset']))}</NextContinuationToken>")
        for name in chosen:
            if found[name]:
                parts.append(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>")
            else:
                item = tree[name]
                parts.append(
                    f"<Contents><Key>{escape(name)}</Key><LastModified>{_iso(item.mtime)}</LastModified>"
                    f"<ETag>&quot;{item.checksum}&quot;</ETag><Size>{item.size}</Size>"
                    "<StorageClass>STANDARD</StorageClass></Contents>"
                )
        return _xml("ListBucketResult", "".join(parts))

    def _delete_batch(self, request: Request, repository: str) -> Response:
        parts = []
        for key in _elements(request.body, "Key"):
            branch, _, path = key.partition("/")
            try:
                self._store.delete(repository, branch, path)
                parts.append(f"<Deleted><Key>{escape(key)}</Key></Deleted>")
            except Refusal as refusal:
                parts.append(
                    f"<Error><Key>{escape(key)}</Key><Code>{refusal.code}</Code>"
                    f"<Message>{escape(refusal.message)}</Message></Error>"
                )
        return _xml("DeleteResult", "".join(parts))

    # Objects

    def _object(self, request: Request, repository: str, ref: str, key: str) -> Response:
        handlers: dict[str, Callable[[Request, str, str, str], Response]] = {
            "GET": self._get,
            "HEAD": self._get,
            "PUT": self._put,
            "POST": self._post,
            "DELETE": self._delete,
        }
        if request.method not in handlers:
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "The method is not allowed.", code="MethodNotAllowed")
        return handlers[request.method](request, repository, ref, key)

    def _get(self, request: Request, repository: str, ref: str, key: str) -> Response:
        stored = self._store.read(repository, ref, key)
        headers = {
            "ETag": f'"{stored.checksum}"',
            "Content-Type": stored.content_type,
            "Last-Modified": format_datetime(datetime.fromtimestamp(stored.mtime, UTC), usegmt=True),
            "Accept-Ranges": "bytes",
            **{_META_HEADER + name: value for name, value in stored.metadata.items()},
        }
        if request.method == "HEAD":
            return Response(headers={**headers, "Content-Length": str(stored.size)})
        try:
            span = ranged(stored.data, request.headers.get("range", ""))
        except ValueError as error:
            raise Refusal(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                "The requested range is not satisfiable",
                code="InvalidRange",
            ) from error
        if span is None:
            return Response(headers=headers, body=stored.data)
        headers["Content-Range"] = f"bytes {span[0]}-{span[1]}/{stored.size}"
        return Response(status=HTTPStatus.PARTIAL_CONTENT, headers=headers, body=stored.data[span[0] : span[1] + 1])

    def _put(self, request: Request, repository: str, ref: str, key: str) -> Response:
        try:
            self._store.branch(repository, ref)
        except Refusal as refusal:
            raise Refusal(refusal.status, "The specified bucket does not exist", code="NoSuchBucket") from refusal
        if "uploadId" in request.query:
            return self._put_part(request, repository)
        if "x-amz-copy-source" in request.headers:
            return self._copy(request, repository, ref, key)
        stored = StoredObject.of(
            payload(request), content_type=request.headers.get("content-type", ""), metadata=_metadata(request)
        )
        condition = condition_of(request.headers, unconditional=request.unconditional)
        self._store.write(repository, ref, key, stored, condition=condition)
        return Response(headers={"ETag": f'"{stored.checksum}"'})

    def _copy(self, request: Request, repository: str, ref: str, key: str) -> Response:
        source = self._copied(request)
        stored = source
        if request.headers.get("x-amz-metadata-directive", "").upper() == "REPLACE":
            stored = StoredObject.of(source.data, content_type=source.content_type, metadata=_metadata(request))
        self._store.write(repository, ref, key, stored)
        text = f"<LastModified>{_iso(stored.mtime)}</LastModified><ETag>&quot;{stored.checksum}&quot;</ETag>"
        return _xml("CopyObjectResult", text)

    def _copied(self, request: Request) -> StoredObject:
        source = unquote_plus(request.headers["x-amz-copy-source"]).lstrip("/").split("/", 2)
        if len(source) != len(("repository", "ref", "key")):
            raise Refusal(HTTPStatus.BAD_REQUEST, "Copy Source must mention bucket and key.", code="InvalidArgument")
        return self._store.read(*source)

    def _put_part(self, request: Request, repository: str) -> Response:
        upload = self._store.upload(repository, request.parameter("uploadId"))
        data = self._copied(request).data if "x-amz-copy-source" in request.headers else payload(request)
        upload.parts[int(request.parameter("partNumber"))] = data
        return Response(headers={"ETag": f'"{_md5(data)}"'})

    def _post(self, request: Request, repository: str, ref: str, key: str) -> Response:
        if "uploads" in request.query:
            upload = Upload(
                branch=ref, path=key, content_type=request.headers.get("content-type", ""), metadata=_metadata(request)
            )
            id = self._store.begin_upload(repository, upload)
            text = f"<Bucket>{repository}</Bucket><Key>{escape(f'{ref}/{key}')}</Key><UploadId>{id}</UploadId>"
            return _xml("InitiateMultipartUploadResult", text)
        if "uploadId" in request.query:
            return self._complete(request, repository, ref, key)
        raise bad_request("400 BadRequest")

    def _complete(self, request: Request, repository: str, ref: str, key: str) -> Response:
        id = request.parameter("uploadId")
        upload = self._store.upload(repository, id)
        numbers = [int(text) for text in _elements(request.body, "PartNumber")]
        etags = [text.strip('"') for text in _elements(request.body, "ETag")]
        for number, etag in zip(numbers, etags, strict=True):
            if number not in upload.parts or _md5(upload.parts[number]) != etag:
                raise Refusal(HTTPStatus.BAD_REQUEST, "One or more parts could not be found.", code="InvalidPart")
        if numbers != sorted(numbers):
            raise Refusal(HTTPStatus.BAD_REQUEST, "The parts were not in order.", code="InvalidPartOrder")
        digests = b"".join(hashlib.md5(upload.parts[n], usedforsecurity=False).digest() for n in numbers)
        stored = StoredObject.of(
            b"".join(upload.parts[number] for number in numbers),
            content_type=upload.content_type,
            metadata=upload.metadata,
            checksum=f"{_md5(digests)}-{len(numbers)}",
        )
        condition = condition_of(request.headers, unconditional=request.unconditional)
        self._store.write(repository, ref, key, stored, condition=condition)
        self._store.end_upload(repository, id)
        text = f"<Bucket>{repository}</Bucket><Key>{escape(f'{ref}/{key}')}</Key><ETag>&quot;{stored.checksum}&quot;</ETag>"
        return _xml("CompleteMultipartUploadResult", text)

    def _delete(self, request: Request, repository: str, ref: str, key: str) -> Response:
        if "uploadId" in request.query:
            self._store.end_upload(repository, request.parameter("uploadId"))
        else:
            try:
                self._store.delete(repository, ref, key)
            except Refusal as refusal:
                if refusal.status is not HTTPStatus.NOT_FOUND:
                    raise
        return Response(status=HTTPStatus.NO_CONTENT)


def payload(request: Request) -> bytes:
    """The object's bytes: the body, freed of `aws-chunked` framing when it has one."""
    if not request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        return request.body
    data, rest = bytearray(), request.body
    while match := _CHUNK_HEADER.match(rest):
        size = int(match.group(1), 16)
        if not size:
            break
        data += rest[match.end() : match.end() + size]
        rest = rest[match.end() + size + 2 :]
    return bytes(data)


def _elements(body: bytes, name: str) -> list[str]:
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, "The XML you provided was not well-formed.", code="MalformedXML"
        ) from error
    return [element.text or "" for element in root.iter() if element.tag.rpartition("}")[2] == name]


def _metadata(request: Request) -> dict[str, str]:
    return {
        name.removeprefix(_META_HEADER): value
        for name, value in request.headers.items()
        if name.startswith(_META_HEADER)
    }


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _document(name: str, content: str, *, namespace: bool = True) -> bytes:
    attribute = f' xmlns="{_NAMESPACE}"' if namespace else ""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}{attribute}>{content}</{name}>'.encode()


def _xml(name: str, content: str) -> Response:
    return Response(headers={"Content-Type": "application/xml"}, body=_document(name, content))
