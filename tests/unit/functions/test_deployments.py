"""The function that CloudFormation tells of served versions: what is recorded, and what it answers."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from functions.deployments.handler import handler
from functions.deployments.service import changes, handle

STACK = "arn:aws:cloudformation:eu-west-1:111122223333:stack/laneway-dev-audit/8f1c"
OLD = ["iris 1 aaa", "iris 2 bbb", "text 1 ccc"]
NEW = ["iris 2 bbb", "iris 3 ddd", "text 1 eee"]


def event(kind, served, before=None, **members):
    return {
        "RequestType": kind,
        "RequestId": "r-1",
        "StackId": STACK,
        "LogicalResourceId": "Served",
        "ResponseURL": "https://cloudformation.example.com/answer",
        "ResourceProperties": {"ServiceToken": "arn", "Served": served},
        **({} if before is None else {"OldResourceProperties": {"Served": before}}),
        **members,
    }


def told(capsys, asked):
    answers = []
    handle(asked, lambda url, body: answers.append((url, json.loads(body))))
    [(url, answer)] = answers
    assert url == asked["ResponseURL"]
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()], answer


def test_a_change_is_what_is_served_under_another_digest_or_no_longer():
    assert list(changes(OLD, NEW)) == [
        ("deploy", "iris", "3", "ddd"),
        ("deploy", "text", "1", "eee"),
        ("undeploy", "iris", "1", "aaa"),
    ]
    assert list(changes(NEW, NEW)) == []


def test_an_update_is_recorded_with_the_stack_as_its_principal(capsys):
    lines, answer = told(capsys, event("Update", NEW, OLD, PhysicalResourceId="p"))

    assert [(line["audit"], line["model"], line["version"], line["digest"]) for line in lines] == [
        ("deploy", "iris", "3", "ddd"),
        ("deploy", "text", "1", "eee"),
        ("undeploy", "iris", "1", "aaa"),
    ]
    assert {line["principal"] for line in lines} == {"cloudformation:laneway-dev-audit"}
    assert {line["request_id"] for line in lines} == {"r-1"}
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "p")


@pytest.mark.parametrize(("kind", "act"), [("Create", "deploy"), ("Delete", "undeploy")])
def test_a_stack_that_comes_or_goes_takes_all_of_its_versions_along(capsys, kind, act):
    lines, answer = told(capsys, event(kind, OLD))

    assert [line["audit"] for line in lines] == [act] * 3
    assert answer["PhysicalResourceId"] == "laneway-served-models"


def test_a_deployment_whose_record_cannot_be_written_fails_and_says_why(capsys, caplog):
    _, answer = told(capsys, event("Update", ["malformed"], OLD))

    assert answer["Status"] == "FAILED"
    assert "TypeError" in caplog.text
    assert "the audit could not be written" in answer["Reason"]


def test_the_answer_is_put_to_the_address_that_cloudformation_gave(capsys):
    received = []

    class Taker(BaseHTTPRequestHandler):
        def do_PUT(self):
            size = int(self.headers["content-length"])
            received.append((self.path, self.headers["content-type"], self.rfile.read(size)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Taker) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/answer?signed"
        handler(event("Create", OLD, ResponseURL=url), None)
        thread.join()

    [(path, content_type, body)] = received
    assert (path, content_type) == ("/answer?signed", "")
    assert json.loads(body)["Status"] == "SUCCESS"
    assert capsys.readouterr().out
