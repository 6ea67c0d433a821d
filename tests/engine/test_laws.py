"""Every registered operation obeys every law, and a broken metric is caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated

import numpy as np
import pytest

import reptools  # noqa: F401  (registers the metrics)
from reptools.engine.declaring import metric
from reptools.engine.operation import Operation
from reptools.engine.options import Range
from reptools.engine.registry import forget, metrics, operations
from reptools.statistics import prepare
from tests import laws


@pytest.mark.filterwarnings("ignore:.*score missing .NaN:reptools.errors.ReptoolsWarning")
@pytest.mark.parametrize(
    ("name", "law"), [pytest.param(n, law, id=f"{n}-{law.__name__}") for n, law in laws.cases()]
)
def test_law(name: str, law: Callable[[Operation], None]) -> None:
    law(operations()[name])


@pytest.fixture
def broken() -> Iterator[Operation]:
    @metric(symmetric=True, bounds=(0.0, 0.5), invariances=("scale",))
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
def test_the_laws_catch_a_broken_metric(
    law: Callable[[Operation], None], broken: Operation
) -> None:
    with pytest.raises(AssertionError):
        law(broken)


def test_a_metric_that_writes_into_its_input_is_caught() -> None:
    @metric
    def writes(x, /):  # type: ignore[no-untyped-def]
        """Writes into its input."""
        x[0, 0] = 0
        return np.mean(x)

    try:
        with pytest.raises(ValueError, match="read-only"):
            laws.leaves_inputs_untouched(metrics()["writes"])
    finally:
        forget("writes")


@pytest.fixture
def careless() -> Iterator[Operation]:
    @metric(invariances=("shift",))
    def careless_metric(x, y, /, *, power: float = 2.0, k: Annotated[int, Range(1)] = 3):  # type: ignore[no-untyped-def]
        """Counts dead units, and takes options that it never looks at."""
        return float(np.mean((x - x.mean(axis=0)) ** 2) - 2 * np.mean(y))

    yield metrics()["careless_metric"]
    forget("careless_metric")


def test_an_option_that_changes_nothing_is_caught(careless: Operation) -> None:
    with pytest.raises(AssertionError, match="'power': 1.0} changes nothing"):
        laws.keeps_its_word_under_every_option(careless)


@pytest.mark.parametrize("name", ["power", "k"])
def test_an_option_that_is_not_checked_is_caught(careless: Operation, name: str) -> None:
    laws.refuses_bad_values_by_name(careless)
    unchecked = replace(careless.parameters[name], check=lambda value: value)
    parameters = {**careless.parameters, name: unchecked}
    with pytest.raises(AssertionError, match=f"careless_metric.{name}=.* was accepted"):
        laws.refuses_bad_values_by_name(replace(careless, parameters=parameters))


def test_dead_units_that_count_are_caught(careless: Operation) -> None:
    with pytest.raises(AssertionError, match="Not equal"):
        laws.ignores_dead_units(careless)


def test_a_preparation_that_is_not_done_is_caught(
    careless: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    laws.prepares_as_it_says(careless)
    monkeypatch.setattr(prepare, "zscore", lambda x, tolerance: x)
    with pytest.raises(AssertionError, match="zscore"):
        laws.prepares_as_it_says(careless)
