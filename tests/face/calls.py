"""Calls of the public face, right ones and wrong ones, for type checkers to read.

Nothing here is ever run: ``test_calls.py`` has mypy and pyright read the file, and a line is
refused by either of them exactly where it ends in the mark E. A call stands on one line, for a
checker names the line of the wrong argument and not that of the call. ``assert_type`` says that a
result is known as what it is: of an untyped one (``Any``), whatever is done with it passes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import torch
import xarray as xr
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


def comparing() -> None:
    assert_type(rt.compare([ACTIVATIONS, LABELLED]), xr.DataArray)
    rt.compare({"a": ACTIVATIONS}, {"b": LABELLED}, metric="rsa")
    rt.compare(rt.open("run.h5"), metric=rt.cka)

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
    @rt.metric(kind="pair", symmetric=True, bounds=(0, float("inf")), better="lower")
    def mean_gap(x: Any, y: Any, /, *, power: float = 2.0) -> float:
        return float((abs(x - y) ** power).mean())

    assert_type(mean_gap(ACTIVATIONS, LABELLED, power=1), xr.DataArray)

    rt.metric(symmetric=True)  # E
    rt.metric(kind="pairs")  # E
    rt.metric(kind="pair", better="more")  # E
    rt.metric(kind="pair", bounds=(0, 1, 2))  # E
    rt.metric(kind="pair", backends="numpy")  # E
