"""Prometheus counters as a test reads them: what they rose by."""

from collections import Counter
from typing import Self

from prometheus_client import REGISTRY
from prometheus_client import Counter as Metric


class Rise:
    """What one counter rose by inside a with block, by the values of its labels."""

    def __init__(self, metric: Metric) -> None:
        [family] = metric.collect()
        self._name = f"{family.name}_total"
        self._labels = metric._labelnames
        self._before: Counter[tuple[str, ...]] = Counter()

    def __enter__(self) -> Self:
        self._before = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self.by = self._read() - self._before

    def _read(self) -> Counter[tuple[str, ...]]:
        return Counter(
            {
                tuple(sample.labels[name] for name in self._labels): int(sample.value)
                for family in REGISTRY.collect()
                for sample in family.samples
                if sample.name == self._name
            }
        )
