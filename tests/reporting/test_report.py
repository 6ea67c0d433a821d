"""The report page: self-contained, escaped, complete, and honest about what failed."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import reptools as rt
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Wiring
from reptools.engine.registry import forget, metrics
from reptools.errors import (
    DimensionError,
    MissingExtraError,
    ParameterError,
    ReptoolsWarning,
    StoreError,
    warn,
)
from reptools.reporting import Page, report

FAST = ["variance_explained", "cka"]


class Outline(HTMLParser):
    """Tags with attributes, in order, and whether every opened tag was closed."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def write_run(path, system, *, features=True, prefix="s", seed=0, learned=1, dead=0):
    rng = np.random.default_rng(seed)
    n, steps = 48, [0, 10, 20]
    easy, hard = np.tile([0, 1], n // 2), np.tile([0, 0, 1, 1], n // 4)
    named = {
        "easy": (easy, {"kind": "binary", "complexity": 1.0}),
        "hard": (hard, {"kind": "binary", "complexity": 4.0}),
    }
    accuracy = xr.DataArray([1.0, 0.875], {"feature": ["easy", "hard"]})
    with rt.Writer(
        path,
        system=system,
        stimulus=[f"{prefix}{i}" for i in range(n)],
        features=named if features else None,
        coords={"split": np.repeat(["validation", "test"], n // 2)},
        steps=steps,
        provenance={"config": {"seed": seed}},
    ) as writer:
        for step in steps:
            layers = {}
            for name, width in (("fc1", 6), ("fc2", 4)):
                x = rng.normal(size=(n, width)) + step / 10 * easy[:, None] + hard[:, None]
                x[:, :dead] = 1
                layers[name] = x
            ok = xr.DataArray(np.array([1, learned], np.uint8), {"feature": ["easy", "hard"]})
            writer.append(layers, step=step, per_step={"accuracy": accuracy, "learned": ok})
    return path


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "a.h5", "net-a")


def read(path):
    return path.read_text(encoding="utf-8")


def test_page_is_self_contained(run, tmp_path):
    page = read(report(run, tmp_path / "page.html", metrics=FAST))
    outline = Outline(page)
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", page)
    assert not re.search(r"url\(|@import", page)
    assert [tag for tag, _ in outline.tags if tag in ("script", "link", "iframe")] == []
    images = outline.all("img")
    # time course twice, components, sparseness, one map
    assert len(images) == 5
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in images)
    assert all(len(image["alt"]) > 20 for image in images)
    for link in outline.all("a"):
        assert any(attrs.get("id") == link["href"][1:] for _, attrs in outline.tags)


def test_names_are_text_and_never_html(tmp_path):
    evil = "<script>alert(1)</script>"
    run = write_run(tmp_path / "a.h5", evil)
    page = read(report(run, tmp_path / "page.html", metrics=["cka"], title=f"T {evil}"))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert evil in "".join(Outline(page).text)


def test_every_registered_metric_appears(run, tmp_path):
    @metric(bounds=(0, float("inf")), better="neither")
    def toy_spread(x, /):
        """Spread, declared by this test only."""
        return x.std()

    @metric(better="lower", bounds=(0, float("inf")))
    def toy_gap(x, y, /):
        """Gap of the means, declared by this test only."""
        return abs(x.mean() - y.mean())

    @metric(dims=("model",))
    def toy_models(rdm, models, /):
        """Gap to models, declared by this test only."""
        return [0.0 for _ in models]

    @metric
    def toy_transfer(x, y, features, /):
        """Nothing, declared by this test only."""
        return [0.0 for _ in features]

    @metric(dims=("unit",), bounds=(0, 1))
    def toy_units(x, y, /):
        """One value for each unit of y, declared by this test only."""
        return np.linspace(0, 1, y.shape[1])

    @metric
    def toy_spectrum(x: Activations, /) -> Wiring[xr.DataArray]:
        """One value for each component, declared by this test only."""
        size = {"component": lambda inputs: inputs["x"].n_units}
        return Wiring(lambda x: x.std(0), dims=("component",), coords=size)

    names = [*metrics()]
    try:
        page = read(report(run, tmp_path / "page.html"))
        shown = "".join(Outline(page).text)
        for name, record in metrics().items():
            assert name in shown
            assert f"{name}:" not in shown or record.summary in shown
    finally:
        for name in names:
            if name.startswith("toy_"):
                forget(name)
    left = re.search(r"Not in this report: (.*)\.\n", shown)[1]
    assert "toy_models (of dissimilarity matrices, and these files hold activations)" in left or (
        re.search(r"compare_rdms, .*toy_models \(of dissimilarity matrices", left)
    )
    assert "toy_transfer (of two recordings of the same units)" in left
    assert "toy_spectrum" not in left  # its components are rows
    assert re.search(r"rdm\b.* \(a result over the stimuli\)", left)
    assert "toy_units: 48 stimuli; mean over live units. From 0 to 1." in shown
    assert "Lower is more alike." in shown
    assert "could not be computed" not in shown


def test_failing_metric_is_named_and_the_rest_stands(run, tmp_path):
    @metric
    def toy_broken(x, /):
        """Breaks on purpose."""
        raise ZeroDivisionError("seven by naught")

    try:
        page = read(report(run, tmp_path / "page.html", metrics=["toy_broken", *FAST]))
    finally:
        forget("toy_broken")
    text = "".join(Outline(page).text)
    what = "toy_broken of net-a, layers fc1 and fc2"
    assert f"{what} could not be computed. ZeroDivisionError: seven by naught" in text
    assert "1 of its results could not be computed" in text
    assert len(Outline(page).all("img")) == 5


def test_tables_hold_the_numbers_of_the_public_functions(run, tmp_path):
    page = read(report(run, tmp_path / "page.html", metrics=FAST))
    with rt.open(run) as tree:
        for layer in ("fc1", "fc2"):
            x = tree[f"layers/{layer}"].activation.isel(step=-1)
            values = rt.variance_explained(x, tree["features"]).values
            cells = "".join(f'<td class="numeric">{v:.3f}</td>' for v in values)
            assert f'<th scope="row">{layer}</th>{cells}' in page


def test_two_files_are_mapped_and_all_last_layers_compared(run, tmp_path):
    others = [write_run(tmp_path / f"{k}.h5", f"net-{k}", seed=i) for i, k in enumerate("bc", 1)]
    page = read(report([run, *others], tmp_path / "page.html", metrics=["cka"]))
    text = "".join(Outline(page).text)
    assert "Layers of net-a against layers of net-b." in text
    with rt.open(run) as a, rt.open(others[1]) as c:
        last = [tree["layers/fc2"].activation.isel(step=-1) for tree in (a, c)]
        score = float(rt.cka(*last))
    row = re.search(r'<th scope="row">net-a</th>((?:<td class="numeric">[^<]*</td>){3})', page)
    cells = re.findall(r">([^<]+)<", row[1])
    assert cells[0] == "1.000"
    assert cells[2].replace("\u2212", "-") == f"{score:.3f}"


def test_files_of_other_stimuli_are_reported_not_compared(run, tmp_path):
    other = write_run(tmp_path / "b.h5", "net-b", prefix="t")
    page = read(report([run, other], tmp_path / "page.html", metrics=["cka"]))
    text = "".join(Outline(page).text)
    assert "cka between the last layers of all files could not be computed. StimulusError" in text
    assert "48 only in" in text


def test_warnings_are_gathered_on_the_page(tmp_path):
    @metric
    def toy_warns(x, /):
        """Warns on purpose."""
        warn("toy_warns: mind the gap")
        return x.mean()

    run = write_run(tmp_path / "a.h5", "net-a", dead=1)
    try:
        page = read(report(run, tmp_path / "page.html", metrics=["toy_warns"]))
    finally:
        forget("toy_warns")
    text = "".join(Outline(page).text)
    assert "mind the gap" in text
    assert "1 of 6 units without variance" in text  # folded away
    assert "6 (1 dead), 4 (1 dead)" in text
    assert "1 warning came up" in text


def test_a_last_layer_in_which_nothing_varies_is_said_and_not_drawn(tmp_path):
    run = write_run(tmp_path / "a.h5", "net-a", dead=4)  # all of fc2, four of fc1
    page = read(report(run, tmp_path / "page.html", metrics=FAST))
    text = "".join(Outline(page).text)
    assert "No unit of layer fc2 varies at the last step" in text and "nan %" not in text
    assert len(Outline(page).all("img")) == 1  # the map of layers
    table = re.search(r'<th scope="row">fc2</th>((?:<td class="numeric">[^<]*</td>)+)', page)
    assert set(re.findall(r">([^<]+)<", table[1])) == {"n/a"}
    with rt.open(run) as tree:
        values = rt.variance_explained(
            tree["layers/fc1"].activation.isel(step=-1, unit=slice(4, None)), tree["features"]
        )
    cells = "".join(f'<td class="numeric">{v:.3f}</td>' for v in values.values)
    assert f'<th scope="row">fc1</th>{cells}' in page


def test_components_that_a_layer_lacks_have_no_rows(run, tmp_path):
    page = read(report(run, tmp_path / "page.html", metrics=["pca_spectrum"]))
    rows = re.findall(r'<th scope="row">(fc\d)</th><td class="numeric">(\d)</td>', page)
    spectrum = rows[: 6 + 4]
    assert spectrum == [("fc1", str(i)) for i in range(1, 7)] + [
        ("fc2", str(i)) for i in range(1, 5)
    ]


def test_overview_says_what_was_not_learned(tmp_path):
    run = write_run(tmp_path / "a.h5", "net-a", learned=0)
    text = "".join(Outline(read(report(run, tmp_path / "p.html", metrics=["cka"]))).text)
    assert "net-a did not learn hard" in text
    assert "0.875" in text


def test_file_without_features_still_has_a_report(tmp_path):
    run = write_run(tmp_path / "a.h5", "net-a", features=False)
    page = read(report(run, tmp_path / "page.html", metrics=FAST))
    text = "".join(Outline(page).text)
    assert "The file has no features" in text
    assert (
        "Not in this report: variance_explained (of features, and these files have none)." in text
    )
    assert len(Outline(page).all("img")) == 1


def test_layers_can_be_chosen(run, tmp_path):
    page = read(report(run, tmp_path / "page.html", metrics=FAST, layers=["fc1"]))
    assert "fc2" not in "".join(Outline(page).text)


def test_layers_are_chosen_by_pattern_and_a_file_may_lack_some(run, tmp_path):
    x = np.random.default_rng(0).normal(size=(48, 3))
    with rt.Writer(tmp_path / "b.h5", system="net-b", stimulus=[f"s{i}" for i in range(48)]) as w:
        w.append({"fc1": x, "head": x[:, :2]})
    page = tmp_path / "page.html"
    report([run, tmp_path / "b.h5"], page, metrics=["cka"], layers=["fc2", "h*", "fc1"])
    text = "".join(Outline(read(page)).text)
    assert f"net-a: {run} has no layer that matches h*." in text
    assert f"net-b: {tmp_path / 'b.h5'} has no layer that matches fc2." in text
    assert "fc2, fc1" in text and "head, fc1" in text  # in the order asked for
    with pytest.raises(ParameterError, match=r"b\.h5 has none of 'fc2', but 'fc1', 'head'"):
        report([run, tmp_path / "b.h5"], page, layers=["fc2"])


def test_layers_of_other_dimensions_are_mapped_together(tmp_path):
    rng = np.random.default_rng(0)
    x, head = rng.normal(size=(20, 4, 3)), rng.normal(size=(20, 5))
    odd = {"odd": np.arange(20) % 2}
    with rt.Writer(tmp_path / "a.h5", system="a", stimulus=range(20), features=odd) as writer:
        writer.append({"head": head, "block": x})
    page = tmp_path / "page.html"
    text = "".join(Outline(read(report(tmp_path / "a.h5", page, metrics=["cka"]))).text)
    assert "could not be computed" not in text and "mean over token" in text
    assert "Layer block has token, and a figure shows one position. Choose it with --at" in text
    alt = Outline(read(page)).all("img")[0]["alt"]
    lowest = min(np.mean([float(rt.cka(x[:, i], head)) for i in range(4)]), 1)
    assert f"from {lowest:.2f} to 1.00" in alt


def test_positions_are_chosen_and_said(run, tmp_path):
    page = tmp_path / "page.html"
    at = {"step": 10}
    text = "".join(Outline(read(report(run, page, metrics=FAST, at=at))).text)
    assert "at step 10." in text and "over training" not in text and "only 10" in text
    with rt.open(run) as tree:
        x = tree["layers/fc2"].activation.sel(step=10)
        values = rt.variance_explained(x, tree["features"]).values
    cells = "".join(f'<td class="numeric">{v:.3f}</td>' for v in values)
    assert f'<th scope="row">fc2</th>{cells}' in read(page)
    assert "Accuracy of answered features, step 10" in text
    with pytest.raises(ParameterError, match=r"a\.h5 has no dimension 'token', but token=last"):
        report(run, page, at={"token": "last"})
    with pytest.raises(ParameterError, match="no step 15. The nearest of 3 are 10, 20"):
        report(run, page, at={"step": 15})
    with pytest.raises(ParameterError, match="unit=0 picks along unit"):
        report(run, page, at={"unit": 0})


def test_a_complete_file_keeps_a_last_step_that_ends_in_missing_values(tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 20, 3))
    x[1, -1] = np.nan  # as its writer was given it
    with rt.Writer(tmp_path / "a.h5", system="a", stimulus=range(20), steps=[0, 1]) as writer:
        for step in (0, 1):
            writer.append({"fc": x[step]}, step=step)
    page = read(report(tmp_path / "a.h5", tmp_path / "page.html", metrics=["cka"]))
    text = "".join(Outline(page).text)
    assert "2, to 1" in text
    assert "not finite for 1 of 20 stimuli" in text


def test_unfinished_file_is_reported_up_to_its_last_whole_step(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 3))
    with (
        pytest.raises(RuntimeError, match="killed"),
        rt.Writer(tmp_path / "a.h5", system="a", stimulus=range(20), steps=[0, 1]) as writer,
    ):
        writer.append({"fc": x}, step=0)
        writer.append({"fc": x[:5]}, step=1)
        raise RuntimeError("killed")
    page = read(report(tmp_path / "a.h5.partial", tmp_path / "page.html", metrics=["cka"]))
    text = "".join(Outline(page).text)
    assert "incomplete" in text
    assert "1, to 0" in text


def test_wrong_requests_are_refused_before_anything_is_computed(run, tmp_path):
    out = tmp_path / "page.html"
    with pytest.raises(ParameterError, match=r"report: .*'ckka'.*'cka'"):
        report(run, out, metrics=["ckka"])
    with pytest.raises(ParameterError, match=r"report: layers: 'fc9' is not in .*'fc2', 'fc1'"):
        report(run, out, layers=["fc9"])
    with pytest.raises(ParameterError, match="files is empty"):
        report([], out)
    with pytest.raises(StoreError, match=r"nowhere\.h5"):
        report(tmp_path / "nowhere.h5", out)
    assert not out.exists()


def test_page_takes_results_rows_and_scalars():
    page = Page("All kinds")
    page.table(xr.DataArray([[0.5, np.nan]], {"x": ["a"], "y": ["b", "c"]}, ["x", "y"]), "Grid.")
    page.table(xr.Dataset({"n": ("k", [3]), "ok": ("k", [True])}, {"k": ["r"]}), "Columns.")
    page.table(xr.DataArray(0.25, name="cka"))
    page.table([{"a": 1, "b": "two"}, {"a": 2, "c": -0.5}], digits=1)
    page.details("Settings", {"optimiser": {"rate": 0.1}})
    html = page.html()
    assert (
        '<th scope="row">a</th><td class="numeric">0.500</td><td class="numeric">n/a</td>' in html
    )
    assert '<th scope="row">r</th><td class="numeric">3</td><td>yes</td>' in html
    assert '<th scope="row">cka</th><td class="numeric">0.250</td>' in html
    assert "\u22120.5" in html
    assert "optimiser:\n  rate: 0.1" in html
    assert [number for number in ("Table 1.", "Table 2.", "Table 3.") if number in html] == [
        "Table 1.",
        "Table 2.",
    ]


def test_page_refuses_what_it_cannot_show(tmp_path):
    page = Page("Refusals")
    with pytest.raises(DimensionError, match=r"Page\.table: .*\('a', 'b', 'c'\)"):
        page.table(xr.DataArray(np.zeros((1, 1, 1)), dims=("a", "b", "c")))
    with pytest.raises(ParameterError, match=r"Page\.table: .*got int"):
        page.table(3)
    with pytest.raises(ParameterError, match="got 'shout'"):
        page.note("x", tone="shout")
    with pytest.raises(ParameterError, match="got 'pdf'"):
        page.figure(Figure(), "x", format="pdf")


def test_figures_can_be_embedded_as_png():
    page = Page("Bitmap")
    page.figure(Figure(figsize=(2, 1)), "An empty figure of two inches.", format="png")
    image = Outline(page.html()).all("img")[0]
    assert image["src"].startswith("data:image/png;base64,")
    assert image["width"] == "192"


def test_missing_jinja2_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"reptools\[plot\]"):
        Page("x").html()


def test_gathered_warnings_do_not_leak(run, tmp_path):
    # the run's own filter turns any warning that leaves report into an error
    write = write_run(tmp_path / "d.h5", "net-d", dead=2)
    assert issubclass(rt.errors.DeadUnitWarning, ReptoolsWarning)
    report(write, tmp_path / "page.html", metrics=FAST)
