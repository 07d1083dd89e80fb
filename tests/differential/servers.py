"""Starts what is to be compared: moto's server, and a local cloud if none is named."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from play import ACCOUNT, Server


@contextlib.contextmanager
def moto() -> Iterator[Server]:
    # Both say the same account, so that ARNs can be compared as they are.
    os.environ["MOTO_ACCOUNT_ID"] = ACCOUNT
    # As SQS does, moto refuses a second purge for a minute. We don't, and mean it.
    os.environ["MOTO_SQS_ENFORCE_STRICT_QUEUE_PURGE_BEHAVIOUR"] = "false"
    # It reads them as it is imported.
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    # In this process, so that it ends with it, however it ends.
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        yield Server(endpoint, endpoint, "local", "local-secret")
    finally:
        server.stop()


@contextlib.contextmanager
def local_cloud() -> Iterator[Server]:
    """The crate's example server, built first if need be."""
    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as data:
        command = ["cargo", "run", "--quiet", "-p", "local-cloud", "--example", "serve", "--", data]
        process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            endpoints = process.stdout.readline().split()
            if len(endpoints) < 2:
                raise RuntimeError("the local cloud did not start")
            yield Server(endpoints[0], endpoints[1], "local", "local-secret")
        finally:
            process.terminate()
            process.wait()
