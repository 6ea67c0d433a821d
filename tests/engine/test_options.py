"""Options: derived from the signature, checked alike from Python and from text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pytest

from reptools.engine.options import Range, bind, from_signature
from reptools.engine.registry import find
from reptools.errors import ParameterError


def kernel(
    x: Any,
    /,
    *,
    context: Any,
    method: Literal["a", "b"] = "a",
    k: Annotated[int, Range(1, 9)] = 3,
    c: Annotated[float, Range(0)] | None = None,
    flag: bool = False,
) -> None: ...


PARAMETERS = from_signature(kernel)


def test_all_keyword_options_but_the_context() -> None:
    assert list(PARAMETERS) == ["method", "k", "c", "flag"]
    assert PARAMETERS["method"].description == "a|b"
    assert PARAMETERS["k"].description == "int at least 1 and at most 9"


def test_defaults_are_filled_in() -> None:
    assert bind(PARAMETERS, {"k": 4}) == {"method": "a", "k": 4, "c": None, "flag": False}


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


def test_an_option_needs_a_default_and_a_checkable_type() -> None:
    def bare(x: Any, /, *, k: int) -> None: ...
    def odd(x: Any, /, *, k: list = []) -> None: ...  # type: ignore[type-arg]  # noqa: B006

    with pytest.raises(ParameterError, match="'k' of bare has no default"):
        from_signature(bare)
    with pytest.raises(ParameterError, match="list"):
        from_signature(odd)
