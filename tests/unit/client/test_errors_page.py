"""docs/errors.md lists every error that a caller can meet, with the facts that the code has."""

import re
from pathlib import Path

import pytest

from cli.client.failures import GATEWAY_HINTS, failure_of
from shared import errors

PAGE = (Path(__file__).parents[3] / "docs" / "errors.md").read_text()
OURS, GATEWAYS = PAGE.split("## The gateway's own errors")


def rows(text):
    lines = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def tree(error=errors.LanewayError):
    return [error, *(leaf for child in error.__subclasses__() for leaf in tree(child))]


@pytest.mark.parametrize("error", tree())
def test_the_page_has_each_error_of_the_tree_with_its_status_code_and_retryability(error):
    found = [row for row in rows(OURS) if f"`{error.__name__}`" in row[2]]

    assert len(found) == 1, f"{error.__name__} needs one row in docs/errors.md"
    status, code, _, meaning, way_out, retry = found[0]
    assert (status, code) == (str(error.status), f"`{error.code}`")
    assert retry == ("yes" if error.retryable else "no")
    assert meaning
    assert way_out


def test_the_page_has_no_error_that_the_tree_lacks():
    named = {name for row in rows(OURS) for name in re.findall(r"`(\w+)`", row[2])}

    assert named == {error.__name__ for error in tree()}


@pytest.mark.parametrize("status", sorted(GATEWAY_HINTS))
def test_the_page_says_of_each_answer_of_the_gateway_what_the_client_does(status):
    (found,) = [row for row in rows(GATEWAYS) if row[0] == str(status)]

    failure = failure_of(status, {}, f'{{"message": "{found[1]}"}}'.encode())

    assert found[4] == ("yes" if failure.retryable else "no")
