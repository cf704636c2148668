"""Find a Chromium for the browser tests, or install one: `python -m tests.chromium --install`.

A missing browser makes browser tests fail and never skip: a suite that skips what it cannot run is
green for the wrong reason. The machine's own Chromium comes first, because it has the machine's
fonts (Korean ones among them) and gets its security updates.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class NoBrowserError(RuntimeError):
    """There is no Chromium on this machine."""


def find_chromium() -> str:
    """Return the path of a Chromium, for playwright's `executable_path`.

    Call it before playwright is started: looking for playwright's own browser starts it too.
    """
    if chosen := os.environ.get("CHROMIUM"):
        if found := shutil.which(chosen):
            return found
        raise NoBrowserError(f"CHROMIUM={chosen} is not a program")
    for name in NAMES:
        if found := shutil.which(name):
            return found
    if (bundled := playwright_chromium()).exists():
        return str(bundled)
    raise NoBrowserError("no Chromium here: run `make browser`, or set CHROMIUM to one")


def playwright_chromium() -> Path:
    """Return where playwright keeps, or would keep, a browser of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


def install_chromium() -> None:
    """Install one with what this machine has: its package manager, else playwright."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "-y", "chromium", "fonts-nanum"]):
            command = ["apt-get", "--quiet", *arguments]
            if subprocess.run(command, env=environment, check=False).returncode:
                break
        else:
            # Ubuntu's package of that name is an empty one that points to a snap.
            if any(map(shutil.which, NAMES)):
                return
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)


def main() -> int:
    """Print the browser's path and version; with --install, install one first if need be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chromium", description=main.__doc__)
    parser.add_argument("--install", action="store_true")
    install = parser.parse_args().install
    try:
        try:
            path = find_chromium()
        except NoBrowserError:
            if not install or os.environ.get("CHROMIUM"):
                raise
            install_chromium()
            path = find_chromium()
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    except NoBrowserError as error:
        hint = "Install Chromium (and a Korean font) yourself, or set CHROMIUM to its program."
        print(f"{error}. {hint}", file=sys.stderr)
        return 1
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{path} is there but does not start: {error}", file=sys.stderr)
        return 1
    print(f"{path}: {version.stdout.strip()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
