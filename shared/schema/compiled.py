"""The request validators at run time: made from the exported core schemas by `pydantic_core` alone.

Does not import Pydantic, which costs a cold start more than onnxruntime does. A validated request
is a light object with the attributes of the Pydantic model, and is typed as that model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, cast

from shared.schema.core import SchemaValidator, ValidationError
from shared.schema.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_core import CoreSchema

    from shared.schema.request import InferenceRequest


class Light:
    """What `pydantic_core` fills in instead of a Pydantic model: frozen, attributes only."""

    # The slots that pydantic_core sets on every instance of a class of a `model` schema.
    __slots__ = (
        "__dict__",
        "__pydantic_extra__",
        "__pydantic_fields_set__",
        "__pydantic_private__",
    )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a request is frozen; {name!r} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a request is frozen; {name!r} cannot be deleted")

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({members})"


class Validators:
    """One method per exported model, each from parsed JSON to a validated request."""

    __slots__ = ("_inference_request",)

    def __init__(self, *, inference_request: Callable[[object], Any]) -> None:
        self._inference_request = inference_request

    def inference_request(self, body: object) -> InferenceRequest:
        """The request in `body`, as `parse_json` gives it. Raises InvalidRequestError."""
        try:
            return self._inference_request(body)  # type: ignore[no-any-return]  # typed as the model it stands for; a cast costs time
        except ValidationError as error:
            raise refusal(error) from error


def load_validators(data: Mapping[str, Any]) -> Validators:
    """Make the validators from what `export_validators` gave, as it comes back from JSON."""
    schema = cast("CoreSchema", _revive(data["inference_request"]))
    return Validators(inference_request=SchemaValidator(schema).validate_python)


def _revive(node: Any) -> Any:
    if isinstance(node, dict):
        revived = {key: _revive(value) for key, value in node.items()}
        if node.get("type") == "model":
            revived["cls"] = type(node["cls"], (Light,), {"__slots__": ()})
        return revived
    if isinstance(node, list):
        return [_revive(value) for value in node]
    return node
