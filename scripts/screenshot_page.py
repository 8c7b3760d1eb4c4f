#!/usr/bin/env python3
"""Picture of the web page for the README, over the demo's openly licensed sample photographs.

    make demo SERVE=0
    .venv/bin/python scripts/screenshot_page.py demo-gallery/demo/gallery-samples docs/images/page.png "گربه"

Needs Chromium with its driver, and selenium (`make test` installs it). `--width`, `--height` and `--dark` choose the
window.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from peyda.server import running

_ALL_LOADED = (
    "const pictures = [...document.querySelectorAll('main img')];"
    "return pictures.length > 0 && pictures.slice(0, 12).every((picture) => picture.complete && picture.naturalWidth)"
)


def main() -> int:
    """Serve the gallery, open the page at the query, save what is seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("query")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--driver", default="/usr/bin/chromedriver")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as profile, running(options.gallery) as url:
        chrome = webdriver.ChromeOptions()
        chrome.binary_location = options.chromium
        for flag in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--window-size={options.width},{options.height}",
        ):
            chrome.add_argument(flag)
        driver = webdriver.Chrome(options=chrome, service=Service(options.driver))
        try:
            dark = [{"name": "prefers-color-scheme", "value": "dark" if options.dark else "light"}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
            metrics = {"width": options.width, "height": options.height, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            driver.get(f"{url}/?q={quote(options.query)}")
            WebDriverWait(driver, 30).until(lambda d: d.execute_script(_ALL_LOADED))
            options.out.parent.mkdir(parents=True, exist_ok=True)
            driver.save_screenshot(str(options.out))
        finally:
            driver.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
