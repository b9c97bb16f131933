"""Counters and rows of tenants, in memory and on moto."""

from __future__ import annotations

from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from shared.limiting import counters_dynamodb, tenants, usage_table
from shared.limiting.counters import MemoryCounters


@pytest.fixture(params=["memory", "dynamodb"])
def counters(request):
    if request.param == "memory":
        yield MemoryCounters()
        return
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        table = f"usage-{uuid4().hex}"
        client.create_table(**usage_table.table_definition(table))
        yield counters_dynamodb.DynamoCounters(client, table=table)


@pytest.fixture(params=["memory", "dynamodb"])
def rows(request):
    if request.param == "memory":
        yield tenants.MemoryTenantStore()
        return
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        table = f"tenants-{uuid4().hex}"
        client.create_table(**tenants.table_definition(table))
        yield tenants.DynamoTenantStore(client, table=table)
