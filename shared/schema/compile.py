"""Turns the Pydantic request models into JSON, ahead of time, for functions that do not load Pydantic.

The Pydantic models stay the one definition of the schema; `shared.schema.compiled` makes validators
of what is exported here, and `tests/unit/schema` proves that both behave alike.
"""

from __future__ import annotations

from typing import Any

from shared.schema.request import InferenceRequest

EXPORTED = {"inference_request": InferenceRequest}

_LEFT_OUT = frozenset({"metadata", "title", "ref", "custom_init", "root_model", "computed_fields"})
"""Only documentation, or the default value of what a declarative model can set."""
_CALLABLE_SCHEMAS = ("function-", "definition", "call", "custom-error", "is-instance", "callable")


def export_validators() -> dict[str, Any]:
    """The core schema of every request model, by the name that `Validators` gives it.

    Holds nothing but JSON: a class is its name. Raises TypeError for a model that is not purely
    declarative, at synth, where its author sees it.
    """
    return {name: _plain(model.__pydantic_core_schema__) for name, model in EXPORTED.items()}


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        _check(node)
        return {key: _plain(value) for key, value in node.items() if key not in _LEFT_OUT}
    if isinstance(node, (list, tuple)):
        return [_plain(value) for value in node]
    if isinstance(node, type):
        return node.__name__
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    raise TypeError(f"{node!r} cannot be exported as JSON; keep the request models declarative")


def _check(node: dict[str, Any]) -> None:
    kind = node.get("type")
    if isinstance(kind, str) and kind.startswith(_CALLABLE_SCHEMAS):
        raise TypeError(
            f"a {kind!r} schema cannot be exported; keep the request models declarative"
        )
    if node.get("custom_init") or node.get("root_model") or node.get("computed_fields"):
        raise TypeError(
            f"{node.get('cls')} is not a plain model; keep the request models declarative"
        )
