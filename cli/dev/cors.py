"""Gives the emulator's HTTP API the CORS rules of its template, so that web pages can call it.

Its CloudFormation reads no `CorsConfiguration` (ministack 1.5.33, `_apigw_v2_api_props`); its API
Gateway answers preflights by the very rules once they are set through the service's own call.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_apigatewayv2 import ApiGatewayV2Client


def apply_cors(client: ApiGatewayV2Client, assembly: Path) -> None:
    """Set the rules of every HTTP API in the synthesized stacks of `assembly`."""
    rules = _rules(assembly)
    for api in client.get_apis()["Items"]:
        if api["Name"] in rules:
            client.update_api(ApiId=api["ApiId"], CorsConfiguration=rules[api["Name"]])


def _rules(assembly: Path) -> dict[str, Any]:
    """API name -> its `CorsConfiguration`, which CloudFormation and the service write alike."""
    return {
        resource["Properties"]["Name"]: resource["Properties"]["CorsConfiguration"]
        for template in assembly.glob("*.template.json")
        for resource in json.loads(template.read_bytes())["Resources"].values()
        if resource["Type"] == "AWS::ApiGatewayV2::Api"
        and "CorsConfiguration" in resource["Properties"]
    }
