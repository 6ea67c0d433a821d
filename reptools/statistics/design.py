"""Features as kernels see them: plain columns, without labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from reptools.errors import FeatureError

FeatureKind = Literal["binary", "categorical", "continuous"]
Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Feature:
    """One feature of the stimuli.

    Attributes
    ----------
    name : str
        As in the file.
    kind : "binary", "categorical" or "continuous"
        Decides the design columns and how a probe scores it.
    values : array (stimulus,) or (stimulus, component)
        Class labels, or numbers where the kind is continuous.
    """

    name: str
    kind: FeatureKind
    values: Values

    @cached_property
    def codes(self) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Class number of each stimulus, classes in sorted order."""
        if self.kind == "continuous":
            raise FeatureError(f"feature {self.name!r} is continuous and has no classes.")
        return np.unique(self.values, return_inverse=True)[1].reshape(len(self.values))

    @cached_property
    def constant(self) -> bool:
        """Whether all stimuli share one value, so that nothing can be said of the feature."""
        return bool((self.values == self.values[:1]).all())

    @cached_property
    def columns(self) -> Values:
        """Design matrix (stimulus, column) in float64, not centred.

        A class feature is one-hot with its first level dropped: the intercept carries it.
        """
        if self.kind == "continuous":
            columns = self.values.reshape(len(self.values), -1)
        else:
            columns = self.codes[:, None] == np.arange(1, int(self.codes.max()) + 1)
        return np.asarray(columns, dtype=np.float64)

    @property
    def strata(self) -> np.ndarray[Any, np.dtype[np.intp]] | None:
        """Classes to spread evenly over folds; None for a continuous feature."""
        return None if self.kind == "continuous" else self.codes
