"""The console page in a real browser: a prompt is typed, text streams, sharers are seen on one node.

CONSOLE_PICTURES=FOLDER keeps the screenshots."""

import os
import pathlib
import re
import shutil
import time

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from running_server import RunningServer

STORY = "Once upon a time there was a little girl who lived in a house by the sea with her mother and a big dog."


@pytest.fixture(scope="module")
def browser():
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("no chromium and chromedriver: packages of Debian that scripts/setup --tests installs")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1280,900"):
        options.add_argument("--" + flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def server(binary):
    with RunningServer(binary, "demo") as running:
        yield running


def wait_for(what, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("did not happen in time")


def by_id(browser, name):
    return browser.find_element(By.ID, name)


def answers(browser):
    return [each.text for each in browser.find_elements(By.CSS_SELECTOR, ".message.assistant span")]


def set_number(browser, name, value):
    field = by_id(browser, name)
    field.clear()
    field.send_keys(str(value))


def keep_picture(browser, name):
    if "CONSOLE_PICTURES" in os.environ:
        browser.save_screenshot(str(pathlib.Path(os.environ["CONSOLE_PICTURES"]) / name))


def sharers(browser):
    script = "return [...document.querySelectorAll('#tree g.shared')].map(g => Number(g.dataset.sharers))"
    return browser.execute_script(script)


# Notes in the page, which is quicker than a test that asks: how often each answer grew, and the most sharers of a node.
RECORDER = """
window.growths = {}; window.mostSharers = 0; window.states = new Set();
new MutationObserver(changes => {
  for (const each of changes) {
    const answers = [...document.querySelectorAll('.message.assistant span')];
    const at = answers.indexOf(each.target.parentElement);
    if (at >= 0) growths[at] = (growths[at] ?? 0) + 1;
  }
  for (const node of document.querySelectorAll('#tree g.shared')) {
    mostSharers = Math.max(mostSharers, Number(node.dataset.sharers));
  }
  for (const cell of document.querySelectorAll('#sequence-rows td:nth-child(2)')) states.add(cell.textContent);
}).observe(document.body, {childList: true, characterData: true, subtree: true});
"""


def test_text_streams_and_sharers_are_seen(browser, server):
    browser.get(server.url + "/")
    wait_for(lambda: "serving" in by_id(browser, "state").text)
    assert by_id(browser, "model").text == server.model
    browser.execute_script(RECORDER)
    Select(by_id(browser, "choices")).select_by_visible_text("4")
    set_number(browser, "tokens", 1900)
    by_id(browser, "more").send_keys('{"ignore_eos": true}')
    by_id(browser, "prompt").send_keys(STORY, Keys.CONTROL, Keys.ENTER)
    wait_for(lambda: browser.execute_script("return mostSharers") >= 4)
    keep_picture(browser, "console.png")
    wait_for(lambda: by_id(browser, "send").is_enabled(), seconds=60)
    growths = browser.execute_script("return growths")
    assert len(growths) == 4 and min(growths.values()) > 10
    assert all(len(text) > 100 for text in answers(browser))
    assert "decode" in browser.execute_script("return [...states]")
    wait_for(lambda: len(browser.find_elements(By.CSS_SELECTOR, ".chart b")) == 6)
    wait_for(lambda: sharers(browser) == [])


def test_stop_ends_the_answer_and_the_request(browser, server):
    browser.get(server.url + "/")
    wait_for(lambda: "serving" in by_id(browser, "state").text)
    set_number(browser, "tokens", 1900)
    by_id(browser, "more").send_keys('{"ignore_eos": true}')
    browser.execute_script("""
        new MutationObserver((_, self) => {
          if (document.querySelector('.message.assistant span')?.textContent) {
            self.disconnect();
            document.getElementById('stop').click();
          }
        }).observe(document.getElementById('log'), {childList: true, characterData: true, subtree: true});""")
    by_id(browser, "prompt").send_keys(STORY, Keys.CONTROL, Keys.ENTER)
    wait_for(lambda: by_id(browser, "chat-note").text == "Stopped.")
    assert server.wait_metric("vllm:num_requests_running", 0) == 0
    assert 0 < len(answers(browser)[0]) < 5000


def test_a_narrow_screen_and_the_keyboard(browser, server):
    browser.set_window_size(360, 780)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": True})
    try:
        browser.get(server.url + "/")
        wait_for(lambda: "serving" in by_id(browser, "state").text)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
        seen = []
        for _ in range(12):
            browser.switch_to.active_element.send_keys(Keys.TAB)
            seen.append(browser.switch_to.active_element.get_attribute("id"))
        assert [name for name in seen if name in ("prompt", "send", "choices")] == ["prompt", "send", "choices"]
        by_id(browser, "prompt").send_keys("a")
        set_number(browser, "tokens", 5)
        by_id(browser, "send").send_keys(Keys.ENTER)
        wait_for(lambda: answers(browser) and by_id(browser, "send").is_enabled())
        keep_picture(browser, "console_narrow.png")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_control_has_a_name_and_nothing_comes_from_elsewhere(browser, server):
    browser.get(server.url + "/")
    script = """return [...document.querySelectorAll('button, input, select, textarea')]
        .filter(each => !(each.labels?.length || each.textContent.trim() || each.ariaLabel))
        .map(each => each.outerHTML)"""
    assert browser.execute_script(script) == []
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert loaded and all(name.startswith(server.url) for name in loaded)
    errors = [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert [line for line in errors if "favicon" not in line] == []


def test_a_page_with_keys_asks_for_one_and_shows_no_other_tenants_nodes(browser, binary, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("first-key-1\nsecond-key-2\n")
    with RunningServer(binary, "demo", "--api-key-file", str(keys)) as server:
        ask = {"prompt": STORY, "max_tokens": 4}
        assert server.post("/v1/completions", ask, {"authorization": "Bearer second-key-2"})[0] == 200
        browser.get(server.url + "/")
        wait_for(lambda: by_id(browser, "key").is_displayed())
        by_id(browser, "key").send_keys("first-key-1", Keys.ENTER)
        wait_for(lambda: by_id(browser, "state").text == "serving" and not by_id(browser, "key").is_displayed())
        wait_for(lambda: by_id(browser, "tree-summary").text.startswith("0 nodes"))
        browser.execute_script("document.getElementById('key').value = 'second-key-2'")
        browser.execute_script("document.getElementById('key-form').requestSubmit()")
        wait_for(lambda: not by_id(browser, "tree-summary").text.startswith("0 nodes"))
