"""The page at /docs: self-contained, under a strict policy, and it really sends requests."""

from __future__ import annotations

import json
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from shared.schema.docs_page import docs_headers, docs_html
from shared.schema.openapi import build_openapi
from tests.unit.schema.test_openapi import CATALOG, GOLDEN

WAIT_S = 20
ANSWER = {
    "model_name": "iris-lr",
    "outputs": [{"name": "y", "datatype": "INT64", "shape": [1], "data": [7]}],
}


def policy(**arguments):
    return docs_headers(**arguments)["content-security-policy"]


def test_the_page_names_no_other_host():
    page = docs_html().decode()

    assert re.findall(r"(?:https?:)?//[a-z]", page) == []
    assert not re.search(r"<script[^>]+src|<link[^>]+stylesheet|@import|url\(", page)


def test_the_policy_lets_only_the_pages_own_blocks_run():
    assert policy().startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy()
    assert not re.search(r" (style|on[a-z]+)=", docs_html().decode())


def test_the_page_may_call_its_own_origin_and_the_server_only():
    assert "connect-src 'self';" in policy()
    assert "connect-src 'self' https://api.example.com;" in policy(
        server_url="https://api.example.com/prod"
    )


class Service(BaseHTTPRequestHandler):
    """Stands for a deployed service below a base path: the page, the document, one model."""

    def do_GET(self):
        if self.path == "/stage/docs":
            self.reply(200, docs_html(), docs_headers())
        elif self.path == "/stage/openapi.json":
            # The document names the machine differently than the browser's address does.
            url = f"http://localhost:{self.server.server_port}/stage"
            document = build_openapi(CATALOG, server_url=url, examples={"iris-lr": GOLDEN})
            self.reply(200, json.dumps(document).encode(), {"content-type": "application/json"})
        else:
            self.reply(200, b'{"live":true}', {"content-type": "application/json"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, self.headers["x-api-key"], body))
        if self.headers["x-api-key"] != "lw_secret":
            self.reply(403, b'{"message":"Forbidden"}', {"content-type": "application/json"})
        else:
            self.reply(200, json.dumps(ANSWER).encode(), {"content-type": "application/json"})

    def reply(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.received = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(timeout=WAIT_S)


@pytest.fixture
def browser(tmp_path):
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("no chromium with chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


def by_test_id(browser, test_id):
    return browser.find_element(By.CSS_SELECTOR, f'[data-testid="{test_id}"]')


def send_and_wait(browser, name):
    by_test_id(browser, f"send-{name}").click()
    WebDriverWait(browser, WAIT_S).until(
        lambda b: by_test_id(b, f"status-{name}").get_attribute("data-kind") in {"good", "bad"}
    )
    return by_test_id(browser, f"status-{name}").text


@pytest.mark.browser
def test_a_visitor_sends_a_request_to_each_kind_of_call_and_reads_the_answers(browser, service):
    browser.get(f"http://127.0.0.1:{service.server_port}/stage/docs")
    WebDriverWait(browser, WAIT_S).until(lambda b: b.find_elements(By.ID, "model-iris-lr"))

    filled_in = by_test_id(browser, "request-iris-lr").get_property("value")
    assert json.loads(filled_in) == GOLDEN
    assert send_and_wait(browser, "iris-lr").startswith("403")

    by_test_id(browser, "api-key").send_keys("lw_secret")
    assert send_and_wait(browser, "iris-lr").startswith("200")
    assert json.loads(by_test_id(browser, "answer-iris-lr").text) == ANSWER
    assert by_test_id(browser, "time-iris-lr").text.endswith(" ms")
    headers = by_test_id(browser, "headers-iris-lr").get_property("textContent")
    assert "content-type: application/json" in headers

    assert send_and_wait(browser, "server_live").startswith("200")
    path, key, body = service.received[-1]
    assert (path, key) == ("/stage/v2/models/iris-lr/infer", "lw_secret")
    assert json.loads(body) == GOLDEN
    # A 403 is logged by the browser as a network error; a refused script or style would be too.
    assert [
        e for e in browser.get_log("browser") if "Content Security Policy" in e["message"]
    ] == []


@pytest.mark.browser
def test_a_key_in_the_pages_address_is_taken_over_and_removed(browser, service):
    browser.get(f"http://127.0.0.1:{service.server_port}/stage/docs#key=lw_secret")
    WebDriverWait(browser, WAIT_S).until(lambda b: b.find_elements(By.ID, "model-iris-lr"))

    assert by_test_id(browser, "api-key").get_property("value") == "lw_secret"
    assert "lw_secret" not in browser.current_url
    assert send_and_wait(browser, "iris-lr").startswith("200")
