"""Maps by pool as text that says once what their members have in common.

Lambda keeps 4 KB of environment for a function, and the queues of a dozen pools filled it when each
stood there as a URL. What follows no pattern is written out in full, and both forms are read.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SEPARATORS: Final = (",", ":")


def write_queues(queues: Mapping[str, Mapping[str, str]]) -> str:
    """Addresses by pool and kind: `[[base, {"async batch": [pools]}], ...]`.

    The address of a queue is base, pool, `-` and kind; where one is not, all are written as they are.
    """
    bases: dict[str, dict[str, list[str]]] = {}
    for pool, addresses in queues.items():
        kinds: dict[str, list[str]] = defaultdict(list)
        for kind, address in addresses.items():
            name = f"{pool}-{kind}"
            if not address.endswith(name):
                return _json(queues)
            kinds[address.removesuffix(name)].append(kind)
        for base, found in kinds.items():
            bases.setdefault(base, {}).setdefault(" ".join(found), []).append(pool)
    return _json(list(bases.items())) if all(queues.values()) else _json(queues)


def read_queues(text: str) -> dict[str, dict[str, str]]:
    """The addresses again; raises `TypeError` or `ValueError` for what is neither form."""
    written = json.loads(text)
    if isinstance(written, dict):
        return {
            pool: {kind: _text(address) for kind, address in addresses.items()}
            for pool, addresses in written.items()
        }
    queues: dict[str, dict[str, str]] = defaultdict(dict)
    for base, groups in written:
        for kinds, pools in groups.items():
            for pool in pools:
                queues[pool] |= {kind: f"{_text(base)}{pool}-{kind}" for kind in kinds.split(" ")}
    return dict(queues)


def write_aliases(aliases: Mapping[str, Mapping[str, Any]]) -> str:
    """Members by pool, where `function` is like `laneway-dev-*-realtime`: `[[like, others, [pools]], ...]`."""
    groups: dict[str, tuple[str, dict[str, Any], list[str]]] = {}
    for pool, members in aliases.items():
        before, named, after = str(members["function"]).rpartition(f"-{pool}-")
        if not named:
            return _json(aliases)
        pattern = f"{before}-*-{after}"
        rest = {name: value for name, value in members.items() if name != "function"}
        group = groups.setdefault(_json([pattern, rest]), (pattern, rest, []))
        group[2].append(pool)
    return _json(list(groups.values())) if groups else "{}"


def read_aliases(text: str) -> dict[str, dict[str, Any]]:
    """The members again; raises `TypeError` or `ValueError` for what is neither form."""
    written = json.loads(text)
    if isinstance(written, dict):
        return written
    return {
        pool: {"function": pattern.replace("*", pool), **rest}
        for pattern, rest, pools in written
        for pool in pools
    }


def _json(value: Any) -> str:
    return json.dumps(value, separators=_SEPARATORS)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
