"""What a deployed local stage has beside its functions, as `dev.json` names it: queues, bucket, tables.

Names follow from the stage's, as the stacks give them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

from cli.dev.deploy import STAGE

if TYPE_CHECKING:
    from cli.dev.state import AwsAccess

PREFIX: Final = f"laneway-{STAGE}-"
KEYS_TABLE: Final = f"{PREFIX}keys"
DEFAULT_POOL: Final = "shared"
_CLASSES: Final = ("async", "batch")
_TABLES: Final = ("keys", "jobs", "batches")


class Resources(TypedDict):
    """Members of `Running`."""

    queues: dict[str, str]
    buckets: dict[str, str]
    tables: dict[str, str]


def describe_resources(access: AwsAccess) -> Resources:
    """URLs of the default pool's queues by latency class, and the names of the bucket and the tables."""
    account = access.access_key_id  # the emulator's account is the key's id
    queues = f"{access.endpoint_url}/{account}/{PREFIX}"
    return {
        "queues": {kind: f"{queues}{DEFAULT_POOL}-{kind}" for kind in _CLASSES},
        "buckets": {"payloads": f"{PREFIX}{account}-{access.region}"},
        "tables": {name: f"{PREFIX}{name}" for name in _TABLES},
    }
