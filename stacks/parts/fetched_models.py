"""The models of a pool that its package has no room for: uploaded as assets, read by its functions alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_s3_assets as assets

from shared.limits import LAMBDA_DISK_MIB_MIN
from stacks.packaging.fetched import disk_mib
from stacks.parts.permissions import allow

if TYPE_CHECKING:
    from constructs import Construct

    from stacks.deployment import Deployment
    from stacks.parts.permissions import HasRole


class FetchedModels:
    """Of one pool, for one of its functions; there may be none."""

    def __init__(self, scope: Construct, deployment: Deployment, pool: str) -> None:
        self._fetched = deployment.assets.fetched.get(pool, {})
        files = {file.sha256: file for found in self._fetched.values() for file in found}
        self._uploaded = [
            assets.Asset(scope, f"Model{sha256[:16]}", path=str(file.path), asset_hash=sha256)
            for sha256, file in files.items()
        ]

    @property
    def bucket(self) -> str:
        """The name of the bucket that the CDK uploads to; empty where there is nothing to fetch."""
        return self._uploaded[0].s3_bucket_name if self._uploaded else ""

    @property
    def disk_mib(self) -> int:
        """The disk that the function needs."""
        return disk_mib(self._fetched) if self._uploaded else LAMBDA_DISK_MIB_MIN

    def allow(self, part: HasRole) -> None:
        """Let the function read these objects and no other."""
        allow(
            part,
            "FetchModels",
            actions=["s3:GetObject"],
            resources=[file.bucket.arn_for_objects(file.s3_object_key) for file in self._uploaded],
        )
