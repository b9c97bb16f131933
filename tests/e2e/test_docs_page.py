"""The page to try it, in a real browser: a request for each model is sent and its answer read."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.deployed, pytest.mark.browser]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1200,1600",
)
ANSWER_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    binary = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail("chromium and chromedriver must be installed where CI is set")
        pytest.skip("chromium and chromedriver are not installed")
    options = ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def page(browser, service):
    browser.get(f"{service.endpoint}/docs")
    wait = WebDriverWait(browser, ANSWER_TIMEOUT_S)
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "[data-testid^='send-']"))
    key = element(browser, "api-key")
    key.clear()
    key.send_keys(service.facts["api_key"])
    return browser


def element(browser, name):
    return browser.find_element(By.CSS_SELECTOR, f"[data-testid='{name}']")


def send(page, model):
    """The status that the page shows for the model, once the answer is there, and the answer's JSON."""
    element(page, f"send-{model}").click()
    wait = WebDriverWait(page, ANSWER_TIMEOUT_S)
    wait.until(lambda b: element(b, f"answer-{model}").text.strip())
    return element(page, f"status-{model}").text, json.loads(element(page, f"answer-{model}").text)


@pytest.mark.parametrize("model", ["breast-cancer", "page-orientation", "sentence-embedding"])
def test_the_request_that_the_page_fills_in_is_answered_on_the_page(page, model):
    assert json.loads(element(page, f"request-{model}").get_property("value"))["inputs"]
    status, answer = send(page, model)
    assert "200" in status
    assert answer["model_name"] == model
    assert all(output["data"] for output in answer["outputs"])


def test_the_page_shows_a_refusal_with_its_reason(page):
    request = element(page, "request-breast-cancer")
    request.clear()
    request.send_keys('{"inputs": []}')
    status, answer = send(page, "breast-cancer")
    assert "400" in status
    assert "inputs" in answer["error"]


def test_the_page_fetches_nothing_from_elsewhere(page, service):
    fetched = page.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [url for url in fetched if not url.startswith(service.endpoint)] == []


def test_the_browser_has_nothing_to_complain_about(browser, service):
    browser.get_log("browser")
    browser.get(f"{service.endpoint}/docs")
    WebDriverWait(browser, ANSWER_TIMEOUT_S).until(
        lambda b: b.find_elements(By.CSS_SELECTOR, "[data-testid^='send-']")
    )
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [entry for entry in severe if "favicon" not in entry["message"]] == []
