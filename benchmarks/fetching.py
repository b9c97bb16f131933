"""Fetching a large model's file: our parallel ranges against one stream, each connection as slow as S3's.

`python -m benchmarks.fetching` starts a server on this machine that gives each connection so many MB/s, which is what
S3 is known to give, and fetches the same bytes in both ways, hashed. It shows that the ranges are limited by the
connections and not by us; it shows nothing of S3.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import multiprocessing
import re
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from shared.artifacts.ranges import STREAMS, fetch
from shared.artifacts.signing import Address, Credentials

PIECE_BYTES = 1 << 20


def serve(size_bytes: int, mb_a_second: float, told: multiprocessing.connection.Connection) -> None:
    """Give zeros, each connection at its rate."""
    piece = bytes(PIECE_BYTES)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
            start, end = (int(asked[1]), int(asked[2]) + 1) if asked else (0, size_bytes)
            self.send_response(206 if asked else 200)
            self.send_header("content-length", str(end - start))
            self.end_headers()
            began_s, sent = time.monotonic(), 0
            while sent < end - start:
                sent += self.wfile.write(piece[: end - start - sent])
                due_s = began_s + sent / (mb_a_second * 1e6)
                time.sleep(max(0.0, due_s - time.monotonic()))

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    told.send(server.server_address[1])
    server.serve_forever()


def one_stream(host: str, target: Path) -> str:
    """A plain download into a file, hashed as it comes."""
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", "/model")
    answer, digest = connection.getresponse(), hashlib.sha256()
    with target.open("wb") as file:
        while piece := answer.read(PIECE_BYTES):
            digest.update(piece)
            file.write(piece)
    connection.close()
    return digest.hexdigest()


def ranges(host: str, target: Path, size_bytes: int) -> str:
    """As a function fetches it."""
    address = Address(host, "", "eu-west-1", secure=False)
    as_anybody = Credentials("AKIA", "secret")
    return fetch(address, "model", target, size_bytes=size_bytes, credentials=as_anybody)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=256)
    parser.add_argument("--mb-a-second", type=float, default=60.0, help="of one connection")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    size_bytes = asked.mb * 1_000_000
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(
        target=serve, args=(size_bytes, asked.mb_a_second, theirs), daemon=True
    )
    server.start()
    host = f"127.0.0.1:{ours.recv()}"
    rates: dict[str, list[float]] = {"one stream": [], f"{STREAMS} ranges at once": []}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model"
        for _ in range(asked.rounds):
            began_s = time.monotonic()
            one = one_stream(host, target)
            between_s = time.monotonic()
            target.unlink()
            began_again_s = time.monotonic()
            several = ranges(host, target, size_bytes)
            ended_s = time.monotonic()
            target.unlink()
            assert one == several
            rates["one stream"].append(asked.mb / (between_s - began_s))
            rates[f"{STREAMS} ranges at once"].append(asked.mb / (ended_s - began_again_s))
    server.terminate()
    for way, found in rates.items():
        print(f"{way}: {median(found):.0f} MB/s ({min(found):.0f} to {max(found):.0f})")  # noqa: T201  what a user reads
    ratios = [several / one for one, several in zip(*rates.values(), strict=True)]
    print(f"ratio: {median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")  # noqa: T201  as above


if __name__ == "__main__":
    main()
