"""Object contents over the S3 gateway: small ones as bytes, files streamed, each call with tries."""

from collections.abc import Sequence
from functools import cache, cached_property
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from typing import Any, Final

from headwater.lake.lakefs._calls import Caller, ServerAnswerError
from headwater.lake.lakefs._settings import LakeFSSettings

_DELETE_BATCH: Final = 1000
_REGION: Final = "us-east-1"

_sessions: Final = Lock()


@cache
def _session() -> Any:
    """One session a process: it reads the service's large description once."""
    import boto3

    return boto3.session.Session()


class Objects:
    """Contents of one repository.

    Args:
        settings: Where it is.
        call: How calls are tried.
    """

    def __init__(self, settings: LakeFSSettings, call: Caller) -> None:
        """Connects nowhere yet."""
        self._settings = settings
        self._call = call

    @cached_property
    def _s3(self) -> Any:
        from botocore.config import Config

        config = Config(
            connect_timeout=self._settings.connect_timeout,
            read_timeout=self._settings.read_timeout,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        with _sessions:
            return _session().client(
                "s3",
                endpoint_url=self._settings.gateway_url,
                aws_access_key_id=self._settings.access_key,
                aws_secret_access_key=self._settings.secret_key,
                region_name=_REGION,
                config=config,
            )

    @cached_property
    def _transfer(self) -> Any:
        from boto3.s3.transfer import TransferConfig

        return TransferConfig(use_threads=False)

    @property
    def _bucket(self) -> str:
        return self._settings.repository

    def get(self, ref: str, key: str) -> bytes | None:
        """An object's bytes, None when there is none."""

        def read() -> bytes:
            answer = self._s3.get_object(Bucket=self._bucket, Key=f"{ref}/{key}")
            return bytes(answer["Body"].read())

        try:
            return self._call(f"read {key}", read)
        except ServerAnswerError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def has(self, ref: str, key: str) -> bool:
        """Whether an object stands at a key."""
        try:
            self._call(f"look for {key}", lambda: self._s3.head_object(Bucket=self._bucket, Key=f"{ref}/{key}"))
        except ServerAnswerError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def put(self, branch: str, key: str, data: bytes) -> None:
        """Stages an object."""
        self._call(f"write {key}", lambda: self._s3.put_object(Bucket=self._bucket, Key=f"{branch}/{key}", Body=data))

    def put_new(self, branch: str, key: str, data: bytes) -> bool:
        """Stages an object unless one stands there; False when one does, perhaps from a try whose answer was lost."""
        from botocore.exceptions import ClientError

        def put() -> bool:
            try:
                self._s3.put_object(Bucket=self._bucket, Key=f"{branch}/{key}", Body=data, IfNoneMatch="*")
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.PRECONDITION_FAILED:
                    return False
                raise
            return True

        return self._call(f"write {key} on a condition", put)

    def upload(self, branch: str, key: str, file: Path) -> None:
        """Stages a local file."""
        self._call(
            f"write {key}",
            lambda: self._s3.upload_file(str(file), self._bucket, f"{branch}/{key}", Config=self._transfer),
        )

    def download(self, ref: str, key: str, file: Path) -> None:
        """Writes an object to a local file, whose folder is made."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._call(
            f"read {key}",
            lambda: self._s3.download_file(self._bucket, f"{ref}/{key}", str(file), Config=self._transfer),
        )

    def delete(self, branch: str, keys: Sequence[str]) -> None:
        """Stages the removal of objects."""
        for start in range(0, len(keys), _DELETE_BATCH):
            chosen = [{"Key": f"{branch}/{key}"} for key in keys[start : start + _DELETE_BATCH]]
            answer = self._call(
                "remove objects",
                lambda chosen=chosen: self._s3.delete_objects(  # type: ignore[misc]
                    Bucket=self._bucket, Delete={"Objects": chosen, "Quiet": True}
                ),
            )
            if errors := answer.get("Errors"):
                raise ServerAnswerError(
                    location=self._settings.location,
                    action="remove objects",
                    status=HTTPStatus.INTERNAL_SERVER_ERROR,
                    message=f"{errors[0].get('Code')} {errors[0].get('Message')} for {errors[0].get('Key')}",
                )
