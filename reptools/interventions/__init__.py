"""What an answer hangs on: change activations, and see what a network's linear head then says.

Everything is computed from saved activations and the saved head, which is exact only at the layer
that feeds it; :class:`Readout` checks that against the saved answers and refuses others.

=============  ====================================================================
readout        the saved head of a network, checked
steer          the dose of a feature's direction at which answers flip
truncate       answers from the leading principal components only
remove         activations without a feature (LEACE, or a projection)
effect         what any change of the activations does to the answers
downstream     which of two features a new classifier goes by where they disagree
transfer       read-outs tested on a combination of features that they never saw
=============  ====================================================================
"""

from __future__ import annotations

from reptools.interventions.downstream import downstream
from reptools.interventions.effect import effect
from reptools.interventions.readout import readout
from reptools.interventions.remove import remove
from reptools.interventions.shared.heads import Readout
from reptools.interventions.steer import steer
from reptools.interventions.transfer import transfer
from reptools.interventions.truncate import truncate

__all__ = [
    "Readout",
    "downstream",
    "effect",
    "readout",
    "remove",
    "steer",
    "transfer",
    "truncate",
]
