"""How people come: each at their moment, until everybody is done."""

import asyncio
import random
from collections.abc import Sequence

from tests.builders import Customer
from tests.rush.elsewhere import Waiting
from tests.rush.load import Load
from tests.rush.people import Person, forge
from tests.rush.scenarios import Scenario
from tests.rush.stage import Stage


class Crowd:
    """Everybody who comes to one sale."""

    def __init__(self, stage: Stage, load: Load, seed: str) -> None:
        self.stage, self.load, self.seed = stage, load, seed
        self.scenario = stage.scenario
        self.hall = stage.hall()
        self.tasks: list[asyncio.Task[None]] = []

    def person(self, customer: Customer) -> Person:
        """Return somebody who has not come yet."""
        seed = f"{self.seed} {customer.email}"
        return Person(self.load, self.hall, customer, self.scenario.habits, seed)

    def start(self, customer: Customer) -> None:
        """Let somebody come now, beside all others."""
        self.tasks.append(asyncio.create_task(self.person(customer).come()))

    async def come(self) -> None:
        """Let everybody come at their moment."""
        began, rng = self.load.now, random.Random(self.seed)
        self.tasks.append(asyncio.create_task(self._forge()))
        for customer, moment in zip(
            self.stage.customers, _arrivals(self.scenario, rng), strict=True
        ):
            await asyncio.sleep(max(0.0, began + moment - self.load.now))
            self.start(customer)
        await self.finish()

    def waiting(self) -> Waiting | None:
        """Return those who wait for another sale, if there are any."""
        stage, scenario = self.stage, self.scenario
        if not stage.waiting:
            return None
        hall, port = stage.hall(stage.other_sale), stage.web.port
        come, go, habits = scenario.waiting_come, scenario.waiting_go, scenario.habits
        return Waiting(port, hall, stage.waiting, habits, come, go, self.seed)

    async def finish(self) -> None:
        """Wait until everybody is done, as long as the scenario has patience."""
        if not self.tasks:
            return
        _, late = await asyncio.wait(self.tasks, timeout=self.scenario.patience_seconds)
        for _ in late:
            self.load.note("never finished")
        await stop(late)
        for task in self.tasks:
            if not task.cancelled():
                task.result()  # a mistake of the harness must not pass for a quiet customer

    async def _forge(self) -> None:
        """Send what is forged, evenly, while people arrive."""
        scenario = self.scenario
        count = round(scenario.forged_per_second * sum(seconds for seconds, _ in scenario.arrivals))
        began, sent = self.load.now, []
        for number in range(count):
            await asyncio.sleep(
                max(0.0, began + number / scenario.forged_per_second - self.load.now)
            )
            customer = self.stage.customers[number % len(self.stage.customers)]
            forgery = self.stage.forgeries[number % len(self.stage.forgeries)]
            sent.append(asyncio.create_task(forge(self.load, self.hall, customer, forgery)))
        await asyncio.gather(*sent)


async def stop(tasks: "Sequence[asyncio.Task[None]] | set[asyncio.Task[None]]") -> None:
    """Cancel what goes on and wait until nothing does."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _arrivals(scenario: Scenario, rng: random.Random) -> list[float]:
    """Return the seconds at which people arrive: evenly within each part, at random moments."""
    moments: list[float] = []
    start, people = 0.0, 0.0
    for seconds, share in scenario.arrivals:
        people += share * scenario.people
        while len(moments) < round(people):
            moments.append(start + rng.random() * seconds)
        start += seconds
    return sorted(moments)
