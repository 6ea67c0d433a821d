"""Options: derived from the signature, checked alike from Python and from text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pytest

import reptools  # noqa: F401  (registers the metrics)
from reptools.engine.options import Option, Range, bind, derive
from reptools.engine.registry import find
from reptools.errors import ParameterError

PARAMETERS = {
    "method": derive("method", Literal["a", "b"], "a", "Which way."),
    "k": derive("k", Annotated[int, Range(1, 9)], 3),
    "c": derive("c", Annotated[float, Range(0)] | None, None),
    "flag": derive("flag", bool, False),
}


def test_a_parameter_says_what_it_allows_and_means() -> None:
    assert PARAMETERS["method"].description == "a|b" and PARAMETERS["method"].text == "Which way."
    assert PARAMETERS["k"].description == "int at least 1 and at most 9"
    assert PARAMETERS["c"].description == "float at least 0 or none"


def test_only_what_is_given_is_checked() -> None:
    assert bind(PARAMETERS, {"k": 4}) == {"k": 4}


def test_text_and_values_mean_the_same() -> None:
    text = {"method": "b", "k": "5", "c": "none", "flag": "true"}
    values = {"method": "b", "k": 5, "c": None, "flag": True}
    assert bind(PARAMETERS, text, text=True) == bind(PARAMETERS, values)


def test_numbers_and_text_of_numpy_are_taken_and_large_seeds_kept_exact() -> None:
    options = {"method": np.array(["b"])[0], "k": np.int64(5)}
    assert bind(PARAMETERS, options) == bind(PARAMETERS, {"method": "b", "k": 5})
    seed = find("probe").parameters["seed"].check
    assert seed(2**60 + 1) == 2**60 + 1
    assert find("probe").parameters["cv"].check(np.int64(4)) == 4
    with pytest.raises(ParameterError, match="seed must be int, got inf"):
        seed(float("inf"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "z"}, r"method must be a\|b, got 'z'"),
        ({"k": 0}, "k must be int at least 1 and at most 9, got 0"),
        ({"k": 2.5}, "got 2.5"),
        ({"k": True}, "got True"),
        ({"k": float("nan")}, "got nan"),
        ({"flag": 1}, "flag must be bool, got 1"),
        ({"metod": "a"}, "no option 'metod'. Did you mean 'method'"),
        ({"qqq": 1}, "no option 'qqq'. It takes method, k, c, flag"),
    ],
)
def test_a_bad_value_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        bind(PARAMETERS, options)


def test_text_that_is_no_number_is_named() -> None:
    with pytest.raises(ParameterError, match="got 'many'"):
        bind(PARAMETERS, {"k": "many"}, text=True)


def test_an_option_has_a_checkable_type() -> None:
    with pytest.raises(ParameterError, match="'k' has the annotation .*list"):
        derive("k", list, [])
    with pytest.raises(ParameterError, match=r"'k' has the annotation int \| str. Use one type"):
        derive("k", int | str, 1)


def test_an_option_may_have_a_check_of_its_own() -> None:
    def even(name: str, value: Any) -> int:
        if value % 2:
            raise ParameterError(f"{name} must be even, got {value}.")
        return value // 2

    k = derive("k", Annotated[int, Option("even numbers", even, int)], 2)
    assert bind({"k": k}, {"k": "6"}, text=True) == {"k": 3} and k.description == "even numbers"
    with pytest.raises(ParameterError, match="k must be even, got 3"):
        bind({"k": k}, {"k": 3})
