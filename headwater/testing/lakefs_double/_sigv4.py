"""AWS Signature Version 4 in the `Authorization` header, verified.

Source: AWS documentation, "Signature Version 4 signing process" (canonical request, string to sign, signing key).
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from headwater.testing.lakefs_double._errors import Refusal
from headwater.testing.lakefs_double._http import Request

_HEADER: Final = re.compile(
    r"^AWS4-HMAC-SHA256\s+Credential=(?P<key>[^/]+)/(?P<scope>[^,]+),\s*SignedHeaders=(?P<headers>[^,]+),\s*"
    r"Signature=(?P<signature>[0-9a-f]+)$"
)
_HEX_DIGEST: Final = re.compile(r"^[0-9a-f]{64}$")


def verify(request: Request, credentials: Mapping[str, str]) -> None:
    """Refuses a request that no known key signed, or whose body is not the one signed.

    Args:
        request: The request.
        credentials: Access key to secret.

    Raises:
        Refusal: 403 for an unknown key or a wrong signature, 400 for a body of another digest.
    """
    match = _HEADER.match(request.headers.get("authorization", ""))
    if match is None:
        raise Refusal(HTTPStatus.FORBIDDEN, "Access Denied.", code="AccessDenied")
    secret = credentials.get(match["key"])
    if secret is None:
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            "The access key ID you provided does not exist in our records.",
            code="InvalidAccessKeyId",
        )
    expected = _signature(request, secret, scope=match["scope"], signed=match["headers"].split(";"))
    if not hmac.compare_digest(expected, match["signature"]):
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            "The request signature we calculated does not match the signature you provided.",
            code="SignatureDoesNotMatch",
        )
    digest = request.headers.get("x-amz-content-sha256", "")
    if _HEX_DIGEST.fullmatch(digest) and hashlib.sha256(request.body).hexdigest() != digest:
        raise Refusal(HTTPStatus.BAD_REQUEST, "The body's digest does not match.", code="XAmzContentSHA256Mismatch")


def _signature(request: Request, secret: str, *, scope: str, signed: list[str]) -> str:
    parts = urlsplit(request.target)
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    canonical = "\n".join(
        [
            request.method,
            parts.path or "/",
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signed),
            "",
            ";".join(signed),
            request.headers.get("x-amz-content-sha256", ""),
        ]
    )
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            request.headers.get("x-amz-date", ""),
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()
