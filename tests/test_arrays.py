"""Products warn where a value bears a floating-point flag out, and only there."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import reptools
from reptools import arrays
from reptools.arrays import matmul, vecdot

PACKAGE = Path(reptools.__file__).parent
# what numpy computes with a BLAS kernel and reports flags of; its linalg sets its own
NAMES = ("matmul", "dot", "vdot", "inner", "vecdot", "matvec", "vecmat", "tensordot", "cov")
REPORTED = {f"{module}.{name}" for module in ("np", "xp") for name in NAMES}


class Alarming(np.ndarray):
    """An array of which every product raises all flags, as some processors do falsely."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):  # type: ignore[no-untyped-def]
        plain = [np.asarray(x) for x in inputs]
        if ufunc in (np.matmul, np.vecdot):
            np.array([np.inf, 1e300]) * np.array([0.0, 1e300])  # invalid value, overflow
        return getattr(ufunc, method)(*plain, **options)


def alarming(values: np.ndarray) -> np.ndarray:
    return np.asarray(values).view(Alarming)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 3))


def test_a_false_alarm_is_not_heard(x):
    with pytest.raises(RuntimeWarning, match="encountered in"):  # as numpy itself would have it
        alarming(x) @ x.T
    np.testing.assert_array_equal(matmul(alarming(x), x.T), x @ x.T)
    np.testing.assert_array_equal(matmul(alarming(x), x.T, x), x @ x.T @ x)
    np.testing.assert_array_equal(vecdot(alarming(x), x), np.vecdot(x, x))
    out = np.empty((5, 5))
    assert matmul(alarming(x), x.T, out=out) is out
    np.testing.assert_array_equal(out, x @ x.T)


@np.errstate(divide="call", over="call", invalid="call", call=arrays._note)
def alarmed_dot(a, b):  # type: ignore[no-untyped-def]
    np.array([np.inf, 1e300]) * np.array([0.0, 1e300])
    return a.dot(b)


def test_a_false_alarm_of_plain_arrays_is_not_heard(x, monkeypatch):
    expected = matmul(x, x.T)
    monkeypatch.setattr(arrays, "_dot", alarmed_dot)
    np.testing.assert_allclose(matmul(x, x.T), expected, rtol=1e-15)
    assert not arrays._HEARD.flag


def test_nobody_hears_a_false_alarm_of_a_metric(x, monkeypatch):
    # products are the only place where a metric could hear it
    heard = []
    true = arrays._product

    def alarmed(a, b):  # type: ignore[no-untyped-def]
        heard.append(a.shape)
        return true(alarming(a), b)

    expected = float(reptools.rsa(x, x**2))
    monkeypatch.setattr(arrays, "_product", alarmed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float(reptools.rsa(x, x**2)) == pytest.approx(expected, rel=1e-14)
    assert heard


@pytest.mark.parametrize(
    ("value", "message"), [(np.inf, "invalid value"), (1e200, "overflow encountered in matmul")]
)
def test_a_true_alarm_is(value, message):
    a = np.full((2, 2), value)
    a[0] = [value, 0.0]
    with pytest.warns(RuntimeWarning, match=message):
        matmul(a, a.T if np.isfinite(value) else np.zeros((2, 2)))
    with np.errstate(all="ignore"):  # unless the caller looks at the values
        assert not np.isfinite(matmul(a, a)).all()


def test_other_libraries_are_multiplied_alike(x):
    t = torch.as_tensor(x)
    assert torch.equal(matmul(t, t.T, t), t @ t.T @ t)
    assert torch.equal(vecdot(t, t), torch.linalg.vecdot(t, t))


def products(path: Path) -> Iterator[str]:
    """Every place of a file where numpy would be asked for a product itself."""
    for node in ast.walk(ast.parse(path.read_text())):
        operated = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult)
        called = isinstance(node, ast.Attribute) and ast.unparse(node) in REPORTED
        if operated or called:
            yield f"{path.relative_to(PACKAGE.parent)}:{node.lineno}"


def test_every_product_is_taken_there():
    files = set(PACKAGE.rglob("*.py"))
    there = Path(arrays.__file__)
    # these ignore all flags themselves, once for many small products, and look at their sums
    files -= {PACKAGE / "statistics" / name for name in ("hsic.py", "tiles.py")}
    assert len(list(products(there))) == 1  # np.matmul, which has out=
    assert [place for file in sorted(files - {there}) for place in products(file)] == []
