"""What checkov finds in the templates and is accepted, each rule with its reason; `tests/stacks/test_checkov.py` reads it.

cdk-nag's findings are answered beside their constructs (`stacks/parts/acknowledge.py`). Those of checkov are here,
because it reads templates: an answer of its own form would have to be deployed with each resource.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """One rule that does not hold, and why that is right."""

    rule: str
    type: str
    """The CloudFormation type of the resources that it is accepted for."""
    reason: str
    stages: frozenset[str] | None = None
    """Only there, as the test calls them; None: everywhere."""


FUNCTION: Final = "AWS::Lambda::Function"
_WITHOUT_KEY: Final = frozenset({"dev", "rabbit"})
_BY_AWS: Final = (
    "The stage has no key of its own: AWS's keys encrypt it. `customer_key=True` of a stage, as prod has it, "
    "gives it one; see docs/security.md."
)

ACCEPTED: Final = (
    Accepted(
        rule="CKV_AWS_115",
        type=FUNCTION,
        reason="Reserving concurrency takes it from the account's other functions. What must be bounded is: queues "
        "by max_concurrency of their event sources, the API by its throttle.",
    ),
    Accepted(
        rule="CKV_AWS_116",
        type=FUNCTION,
        reason="It concerns asynchronous invocations. Functions are called by the gateway, by each other or by queues, "
        "which have dead-letter queues; those that a clock starts look again a minute later.",
    ),
    Accepted(
        rule="CKV_AWS_117",
        type=FUNCTION,
        reason="A function in a network needs an endpoint or a NAT gateway for each service that it calls, and starts "
        "no safer: IAM decides what it may do. Webhooks must reach the internet. Only `send` is in a network.",
    ),
    Accepted(
        rule="CKV_AWS_173",
        type=FUNCTION,
        reason="Variables hold names, addresses and numbers, no secret: a test walks them. Lambda encrypts them with "
        "its own key.",
    ),
    Accepted(
        rule="CKV_AWS_18",
        type="AWS::S3::Bucket",
        reason="Who submitted, ran or fetched what is in our own audit, which names the caller; S3's access log knows "
        "roles alone. CloudTrail's data events are the account's choice.",
    ),
    Accepted(
        rule="CKV_AWS_65",
        type="AWS::ECS::Cluster",
        reason="The workers and the scaler write what is asked of a fleet; Container Insights would bill a metric for "
        "each task beside it. The same answer is given to AwsSolutions-ECS4.",
    ),
    Accepted(
        rule="CKV_AWS_111",
        type="AWS::IAM::Policy",
        reason="Lambda makes the network interfaces of `send` in its name, and their ids are not known before. Its "
        "own code is denied these calls by lambda:SourceFunctionArn, which the rule does not look at.",
        stages=frozenset({"rabbit"}),
    ),
    Accepted(rule="CKV_AWS_119", type="AWS::DynamoDB::Table", reason=_BY_AWS, stages=_WITHOUT_KEY),
    Accepted(rule="CKV_AWS_158", type="AWS::Logs::LogGroup", reason=_BY_AWS, stages=_WITHOUT_KEY),
    Accepted(rule="CKV_AWS_26", type="AWS::SNS::Topic", reason=_BY_AWS, stages=_WITHOUT_KEY),
    Accepted(rule="CKV_AWS_27", type="AWS::SQS::Queue", reason=_BY_AWS, stages=_WITHOUT_KEY),
)
