"""A jobs table in an emulator of AWS that a benchmark has for itself: results of all sides go there."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3

from benchmarks.harness.packages import ROOT
from cli.dev import emulator
from cli.dev.state import State
from shared.results.table import PARTITION_KEY, table_definition

_TABLE = "bench-jobs"


@contextlib.contextmanager
def running_table() -> Iterator[dict[str, str]]:
    """An empty table, until the block ends: the variables that tell a process where it is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        tempfile.TemporaryDirectory(prefix="bench-table-") as folder,
        emulator.start(ROOT, State(Path(folder)), port) as running,
    ):
        emulator.wait_until_up(running, port)
        access = emulator.access(port)
        client = boto3.client(
            "dynamodb",
            endpoint_url=access.endpoint_url,
            aws_access_key_id=access.access_key_id,
            aws_secret_access_key=access.secret_access_key,
            region_name=access.region,
        )
        client.create_table(**table_definition(_TABLE))
        yield {**access.to_env(), "BENCH_TABLE": _TABLE, "BENCH_TABLE_KEY": PARTITION_KEY}
