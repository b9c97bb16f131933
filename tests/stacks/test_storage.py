"""The keys table: encrypted, recoverable, and kept or removed as the stage says."""

from __future__ import annotations


def test_the_keys_table_can_be_restored_to_any_second_and_is_encrypted(every_stage) -> None:
    (table,) = every_stage.properties("AWS::DynamoDB::Table")

    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table["SSESpecification"]["SSEEnabled"] is True
    assert table["KeySchema"] == [{"AttributeName": "key_hash", "KeyType": "HASH"}]
    assert table["TableName"] == f"laneway-{every_stage.stage.name}-keys"
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_prod_keeps_the_table_and_its_key_when_the_stack_goes(prod) -> None:
    (table,) = prod.resources("AWS::DynamoDB::Table").values()
    (key,) = prod.resources("AWS::KMS::Key").values()

    assert table["DeletionPolicy"] == "Retain"
    assert table["Properties"]["DeletionProtectionEnabled"] is True
    assert key["DeletionPolicy"] == "Retain"
    assert key["Properties"]["EnableKeyRotation"] is True


def test_dev_and_local_leave_nothing_behind(dev, local) -> None:
    for synthesized in (dev, local):
        for template in synthesized.templates.values():
            for name, resource in template["Resources"].items():
                assert resource.get("DeletionPolicy", "Delete") == "Delete", name
