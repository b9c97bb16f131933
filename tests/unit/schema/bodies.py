"""Hypothesis strategies for request bodies: arbitrary JSON, valid requests, and nearly valid ones."""

from __future__ import annotations

from hypothesis import strategies as st

from shared.schema.datatypes import DATATYPE_NAMES

MEMBERS = ("id", "parameters", "inputs", "outputs", "name", "datatype", "shape", "data")

scalars = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**65), max_value=2**65)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.sampled_from(DATATYPE_NAMES)
)
keys = st.sampled_from(MEMBERS) | st.text(max_size=8)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
names = st.text(min_size=1, max_size=12)
parameters = st.none() | st.dictionaries(
    st.text(max_size=8),
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    max_size=4,
)
optional_parameters = st.fixed_dictionaries({}, optional={"parameters": parameters})
inputs = st.fixed_dictionaries(
    {
        "name": names,
        "datatype": st.sampled_from(DATATYPE_NAMES),
        "shape": st.lists(st.integers(min_value=0, max_value=2**63 - 1), max_size=5),
    },
    optional={"parameters": parameters, "data": json_values, "extra": json_values},
)
outputs = st.fixed_dictionaries({"name": names}, optional={"parameters": parameters})
valid_bodies = st.fixed_dictionaries(
    {"inputs": st.lists(inputs, min_size=1, max_size=3)},
    optional={
        "id": st.none() | st.text(max_size=20),
        "parameters": parameters,
        "outputs": st.none() | st.lists(outputs, max_size=3),
        "model_name": names,
    },
)


@st.composite
def nearly_valid_bodies(draw):
    """A valid body with one place, at any depth, replaced, removed or added."""
    body = draw(valid_bodies)
    holder, key = draw(st.sampled_from(list(_places(body))))
    change = draw(st.sampled_from(["replace", "remove", "add"]))
    if change == "remove":
        del holder[key]
    elif change == "add" and isinstance(holder, dict):
        holder[draw(keys)] = draw(json_values)
    else:
        holder[key] = draw(json_values)
    return body


def _places(node):
    pairs = list(node.items() if isinstance(node, dict) else enumerate(node))
    for key, value in pairs:
        yield node, key
        if isinstance(value, (dict, list)):
            yield from _places(value)
