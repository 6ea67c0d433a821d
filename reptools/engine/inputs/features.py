"""Features of the stimuli, beside the activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

import xarray as xr

from reptools import schema
from reptools.engine.inputs.base import Given, HasArray, Input, Planted
from reptools.engine.selecting import matching
from reptools.entering.features import as_features, several
from reptools.entering.labels import Index, Side, place
from reptools.errors import FeatureError, some, warn
from reptools.statistics.features.design import Feature

FEATURE = schema.FEATURE


@dataclass
class ByFeature:
    """Features of one call: kernels see those that vary; a constant one is named once."""

    value: list[Feature]
    named: bool
    constant: dict[str, str] = field(default_factory=dict)  # name to the first place found
    varied: bool = False

    @property
    def coords(self) -> Mapping[str, Sequence[Any]]:
        """The features by name."""
        return {FEATURE: [feature.name for feature in self.value]}

    @property
    def single(self) -> str | None:
        """A single array is no list of one feature."""
        return None if self.named else FEATURE

    def prepare(self, each: Callable[[Any], Any]) -> None:
        """Features are no sides."""

    def at(self, side: Side, index: Index) -> Given | None:
        """Those that vary at a position, and their numbers."""
        here = [feature.at(index) for feature in self.value]
        for feature in here:
            if feature.constant:
                self.constant.setdefault(feature.name, place(side, index) if index else "")
        rows = [i for i, feature in enumerate(here) if not feature.constant]
        self.varied = self.varied or bool(rows)
        return Given([here[i] for i in rows], {FEATURE: rows}) if rows else None

    def close(self, function: str) -> None:
        """Name what was constant; an error where nothing varied anywhere."""
        if not self.constant:
            return
        if not self.varied:
            raise FeatureError(
                f"constant over all stimuli: {some(self.constant)}. Pass one that varies."
            )
        everywhere = [feature.name for feature in self.value if not feature.outer]
        where = [
            name if not at or name in everywhere else f"{name} at {at}"
            for name, at in self.constant.items()
        ]
        warn(f"{function}: constant over all stimuli, score missing (NaN): {some(where)}")


class AllFeatures(ByFeature):
    """Features for an operation that looks for itself at which of them vary."""

    def at(self, side: Side, index: Index) -> Given:
        """All of them at a position."""
        return Given([feature.at(index) for feature in self.value])

    def close(self, function: str) -> None:
        """Nothing was left out."""


@dataclass(frozen=True)
class FeaturesInput(Input):
    """Named features, or a single one.

    Attributes
    ----------
    varying : bool
        Whether the kernel sees only features that vary at the position, and the others are
        missing from the result.
    """

    varying: bool = True

    type = "Dataset, DataTree node, DataArray, mapping, table or array"
    text = (
        "Features over ``stimulus``, lined up with ``x`` by label; they may share outer dimensions "
        "with ``x``, such as a value for each token. One DataArray or array gives a result without "
        "the dimension ``feature``."
    )
    help = "Names or patterns of features, joined by commas. [default: all]"

    def read(self, value: Any, name: str, first: Side) -> ByFeature:
        """Features lined up with the first side."""
        read = ByFeature if self.varying else AllFeatures
        return read(as_features(value, first, name), several(value) or not self.varying)

    def of_file(self, given: Any, node: xr.DataTree, name: str) -> Any:
        """All features of the file, or those of the names or patterns that are given."""
        names = [given] if isinstance(given, str) else given
        by_name = isinstance(names, (list, tuple)) and all(isinstance(one, str) for one in names)
        if given is not None and not by_name:
            return given
        group = node.children.get(schema.FEATURES)
        features = xr.Dataset() if group is None else group.to_dataset()
        if not features.data_vars:
            raise FeatureError(
                f"the file holds no features. Pass them as {name}=, or write them with its stimuli."
            )
        if names is None:
            return features
        known = [str(one) for one in features.data_vars]
        found = {pattern: matching(pattern, known) for pattern in names}
        for pattern, names_found in found.items():
            if not names_found:
                raise FeatureError(f"there is no feature {pattern!r}. It has {some(known, 8)}.")
        return features[list(dict.fromkeys(one for names in found.values() for one in names))]

    def example(self, planted: Planted, number: int) -> xr.Dataset:
        """Two binary features and a continuous one."""
        return planted.features


_Values: TypeAlias = (
    xr.Dataset | xr.DataTree | xr.DataArray | HasArray | Mapping[str, Any] | list[Any]
)
Features: TypeAlias = Annotated[_Values, FeaturesInput()]
Truths: TypeAlias = Annotated[_Values, FeaturesInput(varying=False)]
