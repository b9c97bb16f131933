"""Reads templates as AWS would: pseudo parameters have values, joins are joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Synthesized

ACCOUNT = "111122223333"
REGION = "eu-west-1"
_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}


def resolved(value: Any) -> Any:
    """The value with everything known put in; a reference to a resource becomes its logical id."""
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Ref"}:
        return _PSEUDO.get(value["Ref"], value["Ref"])
    if set(value) == {"Fn::Join"}:
        separator, members = value["Fn::Join"]
        return separator.join(str(resolved(member)) for member in members)
    if set(value) == {"Fn::GetAtt"}:
        return ".".join(value["Fn::GetAtt"])
    return {name: resolved(item) for name, item in value.items()}


def listed(value: Any) -> list[Any]:
    """CloudFormation writes a list of one as its member."""
    return value if isinstance(value, list) else [value]


def allowed_to(synthesized: Synthesized, function: str) -> dict[str, set[str]]:
    """What the role of the function of this name may do: resources by action."""
    (role,) = [
        resolved(found["Role"]).removesuffix(".Arn")
        for found in synthesized.properties("AWS::Lambda::Function")
        if found.get("FunctionName") == function
    ]
    allowed: dict[str, set[str]] = {}
    for policy in synthesized.properties("AWS::IAM::Policy"):
        if role in resolved(policy["Roles"]):
            for statement in policy["PolicyDocument"]["Statement"]:
                for action in listed(statement["Action"]):
                    allowed.setdefault(action, set()).update(
                        str(resource) for resource in listed(resolved(statement["Resource"]))
                    )
    return allowed
