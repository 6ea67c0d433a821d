"""Every registered metric obeys every law, and a broken metric is caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import reptools  # noqa: F401  (registers the metrics)
from reptools.record import Metric
from reptools.registry import forget, metric, metrics
from tests import laws


@pytest.mark.parametrize(
    ("name", "law"), [pytest.param(n, law, id=f"{n}-{law.__name__}") for n, law in laws.cases()]
)
def test_law(name: str, law: Callable[[Metric], None]) -> None:
    law(metrics()[name])


@pytest.fixture
def broken() -> Iterator[Metric]:
    @metric(kind="pair", symmetric=True, bounds=(0.0, 0.5), invariances=("scale",))
    def broken_metric(x, y, /, *, offset: float = 0.0):  # type: ignore[no-untyped-def]
        """Depends on row order, scale and the order of its sides."""
        return float(x[0, 0] + y[1, 0] + offset)

    yield metrics()["broken_metric"]
    forget("broken_metric")


@pytest.mark.parametrize(
    "law",
    [
        laws.ignores_stimulus_order,
        laws.keeps_its_bounds,
        laws.is_symmetric_as_declared,
        laws.has_its_invariances,
    ],
)
def test_the_laws_catch_a_broken_metric(law: Callable[[Metric], None], broken: Metric) -> None:
    with pytest.raises(AssertionError):
        law(broken)


def test_a_metric_that_writes_into_its_input_is_caught() -> None:
    @metric(kind="single")
    def writes(x, /):  # type: ignore[no-untyped-def]
        """Writes into its input."""
        x[0, 0] = 0
        return np.mean(x)

    try:
        with pytest.raises(ValueError, match="read-only"):
            laws.leaves_inputs_untouched(metrics()["writes"])
    finally:
        forget("writes")
