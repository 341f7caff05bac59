"""The dataset in a bucket of S3 or what speaks its protocol: conditional writes instead of a lock.

Where the service is and who asks it is for `s3`.
"""

import contextlib
import functools
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fc_resources import s3
from fc_resources.dataset import StaleError
from fc_resources.dataset_versions import HEAD, Versions
from fc_resources.errors import PermanentError, StopError, TransientError, UsageError, one_line

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

#: Of a condition that does not hold, and of one that somebody changes at the same time.
_FAILED, _CONTESTED = 412, 409
_SHA256 = "sha256"


class DatasetBucket(Versions):
    """`s3://bucket/prefix`; nothing is asked before the first use."""

    def __init__(self, address: str, path_style: bool | None = None) -> None:
        self._address = address.rstrip("/")
        self._bucket, _, prefix = self._address.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._path_style = path_style

    @property
    def name(self) -> str:
        return self._address

    @property
    def address(self) -> str:
        return self._address

    @functools.cached_property
    def _client(self) -> Any:
        return s3.client(self._path_style)

    def _read(self, path: str) -> bytes | None:
        found = self._got(path)
        return None if found is None else found["Body"].read()

    def _got(self, path: str) -> Any:
        try:
            return self._client.get_object(**self._at(path))
        except self._client.exceptions.NoSuchKey:
            return None

    def _write(self, path: str, data: bytes) -> None:
        self._put(path, data)

    def _put(self, path: str, data: bytes, **condition: str) -> None:
        told = {_SHA256: hashlib.sha256(data).hexdigest()}
        self._client.put_object(**self._at(path), Body=data, Metadata=told, **condition)

    def _put_if(self, path: str, data: bytes, **condition: str) -> bool:
        """Whether the condition held; if not, nothing was written."""
        from botocore.exceptions import ClientError

        try:
            self._put(path, data, **condition)
        except ClientError as error:
            if _status(error) in (_FAILED, _CONTESTED):
                return False
            raise
        return True

    def _create(self, path: str, data: bytes) -> None:
        if not self._put_if(path, data, IfNoneMatch="*") and self._got(path) is None:
            raise StaleError(f"{self.name} is being changed by somebody else")

    def _holds(self, path: str, digest: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            told = self._client.head_object(**self._at(path))
        except ClientError as error:
            if _status(error) == 404:
                return False
            raise
        return told["Metadata"].get(_SHA256) == digest

    def _remove(self, path: str) -> None:
        self._client.delete_object(**self._at(path))

    def _names(self, folder: str) -> list[str]:
        prefix = f"{self._prefix}{folder}/"
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix
        )
        found = (entry["Key"] for page in pages for entry in page.get("Contents", ()))
        return sorted(key.removeprefix(prefix) for key in found)

    def _advance(self, parent: str | None, revision: str) -> None:
        found = self._got(HEAD)
        if (None if found is None else found["Body"].read().decode()) != parent:
            raise StaleError(f"{self.name} has a newer version")
        condition = {"IfNoneMatch": "*"} if found is None else {"IfMatch": found["ETag"]}
        if not self._put_if(HEAD, revision.encode(), **condition):
            raise StaleError(f"{self.name} has a newer version")

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        # botocore takes 0.3 s to import, and most commands do without.
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise self._told(error) from None

    def _told(self, error: "BotoCoreError | ClientError") -> Exception:
        from botocore.exceptions import ClientError, NoCredentialsError, ProfileNotFound

        text = f"{self.name}: {one_line(error)}"
        if isinstance(error, (NoCredentialsError, ProfileNotFound)):
            return StopError(f"{text}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in")
        if not isinstance(error, ClientError):  # it was not reached, or broke off
            return TransientError(text)
        status = _status(error)
        if status in (401, 403):
            return StopError(f"{text}; give who asks the right to list, read and write there")
        if status == 404:
            return UsageError(f"{text}; make the bucket first")
        return PermanentError(text) if 400 <= status < 429 else TransientError(text)

    def _at(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + path}


def _status(error: "ClientError") -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
