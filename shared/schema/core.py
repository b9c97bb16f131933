"""pydantic_core's compiled part, without the Python beside it.

`import pydantic_core` also imports its description of core schemas for type checkers: a fifth of what the
realtime path imports, and nothing that a run needs. Where the whole package is there already it is used;
where it is imported later, it finds this part under its own name.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator, ValidationError, from_json, to_json

_PACKAGE: Final = "pydantic_core"
_PART: Final = "_pydantic_core"


def _compiled() -> Any:
    name = f"{_PACKAGE}.{_PART}"
    if name in sys.modules:
        return sys.modules[name]
    package = PathFinder.find_spec(_PACKAGE)
    folders = package and package.submodule_search_locations
    part = PathFinder.find_spec(_PART, folders) if folders else None
    spec = spec_from_file_location(name, part.origin) if part and part.origin else None
    if spec is None or spec.loader is None:
        raise ImportError(f"no compiled part of {_PACKAGE} was found", name=name)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if not TYPE_CHECKING:
    _loaded = _compiled()
    SchemaValidator = _loaded.SchemaValidator
    ValidationError = _loaded.ValidationError
    from_json = _loaded.from_json
    to_json = _loaded.to_json

__all__ = ["SchemaValidator", "ValidationError", "from_json", "to_json"]
