"""Calls of the public face, right ones and wrong ones, for type checkers to read.

Nothing here is ever run: ``test_calls.py`` has mypy and pyright read the file, and a line is
refused by either of them exactly where it ends in the mark E. A call stands on one line, for a
checker names the line of the wrong argument and not that of the call. ``assert_type`` says that a
result is known as what it is: of an untyped one (``Any``), whatever is done with it passes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas as pd
import torch
import xarray as xr
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.svm import SVC
from torch import nn

import reptools as rt
from reptools.interventions import Readout

ACTIVATIONS = np.zeros((4, 8))
LABELLED = xr.DataArray(ACTIVATIONS, dims=("stimulus", "unit"))
FEATURES = xr.Dataset({"easy": ("stimulus", [0, 1, 0, 1])})
NAMES = ["s0", "s1", "s2", "s3"]


def writing() -> None:
    rt.Writer("run.h5", system="toy")
    rt.Writer(Path("run.h5"), system="toy", stimulus=NAMES, features=FEATURES, steps=[0, 100])
    rt.Writer("run.h5", system="toy", features={"easy": [0, 1]}, coords={"split": ["test"] * 4})
    rt.Writer("run.h5", system="toy", features=pd.DataFrame({"easy": [0, 1]}), coords=FEATURES)
    rt.Writer("run.h5", system="toy", features=rt.open("other.h5")["features"].dataset)
    rt.Writer("run.h5", system="toy", units={"fc1": {"row": [0, 1]}}, dtype="float16", resume=True)
    with rt.Writer("run.h5", system="toy") as writer:
        assert_type(writer, rt.Writer)
        assert_type(writer.append({"fc1": ACTIVATIONS}), int)
        writer.append({"fc1": LABELLED}, step=100, outputs={"easy": [0.5] * 4})
        writer.append({"fc1": torch.zeros(4, 8)}, stimulus=NAMES, per_step={"loss": 0.1})

    rt.Writer("run.h5")  # E
    rt.Writer("run.h5", "toy")  # E
    rt.Writer(3, system="toy")  # E
    rt.Writer("run.h5", system=3)  # E
    rt.Writer("run.h5", system="toy", stimuli=NAMES)  # E
    rt.Writer("run.h5", system="toy", features=["easy"])  # E
    rt.Writer("run.h5", system="toy", coords=["test"])  # E
    rt.Writer("run.h5", system="toy", steps=100)  # E
    rt.Writer("run.h5", system="toy", units={"fc1": [0, 1]})  # E
    rt.Writer("run.h5", system="toy", overwrite="yes")  # E
    writer.append(ACTIVATIONS)  # E
    writer.append({"fc1": ACTIVATIONS}, 100)  # E
    writer.append({"fc1": ACTIVATIONS}, step="last")  # E
    writer.append({"fc1": ACTIVATIONS}, output={"easy": [0.5]})  # E
    writer.append({"fc1": ACTIVATIONS}, per_step=0.1)  # E
    writer.appendix({"fc1": ACTIVATIONS})  # E


def reading() -> None:
    assert_type(rt.open("run.h5"), xr.DataTree)
    assert_type(rt.validate(Path("run.h5")), list[str])
    rt.validate("run.h5", deep=True)
    assert_type(rt.repair("run.h5", deep=True), Path)

    assert_type(rt.open("runs/*.h5"), xr.DataTree)
    rt.open(["a.h5", Path("b.h5")])
    rt.open({"a": "a.h5"})

    rt.open()  # E
    rt.open(3)  # E
    rt.open("run.h5", mode="r")  # E
    rt.validate("run.h5", deep="yes")  # E
    rt.validate("run.h5", depth=2)  # E
    rt.validate("run.h5").to_dataset()  # E
    rt.repair("run.h5", True)  # E
    rt.repair(["run.h5"])  # E


def capturing(model: nn.Module, batches: list[torch.Tensor]) -> None:
    assert_type(rt.capture(model, batches, out="net.h5", layers="fc*"), Path)
    rt.capture(model, batches, out=Path("net.h5"), layers=["0", "1"], stimulus=NAMES)
    rt.capture(model, batches, out="net.h5", layers="*", sequence="flatten", overwrite=True)
    rt.capture(model, batches, out="net.h5", layers="*", call=lambda net, batch: net(batch))
    rt.capture(model, batches, out="net.h5", layers="*", reduce=lambda x, batch: x.mean(1))

    rt.capture(model, batches, layers="*")  # E
    rt.capture(model, batches, out="net.h5")  # E
    rt.capture(model, out="net.h5", layers="*")  # E
    rt.capture(model, batches, "net.h5", layers="*")  # E
    rt.capture(model=model, batches=batches, out="net.h5", layers="*")  # E
    rt.capture("model.pt", batches, out="net.h5", layers="*")  # E
    rt.capture(model, 4, out="net.h5", layers="*")  # E
    rt.capture(model, batches, out="net.h5", layers=[0, 1])  # E
    rt.capture(model, batches, out="net.h5", layer="*")  # E
    rt.capture(model, batches, out="net.h5", layers="*", sequence="tokens")  # E
    rt.capture(model, batches, out="net.h5", layers="*", reduce="mean")  # E
    rt.capture(model, batches, out="net.h5", layers="*", call=lambda net: net)  # E
    rt.capture(model, batches, out="net.h5", layers="*", coords=["test"])  # E


def combining() -> None:
    assert_type(rt.interactions(FEATURES, order=3), xr.Dataset)
    rt.interactions({"easy": [0, 1], "hard": [1, 1]})

    rt.interactions()  # E
    rt.interactions(FEATURES, 3)  # E
    rt.interactions(FEATURES, order="all")  # E
    rt.interactions(FEATURES, degree=3)  # E


def measuring(table: pd.DataFrame) -> None:
    assert_type(rt.cka(ACTIVATIONS, LABELLED, estimator="biased", prepare="zscore"), xr.DataArray)
    rt.cka(torch.zeros(4, 8), table, kernel="rbf", bandwidth=2, batch=None)
    rt.cka([[1.0, 2.0]], xr.DataTree(), prepare=["zscore", "unit_norm"])
    assert_type(rt.rsa(ACTIVATIONS, LABELLED, rdm="euclidean"), xr.DataArray)
    assert_type(rt.variance_explained(LABELLED, FEATURES, cv=5, groups="run"), xr.DataArray)
    rt.variance_explained(LABELLED, {"easy": [0, 1]}, estimator="omega_squared", cv=None)
    rt.probe(LABELLED, FEATURES, method=SVC(), cv=KFold(5), seed=1)
    rt.probe(LABELLED, [0, 1, 0, 1], method="lda", scaling="none")
    rt.predictivity(ACTIVATIONS, LABELLED, method=Ridge(), score="r")
    assert_type(rt.rdm(LABELLED, method="crossnobis", condition="kind"), xr.DataArray)
    rt.compare_rdms(np.zeros((3, 3)), [0.1, 0.2, 0.3], method="rho_a")
    rt.partial_rsa(np.zeros(3), {"model": np.zeros(3)})
    assert_type(rt.principal_components(LABELLED, FEATURES, n_components=3), xr.Dataset)

    rt.cka(ACTIVATIONS, LABELLED, estimtor="biased")  # E
    rt.cka(ACTIVATIONS, LABELLED, estimator="bias")  # E
    rt.cka(ACTIVATIONS)  # E
    rt.cka(ACTIVATIONS, LABELLED, ACTIVATIONS)  # E
    rt.cka(ACTIVATIONS, y=LABELLED)  # E
    rt.cka("run.h5", LABELLED)  # E
    rt.cka(ACTIVATIONS, LABELLED, "biased")  # E
    rt.cka(ACTIVATIONS, LABELLED, batch="4")  # E
    rt.cka(ACTIVATIONS, LABELLED, prepare=3)  # E
    rt.rsa(ACTIVATIONS, LABELLED, rdm="manhattan")  # E
    rt.variance_explained(LABELLED)  # E
    rt.variance_explained(LABELLED, FEATURES, cv="halves")  # E
    rt.variance_explained(LABELLED, FEATURES, denominator="last")  # E
    rt.variance_explained(LABELLED, FEATURES, seed="0")  # E
    rt.probe(LABELLED, FEATURES, method="svm")  # E
    rt.probe(LABELLED, FEATURES, cv=2.5)  # E
    rt.probe(LABELLED, FEATURES, C="1")  # E
    rt.predictivity(ACTIVATIONS, LABELLED, ceiling="noise")  # E
    rt.rdm(LABELLED, LABELLED)  # E
    rt.rdm(LABELLED, method="crossnobi")  # E
    rt.compare_rdms(LABELLED, LABELLED, method="pearsn")  # E
    rt.partial_rsa(np.zeros(3))  # E
    rt.principal_components(LABELLED, FEATURES, n_components="3")  # E


def looping(tree: xr.DataTree) -> None:
    rt.compute("cka", tree, y=LABELLED, layers="fc*", at={"step": "last"}, missing="nan")
    rt.compute(partial(rt.probe, method="lda"), tree, target="easy", stimuli="common")
    rt.compute(rt.interventions.steer, tree, progress=False)
    assert_type(rt.table(rt.cka(ACTIVATIONS, LABELLED)), pd.DataFrame)

    rt.compute(partial(rt.probe, metod="lda"), tree)  # E
    rt.compute(partial(rt.probe, method="svm"), tree)  # E
    rt.compute("cka")  # E
    rt.compute(3, tree)  # E
    rt.compute("cka", "run.h5")  # E
    rt.compute("cka", tree, at="last")  # E
    rt.compute("cka", tree, missing="drop")  # E
    rt.compute("cka", tree, stimuli="shared")  # E
    rt.table("cka")  # E


def comparing() -> None:
    assert_type(rt.compare([ACTIVATIONS, LABELLED]), xr.DataArray)
    rt.compare({"a": ACTIVATIONS}, {"b": LABELLED}, metric="rsa")
    rt.compare(rt.open("run.h5"), metric=rt.cka, layers=["fc1"], at={"step": 100})
    rt.compare([ACTIVATIONS], metric=partial(rt.cka, estimator="biased"))

    rt.compare([ACTIVATIONS], metric=partial(rt.cka, estimtor="biased"))  # E
    rt.compare([ACTIVATIONS], metric=partial(rt.cka, estimator="bias"))  # E

    rt.compare()  # E
    rt.compare([ACTIVATIONS], metric=3)  # E
    rt.compare(xs=[ACTIVATIONS])  # E
    rt.compare([ACTIVATIONS], None, "rsa")  # E


def intervening(head: Readout) -> None:
    at = rt.interventions
    assert_type(at.readout(rt.open("run.h5"), step=100, layer="fc2"), Readout)
    assert_type(at.remove(LABELLED, FEATURES, feature=["easy"], method="projection"), xr.DataArray)
    assert_type(at.steer(LABELLED, FEATURES, head, doses=2.0, scale="rms"), xr.Dataset)
    assert_type(at.truncate(LABELLED, FEATURES, head, k=[1, 2], threshold=0.9), xr.Dataset)
    assert_type(at.effect(LABELLED, LABELLED, FEATURES, head, split="test"), xr.Dataset)
    assert_type(at.downstream(LABELLED, FEATURES, C=[0.1, 1.0], method="ridge"), xr.Dataset)
    assert_type(at.transfer(LABELLED, FEATURES, hold_out={"easy": 1}, scaling="none"), xr.Dataset)

    at.readout()  # E
    at.readout("run.h5")  # E
    at.readout(rt.open("run.h5"), step="last")  # E
    at.remove(LABELLED)  # E
    at.remove(LABELLED, FEATURES, method="project")  # E
    at.remove(LABELLED, FEATURES, features="easy")  # E
    at.remove(LABELLED, FEATURES, feature=3)  # E
    at.steer(LABELLED, FEATURES)  # E
    at.steer(LABELLED, FEATURES, LABELLED)  # E
    at.steer(LABELLED, FEATURES, head, doses="all")  # E
    at.steer(LABELLED, FEATURES, head, scale="norms")  # E
    at.steer(LABELLED, FEATURES, readout=head)  # E
    at.truncate(LABELLED, FEATURES, head, k=0.5)  # E
    at.truncate(LABELLED, FEATURES, head, threshold="95%")  # E
    at.effect(LABELLED, FEATURES, head)  # E
    at.effect(LABELLED, LABELLED, FEATURES, head, split=0)  # E
    at.downstream(LABELLED, FEATURES, C="1")  # E
    at.downstream(LABELLED, FEATURES, method="svm")  # E
    at.downstream(LABELLED, FEATURES, scaling="whiten")  # E
    at.downstream(LABELLED, FEATURES, agree=3)  # E
    at.transfer(LABELLED, FEATURES, hold_out="easy")  # E
    at.transfer(LABELLED, FEATURES, C=[0.1, 1.0])  # E
    at.transfer(LABELLED, FEATURES, seed="0")  # E


def declaring() -> None:
    @rt.metric(symmetric=True, bounds=(0, float("inf")), better="lower")
    def mean_gap(x: Any, y: Any, /, *, power: float = 2.0) -> float:
        return float((abs(x - y) ** power).mean())

    assert_type(mean_gap(ACTIVATIONS, LABELLED, power=1), xr.DataArray)

    @rt.metric
    def spread(x: Any, /, *, power: float = 2.0) -> float:
        return float(x.std() ** power)

    assert_type(spread(ACTIVATIONS, power=1), xr.DataArray)

    mean_gap(ACTIVATIONS, LABELLED, powr=1)  # E
    mean_gap(ACTIVATIONS)  # E
    spread(ACTIVATIONS, power="a")  # E
    rt.metric(kind="pair")  # E
    rt.metric(better="more")  # E
    rt.metric(bounds=(0, 1, 2))  # E
    rt.metric(backends="numpy")  # E
