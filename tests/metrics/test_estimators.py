"""Estimators of scikit-learn 1.9.1 as read-outs, against a plain loop over the same folds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from sklearn.base import BaseEstimator, RegressorMixin, clone, is_classifier
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from threadpoolctl import threadpool_limits

from reptools.engine.registry import metrics
from reptools.errors import DeadUnitWarning, FeatureError, ParameterError, ReptoolsWarning
from reptools.metrics.ccgp import ccgp
from reptools.metrics.probe import probe
from reptools.metrics.probe_transfer import probe_transfer
from reptools.statistics.folds import Sampling
from reptools.statistics.readout.estimators import described
from tests.metrics.coded import along, labelled

CLASSIFIERS = [
    SVC(kernel="rbf", C=3.0),
    KNeighborsClassifier(5),
    RandomForestClassifier(8, random_state=0),
    make_pipeline(PCA(6), LogisticRegression()),
    GridSearchCV(SVC(), {"C": [0.1, 10.0]}, cv=3),
]
REGRESSORS = [
    KNeighborsRegressor(5),
    SVR(epsilon=20.0, C=100.0),  # in the units of the amounts
    RandomForestRegressor(8, random_state=0),
    make_pipeline(PCA(6), Ridge()),
]


def name(estimator):
    return type(estimator).__name__


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small fits of scikit-learn are many times slower on two threads."""
    with threadpool_limits(1, "blas"):
        yield


@pytest.fixture(scope="module")
def data():
    """A bit, three shapes, and amounts of the order of 100 in one and in two components."""
    rng = np.random.default_rng(0)
    bit, shape = rng.integers(0, 2, 120), rng.integers(0, 3, 120)
    place = 100 * rng.normal(size=(120, 2))
    x = rng.normal(size=(120, 12)) * np.linspace(0.2, 3, 12) + 5
    x += np.outer(bit, rng.normal(size=12)) + rng.normal(size=(3, 12))[shape]
    x += place @ rng.normal(size=(2, 12)) / 100
    names = np.array(["ball", "cone", "cube"])[shape]
    x = labelled(x)
    return x, along(x, {"bit": bit, "shape": names, "size": place[:, 0], "place": place})


def scaled(fit, test, scaling):
    scaler = StandardScaler(with_std=scaling == "zscore").fit(fit)
    return scaler.transform(fit), scaler.transform(test)


def by_loop(estimator, x, y, target, folds, scaling):
    """Predictions for all test stimuli, in ``y``, by clones fitted to scaled fit stimuli of x."""
    predicted = np.empty_like(target)
    for fit, test in folds:
        z_fit, z_test = scaled(x[fit], y[test], scaling)
        predicted[test] = clone(estimator).fit(z_fit, target[fit]).predict(z_test)
    return predicted


def folds_of(x, target):
    strata = None if target.dtype.kind == "f" else np.unique(target, return_inverse=True)[1]
    return Sampling(5, 0, x.stimulus.values).folds(strata)


# --- equal to a loop ----------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["zscore", "none"])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=name)
def test_classifiers_equal_a_loop_over_the_same_folds(estimator, scaling, data):
    x, features = data
    result = probe(
        x, {key: features[key] for key in ("bit", "shape")}, method=estimator, scaling=scaling
    )
    for key in ("bit", "shape"):
        target = features[key].values
        answered = by_loop(estimator, x.values, x.values, target, folds_of(x, target), scaling)
        one = result.sel(feature=key)
        assert one.item() == pytest.approx(balanced_accuracy_score(target, answered), abs=1e-12)
        assert one.accuracy.item() == pytest.approx(accuracy_score(target, answered), abs=1e-12)
        assert one.chance.item() == 1 / len(np.unique(target))
    assert (abs(result.permuted - result.chance) < 0.2).all()


@pytest.mark.parametrize("scaling", ["zscore", "none"])
@pytest.mark.parametrize("estimator", REGRESSORS, ids=name)
def test_regressors_equal_a_loop_over_the_same_folds(estimator, scaling, data):
    x, features = data
    keys = ["size"] if isinstance(estimator, SVR) else ["size", "place"]
    result = probe(x, {key: features[key] for key in keys}, method=estimator, scaling=scaling)
    for key in keys:
        target = features[key].values
        folds = folds_of(x, target)
        predicted = by_loop(estimator, x.values, x.values, target, folds, scaling)
        total = sum(((target[test] - target[fit].mean(axis=0)) ** 2).sum() for fit, test in folds)
        oracle = 1 - ((target - predicted) ** 2).sum() / total
        assert oracle > 0.1
        assert result.sel(feature=key).item() == pytest.approx(oracle, abs=1e-6)


def test_ridge_is_our_ridge(data):
    x, features = data
    amounts = {key: features[key] for key in ("size", "place")}
    expected = probe(x, amounts, C=0.1)
    np.testing.assert_allclose(probe(x, amounts, method=Ridge(alpha=10.0)), expected, atol=1e-9)


@pytest.mark.parametrize("estimator", [SVC(), KNeighborsClassifier(5)], ids=name)
def test_ccgp_equals_a_loop_over_held_out_values(estimator, data):
    x, features = data
    pair = {key: features[key] for key in ("bit", "shape")}
    result = ccgp(x, pair, method=estimator, scaling="none")
    for f, g in (("bit", "shape"), ("shape", "bit")):
        read, held = pair[f].values, pair[g].values
        oracle = []
        for value in np.unique(held):
            fit, test = np.flatnonzero(held != value), np.flatnonzero(held == value)
            z_fit, z_test = scaled(x.values[fit], x.values[test], "none")
            answered = clone(estimator).fit(z_fit, read[fit]).predict(z_test)
            oracle.append(balanced_accuracy_score(read[test], answered))
        found = result.sel(feature=f, across=g).item()
        assert found == pytest.approx(np.mean(oracle), abs=1e-12)


def test_transfer_equals_a_loop_fitted_here_and_tested_there(data):
    x, features = data
    rng = np.random.default_rng(1)
    y = x.copy(data=x.values + 0.5 * rng.normal(size=x.shape))
    for key, estimator in (("shape", SVC()), ("size", KNeighborsRegressor(5))):
        target = features[key].values
        folds = folds_of(x, target)
        predicted = by_loop(estimator, x.values, y.values, target, folds, "zscore")
        if key == "shape":
            oracle = balanced_accuracy_score(target, predicted)
        else:
            total = sum(((target[test] - target[fit].mean()) ** 2).sum() for fit, test in folds)
            oracle = 1 - ((target - predicted) ** 2).sum() / total
        result = probe_transfer(x, y, features[key], method=estimator)
        assert result.item() == pytest.approx(oracle, abs=1e-9)


def test_what_no_plane_can_tell_is_read_out_by_a_kernel():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, 300))
    x = labelled(np.stack([a, b], axis=1) + 0.2 * rng.normal(size=(300, 2)))
    either = along(x, {"either": a ^ b})["either"]
    assert probe(x, either).item() < 0.65 < 0.95 < probe(x, either, method=SVC()).item()


def test_the_control_task_is_answered_by_the_same_estimator():
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(20), 8)
    noun = (rng.permutation(20) % 2)[kind]
    x = rng.normal(size=(160, 20)) + 6 * np.eye(20)[kind]
    x = labelled(x, word=[f"word{i}" for i in kind])
    result = probe(
        x, along(x, {"noun": noun})["noun"], method=KNeighborsClassifier(3), control="word"
    )
    assert result.accuracy > 0.9 and result.control_accuracy > 0.9


# --- laws ---------------------------------------------------------------------------------------


def test_the_order_of_a_file_changes_nothing_and_the_estimator_is_left_alone(data):
    x, features = data
    forest = RandomForestClassifier(10)
    order = np.random.default_rng(2).permutation(len(x))
    before = probe(x, features["shape"], method=forest)
    xr.testing.assert_identical(probe(x[order], features["shape"], method=forest), before)
    assert not hasattr(forest, "estimators_") and forest.random_state is None


def test_what_draws_is_given_the_seed(data):
    x, features = data
    by_seed = {
        seed: [
            probe(x, features["shape"], method=forest, cv=SplitByHalf(), seed=seed).item()
            for forest in (RandomForestClassifier(5), make_pipeline(RandomForestClassifier(5)))
        ]
        for seed in range(4)
    }
    assert all(plain == piped for plain, piped in by_seed.values())
    assert len({plain for plain, _ in by_seed.values()}) > 1
    given = probe(x, features["shape"], method=RandomForestClassifier(5, random_state=3), seed=3)
    assert given.item() == probe(x, features["shape"], method=RandomForestClassifier(5), seed=3)
    # as a seed of any size, and one that the user has set
    probe(x, features["shape"], method=RandomForestClassifier(5), seed=-1)
    fixed = [
        probe(
            x,
            features["shape"],
            method=RandomForestClassifier(5, random_state=0),
            cv=SplitByHalf(),
            seed=s,
        ).item()
        for s in range(3)
    ]
    assert len(set(fixed)) == 1


class SplitByHalf:
    """The same folds for every seed."""

    def split(self, x, y=None, groups=None):
        rows = np.arange(len(x))
        yield rows[::2], rows[1::2]
        yield rows[1::2], rows[::2]


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_no_scale_is_too_large_or_too_small_after_scaling(factor, data):
    x, features = data
    expected = probe(x, features["shape"], method=SVC())
    np.testing.assert_allclose(probe(x * factor, features["shape"], method=SVC()), expected)


def test_dead_units_and_units_that_are_constant_in_the_fit_rows_carry_no_weight(data):
    x, features = data
    wide = xr.concat([x, x[:, :2] * 0 + 0.1], dim="unit")
    expected = probe(x, features["shape"], method=KNeighborsClassifier(5))
    with pytest.warns(DeadUnitWarning, match="2 of 14 units"):
        result = probe(wide, features["shape"], method=KNeighborsClassifier(5))
    assert result.item() == expected.item()
    split = np.array(["validation", "test"])[np.arange(120) % 2]
    x = x.assign_coords(split=("stimulus", split))
    lively = x.copy()
    lively[split == "validation", 4] = 0.1  # its standard deviation is rounding, not 0
    without = lively.isel(unit=np.delete(np.arange(12), 4))
    found = [
        probe(one, features["shape"], method=KNeighborsClassifier(5), cv="split").item()
        for one in (lively, without)
    ]
    assert found[0] == found[1]


# --- named in the result ------------------------------------------------------------------------


def test_the_result_names_the_estimator_with_all_its_parameters(data):
    x, features = data
    result = probe(x, features["bit"], method=SVC(C=3.0))
    params = json.loads(result.attrs["params"])
    assert params["method"].startswith("SVC(C=3.0, break_ties=False, ")
    for key, value in SVC(C=3.0).get_params().items():
        assert f"{key}={value!r}" in params["method"]
    ensemble = ccgp(
        x, {key: features[key] for key in ("bit", "shape")}, method=RandomForestClassifier(3)
    )  # which has a length, as an array has
    assert json.loads(ensemble.attrs["params"])["method"].startswith("RandomForestClassifier(")
    assert json.loads(probe(x, features["bit"]).attrs["params"])["method"] == "logistic"


def test_a_description_is_the_same_in_every_run():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), SVC(random_state=np.random.RandomState(0))),
        {"svc__C": np.array([1.0, 2.0])},
        scoring=balanced_accuracy_score,
    )
    said = described(search)
    assert said == described(clone(search)) and " at 0x" not in said
    assert "('svc', SVC(C=1.0, " in said and "random_state=numpy.RandomState" in said
    assert "{'svc__C': array of (2,)}" in said and "scoring=balanced_accuracy_score" in said
    assert described(Own()) == f"{Own.__module__.partition('.')[0]}.Own(size=1)"


class Own(RegressorMixin, BaseEstimator):
    """A regressor that a user has written; it predicts nothing finite."""

    def __init__(self, size=1):
        self.size = size

    def fit(self, x, y):
        self.fitted_ = True
        return self

    def predict(self, x):
        return np.full(len(x), np.inf)


# --- what goes wrong ----------------------------------------------------------------------------


def test_a_fit_that_does_not_converge_is_named_and_scored(data):
    x, features = data
    estimator = MLPClassifier((4,), max_iter=2, random_state=0)
    with pytest.warns(ReptoolsWarning) as caught:
        result = probe(x, {"bit": features["bit"]}, method=estimator)
    messages = [str(one.message) for one in caught]
    assert len(messages) == 2  # the feature, and its permutation
    assert messages[0].startswith("probe: feature 'bit' did not converge by method=MLPClassifier(")
    assert "in 5 of 5 folds" in messages[0] and "permuted feature 'bit'" in messages[1]
    assert result.notnull()
    within = make_pipeline(MLPClassifier((4,), max_iter=2, random_state=0))
    with pytest.warns(ReptoolsWarning) as caught:
        ccgp(x, {key: features[key] for key in ("bit", "shape")}, method=within)
    first, second = (str(one.message) for one in caught)
    assert "ccgp: across 'shape', feature 'bit' did not converge" in first and "3 of 3" in first
    assert "across 'bit', feature 'shape'" in second and "in 2 of 2 folds" in second


def test_other_warnings_of_an_estimator_reach_the_user_once(data):
    x, features = data

    class Talking(SVC):
        def fit(self, x, y):
            import warnings

            warnings.warn("read this", UserWarning, stacklevel=1)
            return super().fit(x, y)

    with pytest.warns(UserWarning, match="read this") as caught:
        probe(x, features["bit"], method=Talking())
    assert len(caught) == 1


def test_predictions_that_are_not_finite_are_missing_by_name(data):
    x, features = data
    with pytest.warns(ReptoolsWarning) as caught:
        result = probe(x, {"size": features["size"]}, method=Own())
    assert "probe: feature 'size' is predicted by numbers that are not" in str(caught[0].message)
    assert result.isnull().all() and result.permuted.isnull().all()


@pytest.mark.parametrize(
    "estimator", [SVR(), LinearSVC(C=-1.0), KNeighborsClassifier(110)], ids=name
)
def test_what_an_estimator_refuses_is_quoted(estimator, data):
    x, features = data
    key = "shape" if is_classifier(estimator) else "place"
    said = {
        "SVR": r"method=SVR\(\) on feature 'place' failed: y should be a 1d array",
        "LinearSVC": r"method=LinearSVC\(C=-1.0\) on feature 'shape' failed: .*'C' parameter",
        "KNeighborsClassifier": r"on feature 'shape' failed: Expected n_neighbors <= n_samples_fit",
    }[name(estimator)]
    with pytest.raises(ParameterError, match=f"probe: .*{said}"):
        probe(x, {key: features[key]}, method=estimator)
    if key == "place":
        assert probe(x, features["place"], method=MultiOutputRegressor(SVR(C=100))).item() > 0.1


@pytest.mark.parametrize("metric", ["probe", "probe_transfer", "ccgp"])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"C": 0.1, "method": SVC()},
            ParameterError,
            r"C=0.1 is not used by method=SVC\(\), which",
        ),
        ({"method": SVC}, ParameterError, r"method must be logistic.*Pass an instance: SVC\(\)"),
        ({"method": KMeans()}, ParameterError, r"method must be.*regressor of.*got KMeans\(\)"),
        ({"method": StandardScaler()}, ParameterError, r"method must.*got StandardScaler\(\)"),
        ({"method": None}, ParameterError, "method must be.*got None"),
        ({"method": 3}, ParameterError, "method must be.*got 3"),
        ({"method": Ridge()}, FeatureError, r"method=Ridge\(\) predicts amounts.*'bit', 'shape'"),
    ],
)
def test_what_says_nothing_is_refused(metric, options, error, message, data):
    x, features = data
    sides = (x, x) if metric == "probe_transfer" else (x,)
    pair = {key: features[key] for key in ("bit", "shape")}
    with pytest.raises(error, match=f"{metric}: {message}"):
        metrics()[metric].public(*sides, pair, **options)


@pytest.mark.parametrize("metric", ["probe", "probe_transfer"])
def test_a_nested_choice_is_left_to_the_estimator(metric, data):
    x, features = data
    sides = (x, x) if metric == "probe_transfer" else (x,)
    message = rf"{metric}: regularization='nested' chooses C, and method=SVC\(\) has.*GridSearchCV"
    with pytest.raises(ParameterError, match=message):
        metrics()[metric].public(*sides, features["bit"], method=SVC(), regularization="nested")


def test_a_classifier_refuses_amounts_by_name(data):
    x, features = data
    with pytest.raises(
        FeatureError, match=r"method=SVC\(\) tells classes apart.*'size', 'place'.*a regr"
    ):
        probe(x, features, method=SVC())
