"""Which names a layer, feature or coordinate may have in a file."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from .. import schema
from ..errors import ParameterError

MAX_BYTES = 255  # netCDF-C refuses longer names


def check_name(name: object, what: str) -> str:
    """Return ``name`` if every reader of HDF5 and netCDF can hold it, else say what is wrong."""
    if not isinstance(name, str):
        raise ParameterError(f"{what} name {name!r} is not a string. Name it by a string.")
    fault = _fault(name)
    if fault:
        raise ParameterError(f"{what} name {name!r} {fault}. Choose another name.")
    return name


def _fault(name: str) -> str | None:
    if not name:
        return "is empty"
    if name in {".", ".."}:
        return "means a folder, not an object"
    if "/" in name:
        return "contains '/'"
    if name != name.strip():
        return "starts or ends with white space"
    if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in name):
        return "contains a control character"
    size = len(name.encode("utf-8"))
    if size > MAX_BYTES:
        return f"takes {size} bytes, and netCDF holds {MAX_BYTES}"
    return None


def group_names(layers: Iterable[str]) -> dict[str, str]:
    """Map each layer's own name to its group: "/" becomes ".", and a clash is an error."""
    groups: dict[str, str] = {}
    owner: dict[str, str] = {}
    for layer in layers:
        if not isinstance(layer, str):
            raise ParameterError(f"layer name {layer!r} is not a string. Name it by a string.")
        group = check_name(layer.replace("/", "."), "layer")
        if group in owner:
            raise ParameterError(
                f"layers {owner[group]!r} and {layer!r} would both be stored as {group!r}. "
                "Rename one of them."
            )
        owner[group] = layer
        groups[layer] = group
    return groups


def check_coordinate(name: object, what: str) -> str:
    """Refuse a coordinate or feature that would hide a word of the schema."""
    reserved = {schema.STIMULUS, schema.STEP, *schema.RECORD_NAMES}
    reserved |= {schema.LAYERS, schema.FEATURES, schema.OUTPUTS}
    checked = check_name(name, what)
    if checked in reserved:
        raise ParameterError(
            f"{what} name {checked!r} is a word of the file's own. Choose another name."
        )
    return checked
