"""Starts what is to be compared: moto's server, and a local cloud if none is named."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from play import ACCOUNT, Server

PATIENCE_S = 60.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def moto() -> Iterator[Server]:
    port = _free_port()
    environment = os.environ | {
        # Both say the same account, so that ARNs can be compared as they are.
        "MOTO_ACCOUNT_ID": ACCOUNT,
        # As SQS does, moto refuses a second purge for a minute. We don't, and mean it.
        "MOTO_SQS_ENFORCE_STRICT_QUEUE_PURGE_BEHAVIOUR": "false",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("moto's server did not start")
            time.sleep(0.05)
        endpoint = f"http://127.0.0.1:{port}"
        yield Server(endpoint, endpoint, "local", "local-secret")
    finally:
        process.terminate()
        process.wait()


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
