"""The error tree: every leaf is documented, has its own code, and carries a status of our vocabulary."""

from __future__ import annotations

import re

import pytest

from shared import errors

STATUSES = {400, 401, 403, 404, 405, 409, 410, 413, 415, 429, 500, 501, 503}


def every_error(root: type = errors.LanewayError) -> list[type[errors.LanewayError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in every_error(child))]


@pytest.mark.parametrize("error", every_error())
def test_an_error_has_a_status_of_the_vocabulary_and_one_sentence(error):
    assert error.status in STATUSES
    assert re.fullmatch(r"[a-z][a-z_]+", error.code)
    assert error.__doc__
    assert error.__doc__.strip().endswith(".")


def test_no_two_errors_share_a_code():
    leaves = [error for error in every_error() if not error.__subclasses__()]
    codes = [error.code for error in leaves]
    assert len(codes) == len(set(codes))


def test_the_tree_in_the_docstring_lists_every_leaf_with_its_status_and_code():
    tree = errors.__doc__ or ""
    for error in every_error():
        if not error.__subclasses__():
            assert re.search(rf"{error.__name__} \.+ {error.status} {error.code}\b", tree), error


def test_a_body_has_the_protocols_member_and_only_the_facts_that_are_known():
    error = errors.SignatureError("input 'x' has rank 3", field="inputs[0].shape")
    assert error.body("r-1") == {
        "error": "input 'x' has rank 3",
        "code": "signature_mismatch",
        "field": "inputs[0].shape",
        "request_id": "r-1",
    }
    assert errors.InternalError("broken").body() == {"error": "broken", "code": "internal_error"}
