"""Objects in a bucket of any S3 that honours `If-None-Match` and signed checksums."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from common.errors import FarmError, Invalid, Misconfigured, NotFound, Unavailable
from common.storage import PART, SignedPut, Stored, other_bytes, refuses_overwriting

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_EXISTS = frozenset({"412", "PreconditionFailed"})
#: Another call that stores the same key has aborted this upload.
_ABORTED = frozenset({"NoSuchUpload"})
#: Another conditional write of the same key is under way: ask again.
_UNDECIDED = frozenset({"409", "ConditionalRequestConflict", "OperationAborted"})
_TRIES = 5
#: An upload that is older is not going on.
_ABANDONED = timedelta(days=1)


class S3Store:
    """A `Store` in one bucket. Signed URLs carry `public_endpoint`, everything else goes to `endpoint`."""

    def __init__(
        self,
        bucket: str,
        *,
        endpoint: str = "",
        public_endpoint: str = "",
        region: str = "us-east-1",
        access_key: str = "",
        secret_key: str = "",
    ) -> None:
        self._bucket = bucket
        self._where = endpoint or f"S3 in {region}"

        def client(url: str) -> S3Client:
            return boto3.client(
                "s3",
                endpoint_url=url or None,
                region_name=region,
                # Empty: boto3 looks for credentials where AWS tools keep them.
                aws_access_key_id=access_key or None,
                aws_secret_access_key=secret_key or None,
                config=_CONFIG,
            )

        self._client = client(endpoint)
        self._signer = client(public_endpoint) if public_endpoint else self._client

    def create(self, key: str, data: bytes, *, content_type: str, metadata: dict[str, str]) -> bool:
        for _ in range(_TRIES):
            try:
                with self._explained(key):
                    self._client.put_object(
                        Bucket=self._bucket,
                        Key=key,
                        Body=data,
                        ContentType=content_type,
                        Metadata=metadata,
                        IfNoneMatch="*",
                        ChecksumSHA256=base64.b64encode(hashlib.sha256(data).digest()).decode(),
                    )
            except _Undecided:
                continue
            except _Exists:
                return False
            return True
        raise Unavailable(f"{self._where} cannot decide who writes {key}; try again later")

    def create_file(self, key: str, file: Path, *, sha256: str, content_type: str) -> bool:
        if self.head(key) is not None:
            return False
        if file.stat().st_size > PART:
            return self._create_in_parts(key, file, sha256, content_type)
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise other_bytes(file)
        return self.create(key, data, content_type=content_type, metadata={})

    def _create_in_parts(self, key: str, file: Path, sha256: str, content_type: str) -> bool:
        """The object exists once all parts are there; those of an upload that fails are removed."""
        self._abort_abandoned(key)
        with self._explained(key):
            begun = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, ContentType=content_type
            )
        upload = begun["UploadId"]
        try:
            parts = self._send_parts(key, upload, file, sha256)
            with self._explained(key):
                self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload,
                    MultipartUpload={"Parts": parts},
                    IfNoneMatch="*",
                )
        except BaseException as error:
            with suppress(FarmError), self._explained(key):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
            if isinstance(error, _Exists):
                return False
            raise
        return True

    def _abort_abandoned(self, key: str) -> None:
        """Remove the parts of uploads whose sender was killed: to this key, or a day ago to one beside it."""
        folder = key.rpartition("/")[0]
        yesterday = datetime.now(UTC) - _ABANDONED
        with self._explained(key):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=f"{folder}/" if folder else ""
            )
            uploads = [upload for page in pages for upload in page.get("Uploads", ())]
        for upload in uploads:
            if upload["Key"] == key or upload["Initiated"] < yesterday:
                with suppress(Unavailable), self._explained(key):
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )

    def _send_parts(self, key: str, upload: str, file: Path, sha256: str) -> list[CompletedPartTypeDef]:
        parts: list[CompletedPartTypeDef] = []
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            while data := opened.read(PART):
                digest.update(data)
                number = len(parts) + 1
                with self._explained(key):
                    sent = self._client.upload_part(
                        Bucket=self._bucket, Key=key, UploadId=upload, PartNumber=number, Body=data
                    )
                parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        if digest.hexdigest() != sha256:
            raise other_bytes(file)
        return parts

    def read(self, key: str, *, limit: int) -> bytes:
        with self._explained(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            with answer["Body"] as body:
                if answer["ContentLength"] > limit:
                    raise Invalid(
                        f"{key} has {answer['ContentLength']} bytes, more than the {limit} allowed here"
                    )
                return body.read()

    def read_range(self, key: str, start: int, length: int) -> bytes:
        span = f"bytes={start}-{start + length - 1}"
        try:
            with self._explained(key):
                answer = self._client.get_object(Bucket=self._bucket, Key=key, Range=span)
                with answer["Body"] as body:
                    return body.read()
        except _PastEnd:
            return b""

    def head(self, key: str) -> Stored | None:
        try:
            with self._explained(key):
                answer = self._client.head_object(Bucket=self._bucket, Key=key)
        except NotFound:
            return None
        return Stored(
            key=key,
            size=answer["ContentLength"],
            content_type=answer["ContentType"],
            metadata=answer["Metadata"],
        )

    def delete(self, key: str) -> None:
        with self._explained(key):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def keys(self, prefix: str, *, stored_before: float | None = None) -> list[str]:
        with self._explained(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            return sorted(
                item["Key"]
                for page in pages
                for item in page.get("Contents", ())
                if stored_before is None or item["LastModified"].timestamp() < stored_before
            )

    def sign_put(self, key: str, *, size: int, sha256: str, content_type: str, expires_s: int) -> SignedPut:
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        url = self._signer.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self._bucket,
                "Key": key,
                "ContentLength": size,
                "ContentType": content_type,
                "ChecksumSHA256": checksum,
                "IfNoneMatch": "*",
            },
            ExpiresIn=expires_s,
        )
        headers = {"Content-Type": content_type, "If-None-Match": "*", "x-amz-checksum-sha256": checksum}
        return SignedPut(url=url, headers=headers)

    def sign_get(self, key: str, *, expires_s: int) -> str:
        return self._signer.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=expires_s
        )

    def probe(self) -> None:
        self._make_bucket()
        if not refuses_overwriting(self):
            raise Misconfigured(
                f"{self._where} ignores If-None-Match, so a second writer would overwrite images; choose an "
                "S3 with conditional writes, or a directory (storage.url: file:FOLDER)"
            )

    def _make_bucket(self) -> None:
        try:
            with self._explained(""):
                self._client.head_bucket(Bucket=self._bucket)
        except NotFound:
            with self._explained(""):
                self._client.create_bucket(Bucket=self._bucket)

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """botocore's errors as the farm's."""
        try:
            yield
        except ClientError as error:
            raise self._meaning(error, key) from error
        except BotoCoreError as error:
            raise Unavailable(f"the store at {self._where} does not answer: {error}") from error

    def _meaning(self, error: ClientError, key: str) -> FarmError:
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in _EXISTS:
            return _Exists(key)
        if code in _ABORTED:
            return Unavailable(f"another call stores {key} too and has taken over; try again later")
        if code in _MISSING:
            return NotFound(f"nothing is stored at {key}")
        if status == 416:
            return _PastEnd(key)
        what = f"{self._where}, bucket {self._bucket}: {error.response['Error'].get('Message') or code}"
        if code in _UNDECIDED:
            return _Undecided(f"the store waits for another call to finish: {what}")
        if status >= 500:
            return Unavailable(f"the store returned an error: {what}")
        return Misconfigured(f"the store refuses the farm ({code}); check the storage settings: {what}")


class _Exists(FarmError):
    """The key has an object already."""


class _PastEnd(FarmError):
    """The object ends before the range begins."""


class _Undecided(Unavailable):
    """Several write the key at once, and the server has not chosen one."""


_CONFIG = Config(
    signature_version="s3v4",
    connect_timeout=5,
    read_timeout=30,
    retries={"total_max_attempts": 3, "mode": "standard"},
    max_pool_connections=16,
)
