"""Features at the edge: any input as plain columns, lined up with a side by stimulus label."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from reptools.arrays import to_host
from reptools.entering import door
from reptools.entering.labels import (
    STIMULUS,
    Rows,
    Side,
    match_rows,
    ordered,
    shared_outer,
)
from reptools.errors import DimensionError, FeatureError, ParameterError, naming, some
from reptools.statistics.features.design import Feature, FeatureKind

COMPONENT = "component"
Known = tuple[xr.Variable, "Rows | None"]  # stimulus labels, and the order that lines them up


def several(features: Any) -> bool:
    """Whether ``features`` are named ones (also if there is one) and not a single feature."""
    table = hasattr(features, "columns")  # a pandas or polars DataFrame
    return table or isinstance(features, (xr.Dataset, xr.DataTree, Mapping))


def as_features(features: Any, side: Side, name: str = "features") -> list[Feature]:
    """Features lined up with ``side``; ``feature.at(index)`` is what a kernel takes.

    Accepts a Dataset or DataTree node, a mapping of names to arrays or a table with named columns,
    one DataArray, or one bare array. The kind is read from ``attrs["kind"]``; without it two
    distinct values are binary, text is categorical, floats are continuous, and integers with more
    values are refused, since they could be either.

    A feature may have outer dimensions of ``side``, such as a value for each token: at each outer
    position its slice there is meant. One dimension more may hold its components; it is called
    ``component``, or begins so where features of one Dataset have different numbers of them.
    """
    found = named(features, name)
    known: list[Known] = []
    if isinstance(side.data, xr.DataArray) and STIMULUS in side.data.coords and side.rows is None:
        known.append((side.data.coords.variables[STIMULUS], None))
    return [_feature(key, value, side, known) for key, value in found.items()]


def named(features: Any, name: str = "features") -> dict[str, Any]:
    """Features by name, of whatever kind they came."""
    if isinstance(features, xr.DataTree):
        features = features["features"] if "features" in features.children else features
        features = features.to_dataset()
    if isinstance(features, xr.Dataset):
        found: Mapping[Any, Any] = features.data_vars
    elif isinstance(features, Mapping):
        found = features
    elif several(features):
        found = door.columns(features, name)
    else:
        found = {getattr(features, "name", None) or "feature": features}
    if not found:
        raise FeatureError(f"{name} holds no feature. Pass at least one.")
    by_text = {str(key): value for key, value in found.items()}
    if len(by_text) < len(found):
        texts = [str(key) for key in found]
        alike = [key for key in found if texts.count(str(key)) > 1]
        raise FeatureError(f"{name} holds names of one text: {some(alike)}. Rename one.")
    return by_text


def _feature(name: str, value: Any, side: Side, known: list[Known]) -> Feature:
    array = _array(name, value)
    outer = tuple(str(dim) for dim in side.outer if dim in array.dims)
    inner = [dim for dim in array.dims if dim != STIMULUS and dim not in outer]
    if (
        STIMULUS not in array.dims
        or len(inner) > 1
        or any(not str(dim).startswith(COMPONENT) for dim in inner)
    ):
        also = f" beside {some(side.outer)} of {side.name}" if side.outer else ""
        raise DimensionError(
            f"feature {name!r} has the dimensions {array.dims}; it must be (stimulus,) or "
            f"(stimulus, component){also}. Select or rename what is meant."
        )
    if outer:
        shared_outer(side, Side(f"feature {name!r}", array, None, 0, 0, outer=_sizes(array, outer)))
    rows = _rows(name, array, side, known)
    values = array.variable.transpose(*outer, STIMULUS, ...).values
    if rows is not None:
        values = values.take(rows, axis=len(outer))
    values = _plain(name, values)
    kind = _kind(name, values, array.attrs.get("kind"), len(outer), bool(inner))
    if kind == "continuous" and values.dtype.kind not in "biuf":
        raise FeatureError(
            f"feature {name!r} is called continuous and holds {values.dtype.name} values. "
            "Call it categorical, or pass numbers."
        )
    if kind != "continuous" and inner:
        raise FeatureError(
            f"feature {name!r} is {kind} with the shape {values.shape}; a class feature has one "
            "value per stimulus. Pass its columns as features of their own, or call it continuous."
        )
    return Feature(name, kind, values, outer)


def _array(name: str, value: Any) -> xr.DataArray:
    """A feature with named dimensions; a bare array is (stimulus,) or (stimulus, component)."""
    value = door.read(value, f"feature {name!r}", (STIMULUS, COMPONENT))
    if isinstance(value, xr.DataArray):
        return value
    value = to_host(value)
    if value.ndim not in (1, 2):
        raise DimensionError(
            f"feature {name!r} has the shape {value.shape}; it must be (stimulus,) or "
            "(stimulus, component). Select or rename what is meant."
        )
    return xr.DataArray(value, dims=(STIMULUS, COMPONENT)[: value.ndim])


def _sizes(array: xr.DataArray, dims: tuple[str, ...]) -> dict[str, int]:
    return {dim: int(array.sizes[dim]) for dim in dims}


def _rows(name: str, array: xr.DataArray, side: Side, known: list[Known]) -> Rows | None:
    """Row order that lines the feature up; the same labels (of one Dataset) are read once."""
    labels = array.coords.variables.get(STIMULUS)
    for one, rows in known:
        if labels is one:
            return rows
    for one, rows in known:
        if labels is not None and labels.equals(one):
            known.append((labels, rows))
            return rows
    rows = match_rows(side.name, side.n_stimuli, ordered(side), f"feature {name!r}", array)
    if labels is not None:
        known.append((labels, rows))
    return rows


def _plain(name: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Python objects as the one type that they all have; numbers are not text."""
    if values.dtype.kind in "cmM":
        raise FeatureError(
            f"feature {name!r} holds {values.dtype.name} values. Pass numbers or class names."
        )
    if values.dtype.kind != "O":
        return values
    items = values.ravel().tolist()
    missing = sum(item is None or item != item for item in items)
    if missing:
        raise FeatureError(
            f"feature {name!r} is missing for {missing} stimuli. Drop these stimuli first."
        )
    kinds = {"text" if isinstance(item, str) else "numbers" for item in items}
    if len(kinds) > 1:
        raise FeatureError(f"feature {name!r} mixes text and numbers. Pass one of the two.")
    return np.asarray(values.tolist())


def _kind(
    name: str, values: np.ndarray[Any, Any], stated: Any, n_outer: int, inner: bool
) -> FeatureKind:
    """The stated kind of a feature, or the one that its values show."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        by_stimulus = np.moveaxis(values, n_outer, 0).reshape(values.shape[n_outer], -1)
        bad = int((~np.isfinite(by_stimulus).all(axis=1)).sum())
        raise FeatureError(
            f"feature {name!r} is not finite for {bad} stimuli. Drop these stimuli first."
        )
    if stated is not None:
        if stated not in ("binary", "categorical", "continuous"):
            raise FeatureError(
                f"feature {name!r} has the kind {stated!r}. "
                "It must be binary, categorical or continuous."
            )
        if stated == "binary" and not _two_values(values):
            raise FeatureError(
                f"feature {name!r} is called binary and has {len(np.unique(values))} values. "
                "Call it categorical or continuous."
            )
        kind: FeatureKind = stated
        return kind
    if values.dtype.kind in "UST":
        return "categorical"
    if not inner and _two_values(values):
        return "binary"
    if values.dtype.kind == "f":
        return "continuous"
    raise FeatureError(
        f"feature {name!r} holds {len(np.unique(values))} different integers, which may be classes "
        "or amounts. Say which: set attrs['kind'] of its DataArray to 'categorical' or "
        "'continuous'."
    )


def _two_values(values: np.ndarray[Any, Any]) -> bool:
    """Whether there are no more than two different values."""
    if values.dtype.kind not in "biuf":
        return len(np.unique(values)) <= 2
    return bool(((values == values.min()) | (values == values.max())).all())


def interactions(features: Any, /, *, order: int = 2) -> xr.Dataset:
    """Features and their interactions: products of centred design columns, as more features.

    Whether a representation spends variance on a combination of features (XOR of two bits) and
    not on the features themselves is a question about the product columns. Every feature metric
    takes the result; in a balanced design the products are orthogonal to the features, elsewhere
    ``unique_variance`` tells what they add.

    Parameters
    ----------
    features : Dataset, DataTree node, mapping or table
        Two features or more over the same stimuli. Those of a mapping are lined up by label with
        the first.
    order : int
        Largest number of features in a product; 2 (default) gives all pairs.

    Returns
    -------
    Dataset
        The features as they are, then ``"easy:hard"`` and so on, of kind continuous. A product of
        two binary features is (stimulus,); where there are more product columns they stand along
        a component dimension of its own name, such as ``component_easy:shape``. Columns are
        centred over the stimuli given before they are multiplied.

    Raises
    ------
    FeatureError
        There is one feature only, or a name is taken.
    ParameterError
        ``order`` is not a whole number from 2 to the number of features.
    StimulusError
        The features are not of the same stimuli.

    Examples
    --------
    >>> import numpy as np
    >>> both = interactions({"a": np.tile([0, 1], 4), "b": np.repeat([0, 1], 4)})
    >>> list(both), both["a:b"].values.tolist()
    (['a', 'b', 'a:b'], [0.25, -0.25, 0.25, -0.25, -0.25, 0.25, -0.25, 0.25])
    """
    with naming("interactions"):
        found = named(features)
        if len(found) < 2:
            raise FeatureError(f"it multiplies features, got only {some(found)}. Pass several.")
        whole = isinstance(order, int) and not isinstance(order, bool)
        if not whole or not 2 <= order <= len(found):
            raise ParameterError(
                f"order must be from 2 to {len(found)}, the number of features, got {order!r}. "
                "Pass order=2."
            )
        arrays = _on_the_same_stimuli(found)
        designs = {name: _centred_design(name, array) for name, array in arrays.items()}
        result = {name: _own_component(name, array) for name, array in arrays.items()}
        for size in range(2, order + 1):
            for names in combinations(designs, size):
                name = ":".join(names)
                if name in result:
                    raise FeatureError(f"a feature is called {name!r} already. Rename it.")
                result[name] = _product(name, [designs[one] for one in names])
        return xr.Dataset(result)


def _on_the_same_stimuli(found: Mapping[str, Any]) -> dict[str, xr.DataArray]:
    """Arrays with the stimuli of the first one, in its order, and without other coordinates."""
    arrays = {name: _array(name, value) for name, value in found.items()}
    for name, array in arrays.items():
        if STIMULUS not in array.dims:
            raise DimensionError(
                f"feature {name!r} has the dimensions {array.dims} and lacks 'stimulus'. "
                "Rename what is meant."
            )
    first_name, first = next(iter(arrays.items()))
    labels = first.coords[STIMULUS].values if STIMULUS in first.coords else None
    door.check_unique(labels, f"feature {first_name!r}")
    n = first.sizes[STIMULUS]
    lined_up = {}
    for name, array in arrays.items():
        rows = match_rows(f"feature {first_name!r}", n, labels, f"feature {name!r}", array)
        array = array if rows is None else array.isel({STIMULUS: rows})
        lined_up[name] = array.drop_vars([key for key in array.coords if key not in array.dims])
    return lined_up


def _component_of(array: xr.DataArray) -> list[Any]:
    return [dim for dim in array.dims if str(dim).startswith(COMPONENT)]


def _own_component(name: str, array: xr.DataArray) -> xr.DataArray:
    """Numbers of components differ, so each feature of a Dataset has its own dimension."""
    return array.rename(dict.fromkeys(_component_of(array), f"{COMPONENT}_{name}"))


def _centred_design(name: str, array: xr.DataArray) -> xr.DataArray:
    """Design columns along ``component``, each with mean 0 over the stimuli."""
    component = _component_of(array)
    values = _plain(name, array.values)
    kind = _kind(name, values, array.attrs.get("kind"), array.dims.index(STIMULUS), bool(component))
    plain = array.copy(data=values)
    if kind != "continuous":
        levels = xr.DataArray(np.unique(values)[1:], dims=COMPONENT)
        design = (plain == levels).astype(np.float64)
    elif component:
        design = plain.astype(np.float64).rename({component[0]: COMPONENT})
    else:
        design = plain.astype(np.float64).expand_dims(COMPONENT, axis=-1)
    return design.drop_vars(COMPONENT, errors="ignore") - design.mean(STIMULUS)


def _product(name: str, designs: list[xr.DataArray]) -> xr.DataArray:
    """All products of one column of each design."""
    separate = [design.rename({COMPONENT: f"{COMPONENT}{i}"}) for i, design in enumerate(designs)]
    try:
        separate = list(xr.align(*separate, join="exact"))
    except ValueError as error:
        raise DimensionError(
            f"{name} cannot be multiplied: {error} Select the shared positions."
        ) from None
    product = math.prod(separate[1:], start=separate[0])
    own = f"{COMPONENT}_{name}"
    product = product.stack(
        {own: [f"{COMPONENT}{i}" for i in range(len(designs))]}, create_index=False
    )
    product = product.isel({own: 0}) if product.sizes[own] == 1 else product
    product.attrs = {"kind": "continuous"}
    return product.rename(name)
