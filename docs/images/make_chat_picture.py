"""Take the pictures of the chat page: two windows on the real server.

Run it from the project's folder: `python -m docs.images.make_chat_picture`.
It needs Chromium, selenium and Pillow, and writes beside itself:

- `chat.png`: a talk of three people, in the windows of two;
- `chat-restart.png`: the same windows while the server restarts.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFilter

from tests.pages.browser import Person
from tests.pages.served import Served

FOLDER: Final = Path(__file__).parent
HEIGHT: Final = 720  # px of each window
WIDE, NARROW = 880, 390  # px
EDGE: Final = 43  # px around and between the windows
CORNER: Final = 14  # px
TABLE: Final = (226, 223, 213)  # what the windows lie on

TALK: Final = (
    ("Ada", "Is anyone near the kettle?"),
    ("Grace", "I am. Earl Grey, or the smoky one?"),
    ("Ada", "The smoky one, please."),
    ("Edsger", "Make that three cups. I have biscuits, and a proof that there are enough."),
    ("Grace", "By the way: I restart the server at ten. Just go on writing."),
    ("Ada", "What is written meanwhile waits, and goes out when we are back?"),
    ("Grace", "Exactly."),
)


def main() -> None:
    """Start a server, let people talk, and take the pictures."""
    with (
        Served() as served,
        Person(WIDE, HEIGHT) as ada,
        Person(NARROW, HEIGHT) as grace,
        Person() as edsger,
    ):
        people = {"Ada": ada, "Grace": grace, "Edsger": edsger}
        grace.set_dark()
        for name, person in people.items():
            person.join(served.url, "tea", name)
        ada.wait_roster("Ada", "Edsger", "Grace")
        said: list[str] = []
        for name, text in TALK:
            people[name].say(text)
            said.append(text)
            for person in people.values():
                person.wait_messages(*said)
        _save("chat.png", ada, grace)
        served.terminate()
        for person in (ada, grace):
            person.wait_state("reconnecting")
        served.wait()
        ada.say("On my way, with three cups.")
        _save("chat-restart.png", ada, grace)


def _save(name: str, *people: Person) -> None:
    windows = [Image.open(io.BytesIO(person.driver.get_screenshot_as_png())) for person in people]
    width = sum(window.width + EDGE for window in windows) + EDGE
    picture = Image.new("RGB", (width, HEIGHT + 2 * EDGE), TABLE)
    left = EDGE
    for window in windows:
        shape = Image.new("L", window.size)
        ImageDraw.Draw(shape).rounded_rectangle((0, 0, window.width - 1, HEIGHT - 1), CORNER, 255)
        shadow = Image.new("L", picture.size)
        shadow.paste(shape.point(lambda value: value // 4), (left, EDGE + 8))
        picture.paste((60, 55, 40), mask=shadow.filter(ImageFilter.GaussianBlur(14)))
        picture.paste(window, (left, EDGE), shape)
        left += window.width + EDGE
    picture.quantize(256, dither=Image.Dither.NONE).save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    main()
