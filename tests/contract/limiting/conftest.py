"""Counters and rows of tenants, in memory and on moto."""

from __future__ import annotations

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
        client.create_table(**usage_table.table_definition("contract-usage"))
        yield counters_dynamodb.DynamoCounters(client, table="contract-usage")


@pytest.fixture(params=["memory", "dynamodb"])
def rows(request):
    if request.param == "memory":
        yield tenants.MemoryTenantStore()
        return
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.create_table(**tenants.table_definition("contract-tenants"))
        yield tenants.DynamoTenantStore(client, table="contract-tenants")
