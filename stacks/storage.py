"""The storage stack: what outlives a deploy. Tables of keys, jobs and batches; the bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aws_cdk import ArnFormat, Aws, Stack

from shared.limiting import tenants
from shared.limiting import usage_table as usage
from shared.results import batches_table as batches
from shared.results import table as jobs
from stacks import names
from stacks.parts.bucket import make_bucket
from stacks.parts.table import make_table

if TYPE_CHECKING:
    from constructs import Construct

    from stacks.stages import Stage

_KEYS_TABLE: Final[dict[str, Any]] = {
    "KeySchema": [{"AttributeName": "key_hash", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "key_hash", "AttributeType": "S"}],
}


class StorageStack(Stack):
    """Holds SHA-256 of each key, never a key; each job's row; inputs and results too large for a row."""

    def __init__(self, scope: Construct, *, stage: Stage) -> None:
        super().__init__(
            scope,
            names.stack(stage.name, "storage"),
            description=f"Laneway {stage.name}: what outlives a deploy",
        )
        self.keys_table = make_table(
            self,
            "Keys",
            stage=stage,
            definition={**_KEYS_TABLE, "TableName": names.keys_table(stage.name)},
        )
        make_table(
            self,
            "Tenants",
            stage=stage,
            definition=tenants.table_definition(names.tenants_table(stage.name)),
        )
        make_table(
            self,
            "Usage",
            stage=stage,
            definition=usage.table_definition(names.usage_table(stage.name)),
            ttl_attribute=usage.TTL_ATTRIBUTE,
        )
        self.jobs_table = make_table(
            self,
            "Jobs",
            stage=stage,
            definition=jobs.table_definition(names.jobs_table(stage.name)),
            ttl_attribute=jobs.TTL_ATTRIBUTE,
        )
        make_table(
            self,
            "Batches",
            stage=stage,
            definition=batches.table_definition(names.batches_table(stage.name)),
            ttl_attribute=batches.TTL_ATTRIBUTE,
        )
        self.bucket = make_bucket(
            self,
            "Bucket",
            stage=stage,
            name=names.bucket(stage.name, account=Aws.ACCOUNT_ID, region=Aws.REGION),
            told_of_uploads=self.format_arn(
                service="sqs",
                resource=names.split_queue(stage.name),
                arn_format=ArnFormat.NO_RESOURCE_NAME,
            ),
        )
