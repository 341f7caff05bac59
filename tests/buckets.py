"""A service on loopback that speaks S3, and the variables that make clients use it."""

import contextlib
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

KEY, SECRET = "AKIATESTS", "the-secret-of-the-tests"


@contextlib.contextmanager
def served(monkeypatch: pytest.MonkeyPatch, bucket: str) -> Iterator[str]:
    """The address of a new service with one bucket, which this process uses meanwhile."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        told = {"ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET, "REGION": "us-east-1"}
        told |= {"DEFAULT_REGION": "us-east-1", "ENDPOINT_URL": f"http://{host}:{port}"}
        for name, value in told.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        client = boto3.client("s3")
        client.create_bucket(Bucket=bucket)
        yield told["ENDPOINT_URL"]
        # What one server of a process stores, its next one still has.
        for entry in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=entry.get("Key", ""))
    finally:
        server.stop()
