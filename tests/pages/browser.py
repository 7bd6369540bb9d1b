"""A person in front of the chat page: one Chromium with its own empty profile.

Every wait is for something on the page; nothing here knows the server.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, final

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE: Final = 20.0  # seconds, for what takes milliseconds on a machine that is not busy
LOOK_EVERY: Final = 0.02  # seconds

_SWITCHES: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@final
class Person:
    """One browser window, and what a person does and sees in it.

    Args:
      width: of the page, in CSS pixels.
      height: of the page, in CSS pixels.
    """

    def __init__(self, width: int = 760, height: int = 720) -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        for switch in (
            *_SWITCHES,
            f"--window-size={width},{height}",
            f"--user-data-dir={self._profile.name}",
        ):
            options.add_argument(switch)
        browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
        if browser and driver:
            options.binary_location = browser
        try:
            self.driver = webdriver.Chrome(options=options, service=Service(driver))
        except BaseException:
            self._profile.cleanup()
            raise
        # The window's size would include its frame.
        self._tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def __enter__(self) -> Self:
        """The window is open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the window and forget its profile."""
        self.driver.quit()
        self._profile.cleanup()

    # What a person does.

    def open(self, url: str, room: str) -> None:
        """Open the page anew, with the form in front that asks for the name."""
        self.driver.get("about:blank")  # a change of the hash alone would not load it again
        self.driver.get(f"{url}#{room}")

    def join(self, url: str, room: str, name: str) -> None:
        """Open the page and be live in the room."""
        self.open(url, room)
        self.enter(name)
        self.wait_state("live")

    def enter(self, name: str) -> None:
        """Fill in the form."""
        field = self.find("#name")
        field.clear()
        field.send_keys(name, Keys.ENTER)

    def say(self, text: str) -> None:
        """Write a message and press Enter."""
        self.find("#text").send_keys(text, Keys.ENTER)

    def press(self, label: str) -> None:
        """Press the visible button with these words."""

        def pressed() -> bool:
            for button in self.driver.find_elements(By.TAG_NAME, "button"):
                if button.is_displayed() and button.text == label:
                    button.click()
                    return True
            return False

        self.wait(pressed, f"a button {label!r}")

    def set_offline(self, offline: bool) -> None:
        """Cut this machine off the network, or connect it again; the page is told."""
        self._tell("Network.enable")
        self._tell(
            "Network.emulateNetworkConditions",
            offline=offline,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def set_dark(self) -> None:
        """Prefer dark pages."""
        scheme = {"name": "prefers-color-scheme", "value": "dark"}
        self._tell("Emulation.setEmulatedMedia", features=[scheme])

    # What a person sees.

    def find(self, selector: str) -> WebElement:
        """The first element for a CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """What the elements of a CSS selector show, read in one step."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)"
        found: list[str] = self.driver.execute_script(script, selector)
        return found

    @property
    def roster(self) -> list[str]:
        """The names in the roster."""
        return self.texts("#roster .name")

    @property
    def messages(self) -> list[str]:
        """The texts of all messages, delivered or not, from top to bottom."""
        return self.texts(".message .text")

    @property
    def undelivered(self) -> list[str]:
        """The texts of the messages in the outbox."""
        return self.texts("#outbox .text")

    @property
    def banner(self) -> str:
        """What the banner says; empty where there is none."""
        return " ".join(self.texts("#banner:not([hidden]) p"))

    # Waiting.

    def wait(self, happened: Callable[[], object], what: str) -> None:
        """Wait until `happened()` is true; `what` names it in the failure."""

        def failure() -> str:
            return f"{what}; the page shows {self.texts('body')}"

        waiting = WebDriverWait(self.driver, PATIENCE, LOOK_EVERY)
        try:
            waiting.until(lambda _: happened())
        except Exception as error:
            error.add_note(failure())
            raise

    def wait_state(self, state: str) -> None:
        """Wait until the page is in this state."""
        self.wait(lambda: self.find("body").get_dom_attribute("data-state") == state, state)

    def wait_roster(self, *names: str) -> None:
        """Wait until exactly these people are in the roster, oneself first."""
        self.wait(lambda: self.roster == list(names), f"a roster of {names}")

    def wait_messages(self, *texts: str) -> None:
        """Wait until exactly these messages are delivered and shown, in this order."""
        self.wait(lambda: self.texts("#log .message .text") == list(texts), f"the messages {texts}")

    def wait_text(self, selector: str, text: str) -> None:
        """Wait until an element of the selector shows a text that contains `text`."""
        self.wait(
            lambda: any(text in shown for shown in self.texts(selector)), f"{text!r} in {selector}"
        )

    def _tell(self, command: str, **arguments: object) -> None:
        self.driver.execute_cdp_cmd(command, arguments)
