"""The page of `laneway docs` in a real browser: it calls the service without ever seeing the key."""

import json
import os
import shutil

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.unit.cli.test_cli_docs import models, running  # noqa: F401  a fixture is found by its name
from tests.unit.client.recording_server import json_answer

pytestmark = pytest.mark.browser

WAIT_S = 30
ANSWER = {
    "model_name": "plus-one",
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [41.5]}],
}


@pytest.fixture
def browser(tmp_path):
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail("chromium and chromedriver must be installed where CI is set")
        pytest.skip("chromium and chromedriver are not installed")
    options = ChromeOptions()
    options.binary_location = binary
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path / 'browser'}")
    browser = Chrome(options=options, service=ChromeService(driver))
    yield browser
    browser.quit()


def test_a_request_sent_from_the_page_is_answered_on_the_page(browser, models, server):  # noqa: F811  the fixture
    server.will_answer(json_answer(ANSWER))

    def element(name):
        return browser.find_element(By.CSS_SELECTOR, f"[data-testid='{name}']")

    arguments = ("--models", models, "--endpoint", server.endpoint)
    with running(*arguments, LANEWAY_API_KEY="lw_canary") as (_, url):
        browser.get(url + "/docs")
        wait = WebDriverWait(browser, WAIT_S)
        wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "[data-testid='send-plus-one']"))
        element("send-plus-one").click()
        wait.until(lambda _: "41.5" in element("answer-plus-one").text)

        assert "200" in element("status-plus-one").text
        assert "lw_canary" not in browser.page_source

    (received,) = [call for call in server.received if call.method == "POST"]
    assert received.path == "/v2/models/plus-one/infer"
    assert received.headers["x-api-key"] == "lw_canary"
    assert json.loads(received.body)["inputs"][0]["name"] == "x"
