"""How soon a phone can choose seats: `python -m tests.browser.measure`.

Slow 4G as browsers' tools define it (1.6 Mbit/s down, 0.75 up, 150 ms there and back) and a processor slowed
down four times. "The map is ready" is the mark that its script sets when availability is drawn and a tap
chooses; "the list is usable" is the end of the page itself. A first visit with an empty cache, and a second with what
the first one kept. Medians. Absolute times are this machine's: compare them with each other.
"""

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext

from tests.browser.live import Live, serve
from tests.browser.stations import build
from tests.browser.stations import visit as look
from tests.browser.visitor import launched
from tests.builders import enter, make_accounts, make_sale
from webapp.domain.catalogue import Price
from webapp.web.guards import COOKIE

HALLS = (2_000, 20_000)
ROUNDS = 5
QUIET_MS = 600
NETWORK = {
    "offline": False,
    "latency": 150,
    "downloadThroughput": 1.6e6 / 8,
    "uploadThroughput": 0.75e6 / 8,
}
PROCESSOR_SLOWER = 4
LEVELS = [
    Price("vip", "VIP", 4_000),
    Price("r", "R", 3_000),
    Price("s", "S", 2_000),
    Price("a", "A", 1_000),
]


@dataclass(frozen=True)
class Visit:
    """What one visit took."""

    list_ms: float
    map_ms: float
    kilobytes: float
    requests: int
    heap_megabytes: float
    elements: int


def visit(context: BrowserContext, address: str) -> Visit:
    """Open the map on a slow phone and wait until it can be used."""
    page = context.new_page()
    tools = context.new_cdp_session(page)
    tools.send("Network.enable")
    tools.send("Network.emulateNetworkConditions", NETWORK)
    tools.send("Emulation.setCPUThrottlingRate", {"rate": PROCESSOR_SLOWER})
    sizes: list[float] = []
    tools.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(address)
    page.locator("#map[data-ready]").wait_for()
    requests, kilobytes = len(sizes), sum(sizes) / 1000
    times = page.evaluate("""() => ({
        list: performance.getEntriesByType("navigation")[0].domInteractive,
        map: performance.getEntriesByName("seatmap-ready")[0].startTime,
        elements: document.querySelectorAll("#drawing *").length,
    })""")
    tools.send("HeapProfiler.collectGarbage")
    tools.send("Performance.enable")
    metrics = {m["name"]: m["value"] for m in tools.send("Performance.getMetrics")["metrics"]}
    page.close()
    heap = metrics["JSHeapUsedSize"] / 1e6
    return Visit(times["list"], times["map"], kilobytes, requests, heap, times["elements"])


def measure(live: Live, browser: Browser, seats: int) -> tuple[list[Visit], list[Visit]]:
    """Return first and second visits to a hall."""
    sale = make_sale(live.db, seats=seats, levels=LEVELS, auditorium=True)
    address = f"{live.address}/performances/{sale}/seats"
    first, second = [], []
    for _ in range(ROUNDS):
        [customer] = make_accounts(live.db)
        enter(live.db, customer, sale)
        context = browser.new_context(
            viewport={"width": 390, "height": 844},
            is_mobile=True,
            has_touch=True,
            device_scale_factor=2,
        )
        cookie = {"name": COOKIE, "value": customer.session, "url": live.address}
        context.add_cookies([cookie])
        first.append(visit(context, address))
        second.append(visit(context, address))
        context.close()
    return first, second


def row(name: str, visits: list[Visit]) -> str:
    """Write the medians of some visits as a row of the table."""
    middle = {
        field: statistics.median(getattr(one, field) for one in visits)
        for field in Visit.__dataclass_fields__
    }
    return (
        f"| {name} | {middle['list_ms'] / 1000:.1f} | {middle['map_ms'] / 1000:.1f} "
        f"| {middle['kilobytes']:.0f} | {middle['requests']:.0f} "
        f"| {middle['heap_megabytes']:.1f} | {middle['elements']:.0f} |"
    )


def weigh(live: Live, browser: Browser) -> None:
    """Print what every page costs a phone at its first visit, until nothing more comes."""
    print("\n| page | KB | requests |\n|---|---|---|")
    for station in build(live):
        with look(live, browser, station, viewport={"width": 390, "height": 844}) as (page, got):
            page.wait_for_timeout(QUIET_MS)
            once = [answer for answer in got if "?since=" not in answer.url]
            parts = ("responseBodySize", "responseHeadersSize")
            size = sum(answer.request.sizes()[part] for answer in once for part in parts)
        print(f"| {station.name} | {size / 1000:.0f} | {len(once)} |")


def main() -> None:
    """Measure, and print the tables that docs/benchmarks.md has."""
    argparse.ArgumentParser(
        prog="python -m tests.browser.measure", description=main.__doc__
    ).parse_args()
    print(
        "| seats | the list is usable, s | the map is ready, s | KB | requests | JS heap, MB | SVG elements |"
    )
    print("|---|---|---|---|---|---|---|")
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder)) as live,
        launched() as browser,
    ):
        for seats in HALLS:
            first, second = measure(live, browser, seats)
            print(row(f"{seats:,}", first))
            print(row(f"{seats:,}, second visit", second))
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder)) as live,
        launched() as browser,
    ):
        weigh(live, browser)


if __name__ == "__main__":
    main()
