"""The web page in real Chromium: what a person sees, types, clicks and shares.

Needs `chromium` and `chromedriver` (Debian: `apt-get install chromium chromium-driver fonts-noto-core`); skips without
them unless PEYDA_REQUIRE_BROWSER=1. Nothing leaves this machine: a test looks at every address that was asked for.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import ProxyHandler, build_opener

import numpy as np
import pytest
from PIL import Image

from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.pipeline import index_photos
from peyda.server import running

pytestmark = pytest.mark.browser

WAIT_S = 20
COLOURS = {"قرمز": (220, 30, 30), "سبز": (30, 200, 40), "آبی": (30, 40, 220), "white": (250, 250, 250)}
SHAPES = [(120, 80), (80, 120), (100, 100), (160, 60)]
HOSTILE_NAME = "<img src=x onerror=window.hacked=1>&amp;.png"
FILLERS = 60
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
NAMELESS_MAY_BE = {"list", "search"}


def find_program(*names: str) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium = find_program("chromium", "chromium-browser", "google-chrome")
    chromedriver = find_program("chromedriver", "chromium.chromedriver")
    missing = (
        "" if chromium and chromedriver else "chromium and chromedriver (apt-get install chromium chromium-driver)"
    )
    if importlib.util.find_spec("selenium") is None:
        missing = "the Python package selenium"
    if missing and os.environ.get("PEYDA_REQUIRE_BROWSER") == "1":
        pytest.fail(f"not installed: {missing}")
    if missing:
        pytest.skip(f"not installed: {missing}")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_OFFLINE", "true")  # selenium must never look for a driver on the network
        driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    driver.set_page_load_timeout(WAIT_S)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Any) -> GalleryDirectory:
    """Four colours in four shapes, a hostile name, and many small grey photographs to fill a second page."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(11)
    for name, rgb in COLOURS.items():
        for width, height in SHAPES:
            pixels = np.clip(np.asarray(rgb) + rng.integers(-8, 9, (height, width, 3)), 0, 255).astype(np.uint8)
            path = folder / f"عکس {name} {width}x{height}.png"
            Image.fromarray(pixels).save(path)
            os.utime(path, (1_711_000_000, 1_711_000_000))  # 21 March 2024: 2 Farvardin 1403
    Image.new("RGB", (40, 40), (235, 235, 30)).save(folder / HOSTILE_NAME)
    for i in range(FILLERS):
        Image.new("RGB", (30, 20), (90 + i, 90 + i, 90 + i)).save(folder / f"grey{i}.png")
    directory = GalleryDirectory.create(tmp_path_factory.mktemp("gallery"), tiny_encoder)
    assert index_photos(directory, tiny_encoder, [str(folder)]).photos == 16 + 1 + FILLERS
    return directory


@pytest.fixture(scope="module")
def url(gallery: GalleryDirectory, tiny_encoder: Any) -> Iterator[str]:
    with running(gallery, encoder=tiny_encoder) as address:
        yield address


class Page:
    """What a person can see and do."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, **place: str) -> Page:
        self.driver.get(f"{self.url}/" + (f"?{urlencode(place)}" if place else ""))
        return self

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any]) -> Any:
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(self.driver, WAIT_S, 0.05, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(lambda _: condition())

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def one(self, selector: str) -> Any:
        return self.wait(lambda: next(iter(self.all(selector)), None))

    def seen(self, selector: str) -> Any:
        return self.wait(lambda: next((node for node in self.all(selector) if node.is_displayed()), None))

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def place(self) -> dict[str, str]:
        query = urlsplit(self.driver.current_url).query
        return {name: values[0] for name, values in parse_qs(query).items()}

    def focused_id(self) -> str | None:
        return self.js("return document.activeElement.dataset?.id ?? null")

    def tile_ids(self) -> list[str]:
        return list(self.js("return [...document.querySelectorAll('.tile')].map((tile) => tile.dataset.id)"))

    def wait_for_tiles(self) -> list[str]:
        return list(self.wait(self.tile_ids))

    def ask(self, path: str, **params: Any) -> Any:
        with build_opener(ProxyHandler({})).open(f"{self.url}{path}?{urlencode(params)}", timeout=WAIT_S) as reply:
            return json.load(reply)

    def expected(self, **params: Any) -> list[str]:
        return [str(hit["photo_id"]) for hit in self.ask("/api/search", **params)["hits"]]

    def complaints(self) -> list[str]:
        """Errors of the console, those of the page's policy included."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def page(driver: Any, url: str) -> Iterator[Page]:
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.set_window_size(1280, 900)
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get_log("performance")
    page = Page(driver, url)
    yield page
    assert page.complaints() == []


def set_phone(page: Page) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def set_media(page: Page, name: str, value: str) -> None:
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": name, "value": value}]})


# Searching


def test_the_page_opens_right_to_left_with_the_cursor_in_the_search_box(page: Page) -> None:
    page.open()
    page.seen(".examples a")
    assert page.js("return [document.documentElement.lang, document.documentElement.dir]") == ["fa", "rtl"]
    assert page.js("return document.activeElement.id") == "query"
    assert "۷۷ عکس" in page.one("#gallery-line").text
    assert page.driver.title == "پیدا"


def test_typing_a_search_shows_the_photographs_in_their_order(page: Page) -> None:
    page.open()
    page.one("#query").send_keys("قرمز\n")
    ids = page.wait_for_tiles()
    assert ids == page.expected(q="قرمز", k=60)
    assert page.place() == {"q": "قرمز"}
    assert page.driver.title == "قرمز · پیدا"
    assert "۶۰ عکس از ۷۷ عکس" in page.one("#status").text
    names = [tile.get_attribute("aria-label") for tile in page.all(".tile")[:4]]
    assert all("قرمز" in name for name in names)


def test_an_address_can_be_shared_and_back_goes_back(page: Page) -> None:
    page.open(q="آبی")
    first = page.wait_for_tiles()
    assert page.one("#query").get_property("value") == "آبی"
    box = page.one("#query")
    box.clear()
    box.send_keys("سبز\n")
    page.wait(lambda: page.place() == {"q": "سبز"} and page.tile_ids()[:1] == page.expected(q="سبز", k=1))
    page.driver.back()
    page.wait(lambda: page.tile_ids() == first)
    assert page.one("#query").get_property("value") == "آبی"


def test_an_example_is_one_click_away(page: Page) -> None:
    page.open()
    example = page.seen(".examples a")
    words = example.text
    example.click()
    page.wait_for_tiles()
    assert page.place() == {"q": words}


def test_tiles_have_their_shape_before_their_pictures(page: Page) -> None:
    page.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/thumbnail*"]})
    try:
        page.open(q="سبز")
        page.wait_for_tiles()
        ratios = page.js(
            "return [...document.querySelectorAll('.tile')].slice(0, 4).map((tile) => {"
            " const box = tile.getBoundingClientRect(); return [tile.dataset.id, box.width / box.height]; })"
        )
        hits = {str(hit["photo_id"]): hit for hit in page.ask("/api/search", q="سبز", k=4)["hits"]}
        for number, ratio in ratios:
            assert ratio == pytest.approx(hits[number]["width_px"] / hits[number]["height_px"], rel=0.02)
    finally:
        page.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        page.complaints()  # blocked pictures are complained about, as they should be


def test_pictures_far_below_are_not_loaded_yet(page: Page) -> None:
    set_phone(page)
    page.open(q="سبز")
    page.wait_for_tiles()
    page.wait(lambda: page.js("return document.querySelector('.tile img').complete"))
    assert all(page.js("return [...document.querySelectorAll('.tile img')].map((image) => image.loading === 'lazy')"))


def test_more_photographs_are_added_below(page: Page) -> None:
    page.open(q="سبز")
    first = page.wait_for_tiles()
    assert len(first) == 60
    more = page.seen("#more")
    page.js("arguments[0].click()", more)
    page.wait(lambda: len(page.tile_ids()) == 77)
    assert page.tile_ids()[:60] == first
    assert page.tile_ids() == page.expected(q="سبز", k=100)
    assert page.focused_id() == page.tile_ids()[60]
    assert not more.is_displayed()


def test_names_and_queries_are_only_ever_text(page: Page) -> None:
    page.open(q="<img src=x onerror=window.hacked=1> yellow")
    page.wait_for_tiles()
    hostile = page.seen(f'.tile[aria-label*="{HOSTILE_NAME}"]')
    page.js("arguments[0].click()", hostile)
    page.wait(lambda: page.one(".panel h2 bdi").text == HOSTILE_NAME)
    assert page.js("return window.hacked") is None


# The keyboard


def test_arrows_walk_the_grid_in_reading_direction(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.open(q="قرمز")
    ids = page.wait_for_tiles()
    page.press(Keys.ARROW_DOWN)
    assert page.focused_id() == ids[0]
    page.press(Keys.ARROW_LEFT)  # right to left: the next one is on the left
    assert page.focused_id() == ids[1]
    page.press(Keys.ARROW_RIGHT)
    assert page.focused_id() == ids[0]
    top = page.js("return document.activeElement.getBoundingClientRect().top + scrollY")
    page.press(Keys.ARROW_DOWN)
    assert page.js("return document.activeElement.getBoundingClientRect().top + scrollY") > top
    page.press(Keys.ARROW_UP)
    assert page.focused_id() == ids[0]
    page.press(Keys.END)
    assert page.focused_id() == ids[-1]
    page.press("/")
    assert page.js("return document.activeElement.id") == "query"


def test_only_one_tile_is_a_tab_stop(page: Page) -> None:
    page.open(q="قرمز")
    page.wait_for_tiles()
    assert len(page.all('.tile[tabindex="0"]')) == 1


def test_enter_opens_and_escape_closes_where_one_was(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.open(q="قرمز")
    ids = page.wait_for_tiles()
    page.press(Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ENTER)
    page.seen(".lightbox[open] .panel h2")
    assert page.place() == {"q": "قرمز", "photo": ids[1]}
    page.press(Keys.ARROW_LEFT)
    page.wait(lambda: page.place()["photo"] == ids[2])
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    page.wait(lambda: page.place()["photo"] == ids[0])
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.place() == {"q": "قرمز"})
    page.wait(lambda: page.focused_id() == ids[0])
    assert not page.all(".lightbox[open]")


def test_s_finds_similar_photographs_in_any_keyboard_layout(page: Page) -> None:
    page.open(q="آبی")
    ids = page.wait_for_tiles()
    # On a Persian keyboard that key writes another letter.
    page.js(
        "document.querySelector('.tile').dispatchEvent("
        "new KeyboardEvent('keydown', { key: 'س', code: 'KeyS', bubbles: true, cancelable: true }))"
    )
    page.wait(lambda: page.place() == {"like": ids[0]})
    similar = [str(hit["photo_id"]) for hit in page.ask(f"/api/photos/{ids[0]}/similar", k=60)["hits"]]
    page.wait(lambda: page.tile_ids() == similar)
    assert page.seen("#context h2").text == "عکس‌های شبیه این عکس"


# One photograph


def test_the_lightbox_says_what_is_known(page: Page) -> None:
    page.open(q="سبز")
    ids = page.wait_for_tiles()
    page.all(".tile")[0].click()
    panel = page.seen(".lightbox[open] .panel")
    photo = page.ask(f"/api/photos/{ids[0]}")
    page.wait(lambda: "PNG" in panel.text)
    assert page.one(".panel h2 bdi").text == Path(photo["path"]).name
    assert page.one(".panel .path").text == photo["path"]
    assert "فروردین ۱۴۰۳" in panel.text
    assert "مارس ۲۰۲۴" in panel.text
    shown = page.one(".stage img")
    page.wait(lambda: page.js("return arguments[0].complete && arguments[0].naturalWidth > 0", shown))
    assert page.js("return arguments[0].naturalWidth / arguments[0].naturalHeight", shown) == pytest.approx(
        photo["width_px"] / photo["height_px"], rel=0.03
    )
    page.driver.back()
    page.wait(lambda: not page.all(".lightbox[open]"))
    assert page.tile_ids() == ids


def test_a_shared_photograph_opens_by_itself_and_closes_to_its_search(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    number = page.expected(q="سبز", k=3)[2]
    page.open(q="سبز", photo=number)
    page.seen(".lightbox[open] .panel h2")
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.place() == {"q": "سبز"})
    assert number in page.tile_ids()


def test_similar_from_the_lightbox(page: Page) -> None:
    page.open(q="آبی")
    ids = page.wait_for_tiles()
    page.all(".tile")[0].click()
    page.seen(".panel .similar").click()
    page.wait(lambda: page.place() == {"like": ids[0]} and not page.all(".lightbox[open]"))
    page.wait(lambda: page.tile_ids() and ids[0] not in page.tile_ids())


def test_the_path_is_copied(page: Page) -> None:
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"origin": page.url, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    page.open(q="سبز")
    ids = page.wait_for_tiles()
    page.all(".tile")[0].click()
    page.seen(".panel .copy-path").click()
    assert page.seen("#toast").text == "رونوشت شد"
    copied = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == page.ask(f"/api/photos/{ids[0]}")["path"]


# Searching by a photograph


def red_photo(tmp_path: Path) -> Path:
    path = tmp_path / "سرخ.png"
    Image.new("RGB", (64, 48), (225, 25, 35)).save(path)
    return path


def test_a_chosen_file_finds_its_like(page: Page, tmp_path: Path) -> None:
    page.open()
    page.one("#image-file").send_keys(str(red_photo(tmp_path)))
    page.wait(lambda: "image" in page.place())
    page.wait_for_tiles()
    assert all("قرمز" in tile.get_attribute("aria-label") for tile in page.all(".tile")[:4])
    page.seen("#context canvas")


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_dropped_or_pasted_photograph_finds_its_like(page: Page, event: str) -> None:
    page.open()
    page.js(
        """
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [64, 48];
        const context = canvas.getContext("2d");
        context.fillStyle = "rgb(30, 40, 220)";
        context.fillRect(0, 0, 64, 48);
        canvas.toBlob((blob) => {
          const data = new DataTransfer();
          data.items.add(new File([blob], "image.png", { type: "image/png" }));
          const event = arguments[0] === "drop"
            ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
          document.body.dispatchEvent(event);
        });
        """,
        event,
    )
    page.wait(lambda: "image" in page.place())
    page.wait_for_tiles()
    assert all("آبی" in tile.get_attribute("aria-label") for tile in page.all(".tile")[:4])


def test_a_file_that_is_no_photograph_is_refused_at_once(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    page.open()
    page.one("#image-file").send_keys(str(tmp_path / "notes.txt"))
    assert page.seen("#toast").text
    assert page.place() == {}


def test_a_broken_photograph_says_so(page: Page, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 that is all")
    page.open()
    page.one("#image-file").send_keys(str(tmp_path / "broken.jpg"))
    assert "خوانده نشد" in page.seen("#message h2").text
    assert any("422" in complaint for complaint in page.complaints())  # the browser notes every refusal


def test_a_dropped_photograph_does_not_survive_a_reload_and_says_so(page: Page) -> None:
    page.open(image="1")
    assert "دوباره" in page.seen("#message h2").text


# Dates


@pytest.mark.parametrize("typed", ["۱۴۰۳/۰۱/۰۱", "1403-1-1", "۲۰۲۴/۰۳/۲۰", "2024-03-20"])
def test_dates_are_read_in_both_calendars_and_any_digits(page: Page, typed: str) -> None:
    page.open(q="قرمز")
    page.wait_for_tiles()
    page.one("#filters summary").click()
    page.seen("#after").send_keys(typed)
    assert "۱ فروردین ۱۴۰۳" in page.seen("#after-note").text
    page.one(".field-actions [type=submit]").click()
    page.wait(lambda: page.place() == {"q": "قرمز", "after": "2024-03-20"})
    page.wait(lambda: page.tile_ids() == page.expected(q="قرمز", k=60, after="2024-03-20"))
    assert "۱۴۰۳" in page.seen("#filters-active").text


def test_nothing_found_and_a_wrong_date_are_said(page: Page) -> None:
    page.open(q="قرمز", before="1990-01-01")
    assert page.seen("#message h2").text == "چیزی پیدا نشد"
    page.one("#filters summary").click()
    box = page.seen("#before")
    box.clear()
    box.send_keys("فردا")
    assert box.get_attribute("aria-invalid") == "true"
    page.one(".field-actions [type=submit]").click()
    assert page.place() == {"q": "قرمز", "before": "1990-01-01"}
    page.one("#clear-filters").click()
    page.wait(lambda: page.place() == {"q": "قرمز"})
    page.wait_for_tiles()


# When there is nothing to show


def test_an_empty_gallery_shows_the_command_and_fills_by_itself(page: Page, tmp_path: Path, tiny_encoder: Any) -> None:
    directory = GalleryDirectory.create(tmp_path / "گالری", tiny_encoder)
    with running(directory, encoder=tiny_encoder) as address:
        empty = Page(page.driver, address).open()
        command = empty.seen(".command code")
        assert command.text.startswith("peyda index ~/Pictures --gallery ")
        assert str(directory.path) in command.text
        assert page.js("return getComputedStyle(arguments[0]).direction", command) == "ltr"
        red_photo(tmp_path)
        index_photos(directory, tiny_encoder, [str(tmp_path / "سرخ.png")])
        empty.seen(".examples a")
        assert "۱ عکس" in empty.one("#gallery-line").text
        page.driver.get("about:blank")


def test_a_server_that_is_gone_is_said_and_retried(
    page: Page, gallery: GalleryDirectory, tmp_path: Path, tiny_encoder: Any
) -> None:
    directory = GalleryDirectory.create(tmp_path / "gallery", tiny_encoder)
    index_photos(directory, tiny_encoder, [str(red_photo(tmp_path))])
    with running(directory, encoder=tiny_encoder) as address:
        lone = Page(page.driver, address).open()
        lone.seen(".examples a")
    lone.one("#query").send_keys("قرمز\n")
    assert lone.seen("#message h2").text == "سرور پیدا پاسخ نمی‌دهد"
    assert page.complaints()
    with running(directory, port=int(address.rpartition(":")[2]), encoder=tiny_encoder):
        lone.seen("#message button").click()
        assert len(lone.wait_for_tiles()) == 1
        page.driver.get("about:blank")


def test_an_unknown_photograph_is_said(page: Page) -> None:
    page.open(like="999999")
    assert "دیگر در گالری نیست" in page.seen("#message h2").text
    page.complaints()


# Every screen, every eye


@pytest.mark.parametrize("place", [{}, {"q": "قرمز"}, {"q": "قرمز", "photo": "FIRST"}, {"like": "FIRST"}])
def test_nothing_sticks_out_on_a_phone(page: Page, place: dict[str, str]) -> None:
    set_phone(page)
    first = page.expected(q="قرمز", k=1)[0]
    page.open(**{name: first if value == "FIRST" else value for name, value in place.items()})
    page.seen(".examples a, .tile, .panel h2")
    assert page.js("return document.documentElement.scrollWidth") <= 390
    small = page.js(
        "return [...document.querySelectorAll('button, .icon-button')].filter((node) => node.checkVisibility())"
        ".map((node) => [node.className, node.getBoundingClientRect()])"
        ".filter(([, box]) => box.height < 32 || box.right > 391 || box.left < -1)"
    )
    assert small == []


def test_dark_mode_follows_the_system(page: Page) -> None:
    def lightness() -> float:
        channels = page.js("return getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number)")
        return float(sum(channels[:3]) / 3)

    page.open(q="قرمز")
    page.wait_for_tiles()
    set_media(page, "prefers-color-scheme", "light")
    assert lightness() > 200
    set_media(page, "prefers-color-scheme", "dark")
    assert lightness() < 60


def test_nothing_moves_for_those_who_asked_for_that(page: Page) -> None:
    set_media(page, "prefers-reduced-motion", "reduce")
    page.open(q="قرمز")
    page.wait_for_tiles()
    page.all(".tile")[0].click()
    page.seen(".lightbox[open] .panel h2")
    moving = page.js(
        "return [...document.querySelectorAll('*')].filter((node) => { const style = getComputedStyle(node);"
        " return style.animationName !== 'none' || /[1-9]/.test(style.transitionDuration); })"
        ".map((node) => node.className)"
    )
    assert moving == []


@pytest.mark.parametrize("place", [{}, {"q": "قرمز"}, {"q": "قرمز", "photo": "FIRST"}])
def test_everything_that_can_be_used_has_a_name(page: Page, place: dict[str, str]) -> None:
    first = page.expected(q="قرمز", k=1)[0]
    page.open(**{name: first if value == "FIRST" else value for name, value in place.items()})
    page.seen(".examples a, .tile, .panel h2")
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    usable = {"button", "link", "searchbox", "textbox", "dialog", "list", "search"}
    nodes = [node for node in tree if not node.get("ignored") and node["role"]["value"] in usable]
    assert len(nodes) >= 5
    unnamed = [node["role"]["value"] for node in nodes if not node.get("name", {}).get("value")]
    assert [role for role in unnamed if role not in NAMELESS_MAY_BE] == []


def test_the_page_asks_for_nothing_elsewhere(page: Page) -> None:
    page.open(q="قرمز")
    page.wait_for_tiles()
    page.all(".tile")[0].click()
    page.seen(".panel h2")
    page.driver.get(f"{page.url}/docs")
    page.seen(".operation")
    messages = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    asked = [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]
    assert len(asked) > 10
    assert [address for address in asked if not address.startswith((page.url, "data:", "about:"))] == []


def test_the_api_can_be_read_and_tried(page: Page) -> None:
    page.driver.get(f"{page.url}/docs")
    page.seen(".operation")
    shown = {node.get_attribute("textContent") for node in page.all(".operation .path")}
    assert shown == set(page.ask("/openapi.json")["paths"])
    form = page.seen(".operation[open] form")
    form.find_element("css selector", "button").click()
    page.wait(lambda: '"hits"' in page.seen(".operation[open] .answer pre").text)
