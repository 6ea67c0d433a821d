"""The ridge path and PLS from cross-products: exact, nested without leakage, whatever the form."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from reptools.errors import ParameterError, StimulusError
from reptools.statistics.blocks import Blocks
from reptools.statistics.folds import Sampling
from reptools.statistics.gram import centred
from reptools.statistics.regression.nested import (
    Errors,
    Nested,
    Outer,
    nested,
    path_errors,
    scored,
)
from reptools.statistics.regression.pls import Pls, components, leading
from reptools.statistics.regression.ridge import DualRidge, PrimalRidge, cell_moments, mean_row
from reptools.statistics.regression.shifted_systems import Reductions, Spectrum, Tridiagonal, reduce

SHAPES = ((60, 7), (60, 60), (60, 110))
ALPHAS = np.logspace(-2, 4, 9)


def problem(n: int, p: int, q: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n + p)
    x = rng.normal(size=(n, p)) * np.logspace(0, -1, p) + 3
    y = x @ rng.normal(size=(p, q)) + rng.normal(size=(n, q)) * np.logspace(-1, 1, q) - 5
    return x, y


def sampling(n: int, cv: Any = 5, **coordinates: Any) -> Sampling:
    return Sampling(cv, 0, np.array([f"s{i:04d}" for i in range(n)]), **coordinates)


def plan_of(n: int) -> Nested:
    (plan,) = nested(sampling(n), choose=True)
    return plan


def models(x: np.ndarray, y: np.ndarray, plan: Nested) -> dict[str, Any]:
    """The same ridge in its three forms: a kernel, moments with rows, and moments alone."""
    x, y = centred(x), centred(y)
    own = cell_moments({"x": x}, plan, ("x", "x"))
    cross = cell_moments({"x": x, "y": y}, plan, ("x", "y"), ("y",))
    return {
        "dual": DualRidge(x @ x.T, y, plan, ALPHAS),
        "rows": PrimalRidge(own, cross, plan, x, y, ALPHAS),
        "moments": PrimalRidge(own, cross, plan, None, None, ALPHAS),
    }


def inner_errors(x: np.ndarray, y: np.ndarray, plan: Nested, outer: Outer) -> np.ndarray:
    """scikit-learn's squared errors (alpha, target) over the inner folds of one outer fold."""
    errors = np.zeros((len(ALPHAS), y.shape[1]))
    for fit, validation in outer.inner:
        rows, held = plan.rows(fit), plan.rows(validation)
        for i, alpha in enumerate(ALPHAS):
            predicted = Ridge(alpha=alpha).fit(x[rows], y[rows]).predict(x[held])
            errors[i] += ((predicted - y[held]) ** 2).sum(axis=0)
    return errors


# --- ridge --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ("dual", "rows", "moments"))
@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_every_alpha_is_that_of_scikit_learn(n: int, p: int, form: str) -> None:
    x, y = problem(n, p)
    plan = plan_of(n)
    model = models(x, y, plan)[form]
    fit, test = (0, 2, 3, 4), (1,)
    (errors,) = path_errors(model.path(fit), [model.held(fit, test)], y.shape[1])
    rows, held = plan.rows(fit), plan.rows(test)
    for alpha, found in zip(ALPHAS, errors, strict=True):
        predicted = Ridge(alpha=alpha).fit(x[rows], y[rows]).predict(x[held])
        expected = ((predicted - y[held]) ** 2).sum(axis=0)
        np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_nested_choice_and_score_are_those_of_scikit_learn(n: int, p: int) -> None:
    x, y = problem(n, p)
    plan = plan_of(n)
    residual = total = np.zeros(4)
    expected = []
    for outer in plan.outer:
        chosen = inner_errors(x, y, plan, outer).argmin(axis=0)
        fit, test = plan.rows(outer.fit), plan.rows(outer.test)
        predicted = Ridge(alpha=ALPHAS[chosen]).fit(x[fit], y[fit]).predict(x[test])
        expected.append(chosen)
        residual = residual + ((predicted - y[test]) ** 2).sum(axis=0)
        total = total + ((y[test] - y[fit].mean(axis=0)) ** 2).sum(axis=0)
    for form, model in models(x, y, plan).items():
        found = scored(model, plan)
        np.testing.assert_array_equal(found.options, expected, err_msg=form)
        np.testing.assert_allclose(found.sums.r2, 1 - residual / total, rtol=1e-8, err_msg=form)


def test_the_choice_is_that_of_grid_search() -> None:
    x, y = problem(60, 7)
    plan = plan_of(60)
    found = scored(models(x, y, plan)["dual"], plan).options[2]
    outer = plan.outer[2]
    fit = plan.rows(outer.fit)
    cv = [
        tuple(np.flatnonzero(np.isin(fit, plan.rows(cells))) for cells in pair)
        for pair in outer.inner
    ]
    for target, option in zip(y.T, found, strict=True):
        # folds of equal size, so that the mean of their errors is the pooled error
        search = GridSearchCV(
            Ridge(), {"alpha": ALPHAS}, cv=cv, scoring="neg_mean_squared_error", refit=False
        )
        assert search.fit(x[fit], target[fit]).best_index_ == option


@pytest.mark.parametrize(
    ("p", "best", "scores"),
    # himalaya 0.4.11, solve_ridge_cv_svd(fit_intercept=True, local_alpha=True) on numpy 2.4.6,
    # score_func=l2_neg_loss, cv=PredefinedSplit(np.arange(40) % 5)
    [
        (12, [1e-1, 1e1, 1e4], [-1.00723905e-01, -2.83008012e00, -3.48308422e02]),
        (70, [1e-1, 1e1, 1e4], [-0.82812929, -5.45883546, -444.78060298]),
    ],
)
def test_against_himalaya(p: int, best: list[float], scores: list[float]) -> None:
    rng = np.random.default_rng(7)
    for width in (12, 70):
        x = rng.normal(size=(40, width))
        y = x[:, :4] @ rng.normal(size=(4, 3)) + rng.normal(size=(40, 3)) * [0.2, 2.0, 20.0]
        if width == p:
            break
    alphas = np.logspace(-1, 4, 6)
    cells = tuple(np.flatnonzero(np.arange(40) % 5 == fold) for fold in range(5))
    plan = Nested(cells, nested(sampling(40), choose=True)[0].outer)
    x, y = centred(x), centred(y)
    model = DualRidge(x @ x.T, y, plan, alphas)
    pooled = np.zeros((6, 3))
    for left in range(5):
        fit = tuple(cell for cell in range(5) if cell != left)
        (errors,) = path_errors(model.path(fit), [model.held(fit, (left,))], 3)
        pooled += errors / 40
    np.testing.assert_array_equal(alphas[pooled.argmin(axis=0)], best)
    np.testing.assert_allclose(-pooled.min(axis=0), scores, rtol=1e-7)


def test_blocks_in_any_cut_and_rows_in_any_order(rng: np.random.Generator) -> None:
    x, y = problem(60, 7)
    plan = plan_of(60)
    expected = scored(models(x, y, plan)["moments"], plan).sums

    def blocks(values: np.ndarray, edges: list[int]) -> Blocks:
        return Blocks(*values.shape, values.dtype, lambda rows: values[rows], edges)

    for edges in ([0, 60], [0, 1, 30, 60], [0, 59, 60]):
        bx, by = blocks(x, edges), blocks(y, [0, 20, 60])
        own = cell_moments({"x": bx}, plan, ("x", "x"))
        cross = cell_moments({"x": bx, "y": by}, plan, ("x", "y"), ("y",))
        found = scored(PrimalRidge(own, cross, plan, None, None, ALPHAS), plan).sums
        np.testing.assert_allclose(found.r2, expected.r2, rtol=1e-10)
        np.testing.assert_allclose(found.r, expected.r, rtol=1e-10)

    order = rng.permutation(60)
    shuffled = Sampling(5, 0, sampling(60).labels[order])
    (again,) = nested(shuffled, choose=True)
    found = scored(models(x[order], y[order], again)["dual"], again).sums
    np.testing.assert_allclose(found.r2, expected.r2, rtol=1e-10)


def test_a_grid_repeats_no_reduction() -> None:
    x, y = problem(40, 60)
    plan = plan_of(40)
    kept, kernel = Reductions(), centred(x) @ centred(x).T
    first = scored(DualRidge(kernel, centred(y), plan, ALPHAS, kept), plan)
    assert len(kept.known) == 10 + 5  # pairs of left out folds, and single ones
    before = dict(kept.known)
    again = scored(DualRidge(kernel, centred(y), plan, ALPHAS, kept), plan)
    assert all(kept.known[key] is value for key, value in before.items())
    np.testing.assert_array_equal(first.sums.r2, again.sums.r2)
    few = Reductions(most=3 * 8 * 24**2)
    np.testing.assert_array_equal(
        scored(DualRidge(kernel, centred(y), plan, ALPHAS, few), plan).sums.r2, first.sums.r2
    )
    assert len(few.known) == 3


@pytest.mark.parametrize("size", (1, 2, 30))
def test_shifted_systems_are_solved_in_either_reduction(
    rng: np.random.Generator, size: int
) -> None:
    root = rng.normal(size=(size, size))
    matrix, right = root @ root.T, rng.normal(size=(size, 4))
    shifts = np.logspace(-3, 2, 4)
    for reduced in (Tridiagonal.of(matrix), Spectrum.of(matrix)):
        np.testing.assert_allclose(reduced.basis.T @ reduced.basis, np.eye(size), atol=1e-13)
        found = reduced.solve(reduced.basis.T @ right, shifts)
        each = reduced.solve_each(reduced.basis.T @ right, shifts)
        for i, shift in enumerate(shifts):
            expected = np.linalg.solve(matrix + shift * np.eye(size), right)
            np.testing.assert_allclose(reduced.basis @ found[:, i], expected, rtol=1e-9)
            np.testing.assert_allclose(reduced.basis @ each[:, i], expected[:, i], rtol=1e-9)


def test_rounding_below_zero_is_taken_for_zero(rng: np.random.Generator) -> None:
    basis = np.linalg.qr(rng.normal(size=(240, 240)))[0]
    matrix = (basis * np.linspace(-1e-6, 3, 240)) @ basis.T  # as float32 products leave it
    assert isinstance(reduce(matrix, 1e-3, columns=1), Tridiagonal)
    assert isinstance(reduce(matrix, 1e-3, columns=1000), Spectrum)  # many right sides
    reduced = reduce(matrix, 1e-8, columns=1)
    assert isinstance(reduced, Spectrum) and reduced.values.min() == 0


def test_large_sides_take_the_cheaper_reduction_to_the_same_scores() -> None:
    x, y = problem(300, 250, q=1)
    plan = plan_of(300)
    model = models(x, y, plan)["rows"]
    found = scored(model, plan)
    assert all(isinstance(value, Tridiagonal) for value in model.kept.known.values())
    kept = Reductions()
    for key in model.kept.known:
        kept.known[key] = Spectrum.of(model.own.of(key[1])["x", "x"])
    other = scored(PrimalRidge(model.own, model.cross, plan, model.x, model.y, ALPHAS, kept), plan)
    np.testing.assert_array_equal(found.options, other.options)
    np.testing.assert_allclose(found.sums.r2, other.sums.r2, rtol=1e-9)


def test_noise_scores_nothing() -> None:
    r2, r = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(40, 30)), rng.normal(size=(40, 5))
        plan = plan_of(40)
        sums = scored(models(x, y, plan)["rows"], plan).sums
        r2.append(sums.r2.mean())
        r.append(sums.r.mean())
    assert np.mean(r2) < 0
    assert abs(np.mean(r)) < 3 * np.std(r) / np.sqrt(30)


def test_float32_far_from_zero_is_as_good_as_float64() -> None:
    x, y = problem(60, 7)
    far = (x + 1000).astype(np.float32)
    plan = plan_of(60)
    expected = scored(models(far.astype(np.float64), y, plan)["moments"], plan).sums.r2
    own = cell_moments({"x": far}, plan, ("x", "x"))
    cross = cell_moments({"x": far, "y": y}, plan, ("x", "y"), ("y",))
    found = scored(PrimalRidge(own, cross, plan, None, None, ALPHAS), plan).sums.r2
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_ends_of_the_range_are_counted() -> None:
    x, y = problem(60, 60)
    y = np.stack([y[:, 0], np.random.default_rng(0).normal(size=60)], axis=1)
    plan = plan_of(60)
    model = DualRidge(centred(x) @ centred(x).T, centred(y), plan, np.logspace(1.5, 2, 4))
    found = scored(model, plan)
    assert found.at_low.tolist() == [5, 0] and found.at_high.tolist() == [0, 5]
    wide = DualRidge(model.kernel, model.y, plan, np.logspace(-5, 9, 15))
    assert not scored(wide, plan).at_high.any()


def test_an_end_counts_only_where_it_was_chosen() -> None:
    """Errors of four options for three targets: best inside, at the low end, and at the high."""
    squares = np.array([[5.0, 1.0, 9.0], [9.0, 3.0, 7.0], [1.0, 7.0, 5.0], [8.0, 9.0, 4.996]])
    errors = Errors(squares, np.full(3, 10.0))
    assert errors.ends(squares.argmin(axis=0)).tolist() == [[0, 1, 0], [0, 0, 0]]
    assert Errors(squares, np.ones(3)).ends(squares.argmin(axis=0)).tolist() == [
        [0, 1, 0],
        [0, 0, 1],
    ]


@pytest.mark.parametrize("form", ("dual", "rows", "moments"))
def test_what_stays_the_same_over_the_test_stimuli_has_no_correlation(form: str) -> None:
    """Up to the rounding of either form: of one constant target, or of all where x stands still."""
    x, y = problem(60, 7)
    whole = plan_of(60)
    plan = Nested(whole.cells, (whole.outer[1],))
    test = plan.rows(plan.outer[0].test)
    y[test, 1] = 0.1 + y[:, 1].max()
    found = scored(models(x, y, plan)[form], plan).sums
    assert found.defined.tolist() == [1, 0, 1, 1] and np.isnan(found.r[1])
    assert np.isfinite(found.r2).all()
    x[test] = x[test[0]] + 2
    found = scored(models(x, y, plan)[form], plan).sums
    assert found.defined.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("form", ("dual", "rows", "moments"))
def test_a_target_that_varies_elsewhere_only_has_no_score(form: str) -> None:
    x, y = problem(60, 7)
    split = np.array(["train", "validation", "test"])[np.arange(60) % 3]
    (plan,) = nested(sampling(60, "split", split=split), choose=True)
    rounded = np.where(np.arange(60) % 4, 0.3, 0.3 + 1e-15)
    for still in (np.full(60, 0.1), rounded)[: 1 if form == "moments" else 2]:
        y[split != "train", 2] = still[split != "train"]
        found = scored(models(x, y, plan)[form], plan).sums
        assert np.isnan(found.r2).tolist() == np.isnan(found.r).tolist() == [0, 0, 1, 0]


def test_targets_may_be_counted_from_anywhere() -> None:
    x, y = problem(60, 110)
    plan = plan_of(60)
    kernel = centred(x) @ centred(x).T
    expected = scored(DualRidge(kernel, centred(y), plan, ALPHAS), plan).sums.r2
    found = scored(DualRidge(kernel, centred(y) + 1e6, plan, ALPHAS), plan).sums.r2
    np.testing.assert_allclose(found, expected, rtol=1e-7)


# --- nested folds -------------------------------------------------------------------------------


def check_no_leak(plan: Nested) -> None:
    for outer in plan.outer:
        test = set(plan.rows(outer.test).tolist())
        for fit, validation in outer.inner:
            rows, held = set(plan.rows(fit).tolist()), set(plan.rows(validation).tolist())
            assert not rows & held and not rows & test and not held & test
        # every fit stimulus validates once
        validated = sorted(cell for _, cells in outer.inner for cell in cells)
        assert validated == sorted(outer.fit)


@pytest.mark.parametrize("cv", (2, 3, 5, 10, 11, 40))
def test_test_stimuli_choose_nothing(cv: int) -> None:
    plans = nested(sampling(40, cv), choose=True)
    for plan in plans:
        check_no_leak(plan)
    assert sum(len(plan.outer) for plan in plans) == cv
    fits = {fit for plan in plans for outer in plan.outer for fit, _ in outer.inner}
    pairs = 2 < cv <= 10
    assert not pairs or len(fits) == cv * (cv - 1) // 2
    inner = {len(outer.inner) for plan in plans for outer in plan.outer}
    assert inner == {cv - 1 if pairs else 5}


def test_other_folds_have_inner_folds_of_their_own() -> None:
    split = np.array(["train"] * 10 + ["validation"] * 20 + ["test"] * 10)
    (plan,) = nested(sampling(40, "split", split=split), choose=True)
    check_no_leak(plan)
    assert sorted(plan.rows(plan.outer[0].fit).tolist()) == list(range(10, 30))
    assert plan.rows(plan.outer[0].test).tolist() == list(range(30, 40))
    assert len(plan.outer[0].inner) == 5
    plans = nested(sampling(40, ShuffleSplit(3, random_state=0)), choose=True)
    assert len(plans) == 3
    for plan in plans:
        check_no_leak(plan)
    (plan,) = nested(sampling(40, None), choose=True)
    assert plan.outer[0].fit == plan.outer[0].test == (0, 1, 2, 3, 4)
    (plan,) = nested(sampling(40, None), choose=False)
    assert plan.outer[0].inner == ()


@pytest.mark.parametrize("cv", (2, 4, 12))
def test_groups_stay_together_in_inner_folds(cv: int) -> None:
    groups = np.arange(48) // 4
    for plan in nested(sampling(48, cv, groups=groups), choose=True):
        check_no_leak(plan)
        where = {row: cell for cell, rows in enumerate(plan.cells) for row in rows.tolist()}
        for a, b in pairwise(range(48)):
            assert groups[a] != groups[b] or where[a] == where[b]


def test_nothing_to_choose_on() -> None:
    groups = np.arange(40) // 20
    with pytest.raises(StimulusError, match="1 of the groups, so nothing can be chosen"):
        nested(sampling(40, 2, groups=groups), choose=True)
    assert len(nested(sampling(40, 2, groups=groups), choose=False)[0].outer) == 2
    with pytest.raises(StimulusError, match="a fold fits on 1 stimulus"):
        nested(sampling(3, 3), choose=True)


def test_many_folds_agree_with_scikit_learn() -> None:
    x, y = problem(36, 5)
    (plan,) = nested(sampling(36, 12), choose=True)  # sums by subtraction, gathered inner folds
    found = scored(models(x, y, plan)["moments"], plan)
    residual = total = np.zeros(4)
    for i, (outer, options) in enumerate(zip(plan.outer, found.options, strict=True)):
        if i % 5 == 0:
            np.testing.assert_array_equal(options, inner_errors(x, y, plan, outer).argmin(axis=0))
        fit, test = plan.rows(outer.fit), plan.rows(outer.test)
        predicted = Ridge(alpha=ALPHAS[options]).fit(x[fit], y[fit]).predict(x[test])
        residual = residual + ((predicted - y[test]) ** 2).sum(axis=0)
        total = total + ((y[test] - y[fit].mean(axis=0)) ** 2).sum(axis=0)
    np.testing.assert_allclose(found.sums.r2, 1 - residual / total, rtol=1e-8)


def test_cells_of_unequal_size(rng: np.random.Generator) -> None:
    """Moments and means of any union of cells are those of its rows."""
    x = rng.normal(size=(40, 3)) + np.arange(40)[:, None]
    cuts = np.cumsum([1, 2, 3, 4, 5, 6, 7, 2, 1, 1, 1, 2])
    cells = tuple(np.split(np.arange(40), cuts))
    moments = cell_moments({"x": x}, Nested(cells, ()), ("x", "x"), ("x",))
    for chosen in ((0, 6), (3, 4, 5, 12), tuple(range(1, 13)), tuple(range(13))):
        rows = np.concatenate([cells[cell] for cell in chosen])
        found, about = moments.of(chosen), x[rows] - x[rows].mean(axis=0)
        np.testing.assert_allclose(moments.mean(chosen, "x"), x[rows].mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(found.means["x"], x[rows].mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(found["x", "x"], about.T @ about, rtol=1e-10)
        np.testing.assert_allclose(found.squares["x"], (about**2).sum(axis=0), rtol=1e-10)


def test_the_mean_of_equal_rows_is_the_row() -> None:
    values = np.linspace(0.1, 1, 200)
    rows = np.broadcast_to(values, (60, 200))
    assert (rows.mean(axis=0) != values).any()
    assert (mean_row(rows) == values).all()


# --- partial least squares ----------------------------------------------------------------------


@pytest.mark.parametrize(("n", "p", "q"), ((60, 7, 4), (60, 12, 1), (60, 20, 70), (30, 60, 60)))
def test_components_are_those_of_scikit_learn(n: int, p: int, q: int) -> None:
    x, y = (centred(side) for side in problem(n, p, q))
    found = components(x.T @ x, x.T @ y, 6)
    assert found.shape == (p, 6)
    scores = x @ found
    np.testing.assert_allclose(scores.T @ scores, np.eye(6), atol=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it cannot reach the tolerance it is asked for
        oracle = PLSRegression(6, scale=False, tol=1e-20, max_iter=3000).fit(x, y)
    np.testing.assert_allclose(scores @ (scores.T @ y), oracle.predict(x), atol=1e-6)


def test_all_components_are_least_squares_and_no_more_exist() -> None:
    x, y = (centred(side) for side in problem(60, 7))
    x[:, 6] = x[:, 0] - x[:, 1]
    found = components(x.T @ x, x.T @ y, 20)
    assert found.shape == (7, 6)
    expected = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(x @ (found @ (found.T @ x.T @ y)), expected, atol=1e-9)


def test_the_leading_direction(rng: np.random.Generator) -> None:
    for shape in ((5, 3), (3, 5), (60, 80), (80, 60)):
        matrix = rng.normal(size=shape)
        expected = np.linalg.svd(matrix)[0][:, 0]
        assert abs(expected @ leading(matrix)) == pytest.approx(1, abs=1e-12)


def pls(x: np.ndarray, y: np.ndarray, plan: Nested, counts: tuple[int, ...], rows: bool) -> Pls:
    x, y = centred(x), centred(y)
    own = cell_moments({"x": x}, plan, ("x", "x"))
    cross = cell_moments({"x": x, "y": y}, plan, ("x", "y"), ("y",))
    sides = (x, y) if rows else (None, None)
    return Pls(own, cross, plan, *sides, counts, np.ones(y.shape[1]))


def test_nested_pls_is_that_of_cross_validation() -> None:
    x, y = problem(60, 7)
    plan = plan_of(60)
    found = scored(pls(x, y, plan, (1, 2, 3, 4, 5, 6, 7), rows=True), plan)
    bare = scored(pls(x, y, plan, (1, 2, 3, 4, 5, 6, 7), rows=False), plan)
    np.testing.assert_array_equal(found.options, bare.options)
    np.testing.assert_allclose(found.sums.r2, bare.sums.r2, rtol=1e-9)
    np.testing.assert_allclose(found.sums.r, bare.sums.r, rtol=1e-9)
    outer = plan.outer[1]
    errors = np.zeros((7, 4))
    for fit, validation in outer.inner:
        rows, held = plan.rows(fit), plan.rows(validation)
        for k in range(7):
            oracle = PLSRegression(k + 1, scale=False, tol=1e-14, max_iter=5000)
            predicted = oracle.fit(x[rows], y[rows]).predict(x[held])
            errors[k] += ((predicted - y[held]) ** 2).sum(axis=0)
    np.testing.assert_array_equal(found.options[1], errors.argmin(axis=0))


def test_more_components_than_there_are() -> None:
    x, y = problem(60, 7)
    plan = plan_of(60)
    with pytest.raises(ParameterError, match="n_components=8 is more than the 7 components"):
        scored(pls(x, y, plan, (8,), rows=True), plan)
