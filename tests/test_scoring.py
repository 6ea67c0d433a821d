"""Metrics as scorers of scikit-learn 1.9.1: equal to the metric on each fold, and searched by."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import xarray as xr
from sklearn.cluster import DBSCAN
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from reptools.engine.declaring import metric
from reptools.engine.registry import forget
from reptools.errors import ParameterError
from reptools.metrics.cka import cka
from reptools.metrics.probe import probe
from reptools.metrics.procrustes import procrustes
from reptools.metrics.rsa import rsa
from reptools.scoring import scorer

FOLDS = KFold(3)


@pytest.fixture
def data(rng):
    """A system whose first three axes are those of another, and noise of less variance."""
    y = rng.normal(size=(120, 3))
    return np.hstack([3 * y, rng.normal(size=(120, 20))]), y


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("function", "options"), [(cka, {}), (rsa, {"rdm": "euclidean"})])
def test_a_search_over_a_transformer_finds_the_subspace(function, options, data):
    x, y = data
    grid = {"n_components": [1, 3, 20]}
    chosen = scorer(function.__name__, **options)
    search = GridSearchCV(PCA(), grid, scoring=chosen, cv=FOLDS).fit(x, y)
    assert search.best_params_ == {"n_components": 3}
    for i, n in enumerate(grid["n_components"]):
        by_hand = [
            function(PCA(n).fit(x[fit]).transform(x[test]), y[test], **options).item()
            for fit, test in FOLDS.split(x)
        ]
        assert search.cv_results_["mean_test_score"][i] == pytest.approx(np.mean(by_hand), abs=1e-9)


def test_a_search_over_a_regressor_compares_its_predictions(data, rng):
    x, y = data
    y = y + 0.5 * rng.normal(size=y.shape)
    grid = {"ridge__alpha": [1e-3, 10.0, 1e6]}
    model = make_pipeline(StandardScaler(), Ridge())
    search = GridSearchCV(model, grid, scoring=scorer("cka", estimator="biased"), cv=FOLDS)
    search.fit(x, y)
    for i, alpha in enumerate(grid["ridge__alpha"]):
        by_hand = [
            cka(
                model.set_params(ridge__alpha=alpha).fit(x[fit], y[fit]).predict(x[test]),
                y[test],
                estimator="biased",
            ).item()
            for fit, test in FOLDS.split(x)
        ]
        assert search.cv_results_["mean_test_score"][i] == pytest.approx(np.mean(by_hand), abs=1e-9)
    one = cross_val_score(LinearRegression(), x, y[:, 0], scoring=scorer("cka"), cv=FOLDS)
    assert one.shape == (3,) and (one > 0.5).all()  # one number a stimulus is one unit


def test_a_distance_changes_its_sign(data):
    x, y = data
    distances = scorer("procrustes")
    found = cross_val_score(PCA(3), x, y, scoring=distances, cv=FOLDS)
    by_hand = [
        -procrustes(PCA(3).fit(x[fit]).transform(x[test]), y[test]).item()
        for fit, test in FOLDS.split(x)
    ]
    np.testing.assert_allclose(found, by_hand, atol=1e-9)
    assert (found < 0).all()
    search = GridSearchCV(PCA(), {"n_components": [1, 3, 20]}, scoring=distances, cv=FOLDS)
    assert search.fit(x, y).best_params_ == {"n_components": 3}


def test_a_read_out_of_what_a_transformer_keeps(rng):
    bit = np.tile([0, 1], 60)
    x = np.hstack([3 * rng.normal(size=(120, 2)), bit[:, None] + 0.1 * rng.normal(size=(120, 1))])
    names = np.array(["off", "on"])[bit]
    grid = {"n_components": [1, 3]}
    search = GridSearchCV(PCA(), grid, scoring=scorer(probe, cv=3), cv=FOLDS).fit(x, names)
    assert search.best_params_ == {"n_components": 3} and search.best_score_ > 0.95
    assert 0.3 < search.cv_results_["mean_test_score"][0] < 0.7


def test_several_scorers_as_another_process_gets_them(data):
    x, y = data
    both = {"cka": scorer("cka"), "rsa": scorer(partial(rsa, rdm="euclidean"))}
    found = [
        GridSearchCV(PCA(), {"n_components": [2, 3]}, scoring=those, refit="cka", cv=FOLDS)
        .fit(x, y)
        .cv_results_
        for those in (both, pickle.loads(pickle.dumps(both)), copy.deepcopy(both))
    ]
    for name in ("mean_test_cka", "mean_test_rsa"):
        assert found[0][name].tolist() == found[1][name].tolist() == found[2][name].tolist()


def test_tables_and_sparse_outputs_are_taken_by_position(data):
    x, y = data
    pd = pytest.importorskip("pandas")
    plain = cross_val_score(PCA(3), x, y, scoring=scorer("cka"), cv=FOLDS)
    index = [f"s{i:03d}" for i in range(120)]
    table, other = pd.DataFrame(x, index=index), pd.DataFrame(y, index=index[::-1])
    framed = PCA(3).set_output(transform="pandas")
    np.testing.assert_allclose(
        cross_val_score(framed, table, other, scoring=scorer("cka"), cv=FOLDS), plain
    )
    labelled = xr.DataArray(y, dims=("stimulus", "unit"), coords={"stimulus": index})
    fitted = PCA(3).fit(x)
    assert scorer("cka")(fitted, x, labelled) == scorer("cka")(fitted, x, y)
    words = np.array(list("abc"))[np.arange(120) % 3][:, None]
    one_hot = OneHotEncoder().fit(words)  # gives a sparse matrix
    assert scorer("cka")(one_hot, words, np.eye(3)[np.arange(120) % 3]) == pytest.approx(1)


def test_a_metric_of_a_users_own_is_a_scorer(data):
    x, y = data

    @metric(better="lower", symmetric=True, bounds=(0, float("inf")))
    def largest_gap(x, y, /):
        "Largest difference of two activations."
        return abs(x - y).max()

    try:
        model = LinearRegression().fit(x, y)
        found = scorer(largest_gap)(model, x, y + 1)
        assert found == pytest.approx(-abs(model.predict(x) - y - 1).max())
        assert repr(scorer(largest_gap)) == "scorer('largest_gap')"
    finally:
        forget("largest_gap")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ckaa", {}, "'ckaa'. Did you mean 'cka'"),
        ("cka", {"estimtor": "biased"}, "'estimtor'. Did you mean 'estimator'"),
        ("cka", {"estimator": "best"}, r"estimator must be debiased\|biased, got 'best'"),
        ("cka", {"bandwidth": 2.0}, "bandwidth=2 is of the RBF kernel"),
        ("total_variance", {}, "'total_variance' takes x, and is no comparison"),
        ("compare_rdms", {}, "'compare_rdms' takes a, b, and is no comparison"),
        ("probe_transfer", {}, "'probe_transfer' takes x, y, features, and is no comparison"),
        ("signal_variance_explained", {}, "is no comparison"),
        ("unit_variance_explained", {}, "'unit_variance_explained' has one value for each unit"),
        ("ccgp", {}, "'ccgp' has one value for each across"),
        ("sparseness", {}, "'sparseness' says of no direction that it is better"),
    ],
)
def test_what_cannot_be_maximised_is_refused(name, options, message):
    with pytest.raises(ParameterError, match=f"scorer: .*{message}"):
        scorer(name, **options)


def test_what_cannot_be_compared_is_refused(data):
    x, y = data
    with pytest.raises(
        ParameterError, match="scorer: cka compares the output of PCA with y, which"
    ):
        scorer("cka")(PCA(3).fit(x), x, None)
    with pytest.raises(ParameterError, match="scorer: DBSCAN has neither transform nor predict"):
        scorer("cka")(DBSCAN().fit(x), x, y)
