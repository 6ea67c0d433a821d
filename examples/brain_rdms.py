"""Brains and models on the same 92 images, compared through their dissimilarity matrices.

Kriegeskorte et al. (2008, Neuron 60, 1126-1141) showed the same 92 object images to monkeys
(674 cells of inferior temporal cortex, IT) and to people (316 voxels of human IT). No cell has a
counterpart among the voxels, but both systems find some pairs of images more alike than others,
and these matrices can be compared, with one another and with those of models::

    python examples/brain_rdms.py --data DATA

DATA/kriegeskorte92 holds the files of demos/92imageData of github.com/rsagroup/rsatoolbox. They
are measurements: without them there is nothing to show, and the script ends with exit code 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table
from scipy.io import loadmat
from scipy.spatial.distance import squareform

import reptools as rt

METHODS = ("pearson", "spearman", "kendall_tau_a", "cosine")
FILES = {
    "published": "Kriegeskorte_Neuron2008_supplementalData.mat",
    "subjects": "92_brainRDMs.mat",
    "models": "92_modelRDMs.mat",
}


def load(data: str | os.PathLike[str]) -> dict[str, xr.DataArray]:
    """RDMs (..., stimulus, stimulus_): monkey and human IT, subjects by session, models."""
    folder = Path(data) / "kriegeskorte92"
    matlab = {key: loadmat(folder / name, squeeze_me=True) for key, name in FILES.items()}
    monkey, human = (squareform(item["RDM"]) for item in matlab["published"]["RDMs_mIT_hIT_fig1"])
    subjects = matlab["subjects"]["RDMs"]  # (subject, session)
    models = matlab["models"]["Models"]
    names = [str(item["name"]) for item in models]
    return {
        "monkey": labelled(monkey),
        "human": labelled(human),
        "subjects": labelled(
            [[item["RDM"] for item in row] for row in subjects], "subject", "session"
        ),
        "models": labelled([item["RDM"] for item in models], "model").assign_coords(model=names),
    }


def labelled(rdms: object, *outer: str) -> xr.DataArray:
    """Square matrices as a DataArray whose stimuli have names, as every comparison wants them."""
    values = np.asarray(rdms, dtype=np.float64)
    images = [f"image{i:02d}" for i in range(values.shape[-1])]
    coords = {"stimulus": images, "stimulus_": images}
    return xr.DataArray(values, dims=(*outer, "stimulus", "stimulus_"), coords=coords)


def by_every_method(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
    """Similarity of RDMs by every method: (comparator, ...), outer dimensions kept."""
    scores = [rt.compare_rdms(a, b, method=method) for method in METHODS]
    return xr.concat(scores, "comparator", combine_attrs="drop").assign_coords(
        comparator=list(METHODS)
    )


def table(title: str, rows: dict[str, xr.DataArray]) -> Table:
    """One row per comparison, one column per method."""
    shown = Table("", *METHODS, title=title, title_justify="left")
    for name, scores in rows.items():
        shown.add_row(name, *(f"{float(scores.sel(comparator=m)):.5f}" for m in METHODS))
    return shown


def main(arguments: list[str] | None = None) -> int:
    """Print both tables; 0 if the data were there, else 2."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data",
        default=os.environ.get("REPTOOLS_DATA"),
        help="folder that holds kriegeskorte92/ (default: the variable REPTOOLS_DATA)",
    )
    data = parser.parse_args(arguments).data
    missing = [n for n in FILES.values() if not Path(data or "", "kriegeskorte92", n).is_file()]
    if data is None or missing:
        where = (
            "no folder was named" if data is None else f"{data} lacks kriegeskorte92/{missing[0]}"
        )
        print(
            f"brain_rdms: the measurements are not here: {where}. Take them from "
            "demos/92imageData of github.com/rsagroup/rsatoolbox and pass --data.",
            file=sys.stderr,
        )
        return 2
    rdms = load(data)
    console = Console()
    console.print(
        table("92 images", {"human IT - monkey IT": by_every_method(rdms["human"], rdms["monkey"])})
    )
    people = rdms["subjects"].mean(["subject", "session"])
    scores = by_every_method(rdms["models"], people)
    ranked = scores.model[np.argsort(-scores.sel(comparator="spearman").values)].values
    rows = {str(name): scores.sel(model=name) for name in ranked}
    console.print(table("Models against mean human IT", rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
