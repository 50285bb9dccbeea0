"""Places for the stores of tests: a folder, and a bucket of an S3 server on loopback."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import obstore
from obstore.store import S3Store

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
}
BUCKET = "corpora"


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """An S3 server of moto's in a process of its own, with one bucket; gives its address.

    While it runs, the environment of this process and its children leads there.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        with served({**ENVIRONMENT, "AWS_ENDPOINT_URL": address}):
            yield address
    finally:
        server.kill()
        server.wait()


@contextlib.contextmanager
def served(variables: Mapping[str, str]) -> Iterator[str]:
    """Has this process and its children use a server, in which a bucket is made; its address."""
    import boto3  # type: ignore[import-untyped]

    before = dict(os.environ)
    os.environ.update(variables)
    try:
        address = variables["AWS_ENDPOINT_URL"]
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket=BUCKET)
        yield address
    finally:
        os.environ.clear()
        os.environ.update(before)


def objects() -> S3Store:
    """The server's bucket, for looking behind the scenes."""
    return S3Store(
        BUCKET,
        config={
            "endpoint": os.environ["AWS_ENDPOINT_URL"],
            "region": "us-east-1",
            "virtual_hosted_style_request": False,
        },
        client_options={"allow_http": True},
    )


def names() -> list[str]:
    """Names of all objects in the bucket."""
    return [one["path"] for part in obstore.list(objects()) for one in part]


def folder(base: Path) -> str:
    """A folder that is not there yet."""
    return str(base / "store")


def bucket(_: Path) -> str:
    """A name in the bucket that nobody has used."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}/store"


PLACES: dict[str, Callable[[Path], str]] = {"folder": folder, "s3": bucket}


def _wait(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError("the S3 server does not answer")
