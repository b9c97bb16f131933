"""What functions are deployed to the emulator: which code each runs, and where each logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.dev.resources import PREFIX

if TYPE_CHECKING:
    from cli.dev.aws import Clients


def code_of(clients: Clients) -> dict[str, str]:
    """Function -> what tells its present code and settings from others."""
    return {
        function["FunctionName"]: f"{function['CodeSha256']} {function.get('Environment')} "
        f"{[layer['Arn'] for layer in function.get('Layers', [])]}"
        for page in clients.functions.get_paginator("list_functions").paginate()
        for function in page["Functions"]
    }


def log_groups(clients: Clients) -> dict[str, str]:
    """Log group -> the function that writes to it, without the stage's name."""
    return {
        function.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}"): name.removeprefix(
            PREFIX
        )
        for page in clients.functions.get_paginator("list_functions").paginate()
        for function in page["Functions"]
        for name in [function["FunctionName"]]
    }
