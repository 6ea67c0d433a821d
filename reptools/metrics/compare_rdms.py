"""Comparing the dissimilarity matrices of two systems, however they were made."""

from __future__ import annotations

from functools import partial

import xarray as xr

from reptools.engine.declaring import metric
from reptools.engine.inputs import Rdm
from reptools.engine.operation import Wiring
from reptools.statistics.rdms.comparators import Comparator, prepared_rdm, similarities, similarity


@metric(better="higher", bounds=(-1.0, 1.0), symmetric=True, invariances=("scale",))
def compare_rdms(a: Rdm, b: Rdm, /, *, method: Comparator = "spearman") -> Wiring[xr.DataArray]:
    """Similarity of two dissimilarity matrices of the same stimuli.

    Parameters
    ----------
    a, b : DataArray (..., stimulus, stimulus_), square array or condensed vector
        Symmetric matrices with a zero diagonal, as :func:`rdm` makes them, or their upper
        triangles row by row. Labelled ones are lined up by stimulus label; outer dimensions
        (subject, step) that both have are paired, the others are crossed.
    method : str, default "spearman"
        What counts as alike. Only the order of distances:

        - "spearman": correlation of ranks, tied distances sharing their mean rank. This favours
          models with many ties (categorical ones) over models that rank every pair.
        - "rho_a": its expectation when ties are broken at random, so that ties cost;
          12 x'y/(m^3 - m) - 3 (m + 1)/(m - 1) on the ranks of m distances.
        - "kendall_tau_a": concordant less discordant pairs of distances, over all pairs; ties cost.
        - "kendall_tau_b": the same over the pairs that are untied; ties do not cost.

        Their sizes:

        - "pearson": a linear relation.
        - "cosine": a proportional relation, for distances with a meaningful zero
          (cross-validated ones). High for any two RDMs of positive distances.
        - "whitened_cosine", "whitened_pearson": the same after decorrelating the errors that
          distances share because they share stimuli. The whitened cosine of squared Euclidean
          RDMs is biased linear CKA.
        - "bures": normalised Bures similarity of the kernels of squared Euclidean (or
          correlation) distances, the cosine of the Procrustes angle between their patterns;
          from 0 to 1.

    Returns
    -------
    DataArray
        The score, named "compare_rdms", over the outer dimensions.

    Raises
    ------
    StimulusError
        The RDMs have different, repeated or fewer than 3 stimuli, or only one has labels.
    DimensionError
        An input is no square matrix and no condensed vector.
    DataError
        A distance is not finite (they are counted), an RDM is not symmetric, has values on its
        diagonal (as similarities do) or is constant; for "bures", no patterns have its distances.
    ParameterError
        An option is unknown or has a value that is not listed above.

    Notes
    -----
    Distances that differ by less than 1e-12 of the largest one are ties: the rounding of
    computed distances would order them at random. Kendall's taus count exactly, in the time of
    a merge sort.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Representational similarity analysis.
    Nili et al. (2014), A toolbox for representational similarity analysis (Kendall's tau-a).
    Schuett et al. (2023), Statistical inference on representational geometries, eLife 12 (rho-a).
    Diedrichsen et al. (2021), Comparing representational geometries using whitened
    unbiased-distance-matrix similarity (whitened comparators, for Sigma_K = I).
    Harvey, Lipshutz & Williams (2023), Duality of Bures and shape distances with implications
    for comparing neural representations, arXiv:2311.11436.

    Examples
    --------
    >>> import reptools as rt
    >>> a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]  # 4 stimuli, condensed
    >>> b = [1.0, 2.0, 3.0, 4.0, 6.0, 5.0]
    >>> round(float(rt.compare_rdms(a, b)), 4)
    0.9429
    >>> round(float(rt.compare_rdms(a, b, method="kendall_tau_a")), 4)
    0.8667
    """
    return Wiring(similarity, each=partial(prepared_rdm, method=method), many=similarities)
