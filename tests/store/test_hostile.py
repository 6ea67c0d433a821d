"""Files made to harm are refused by name, before anything of them is decoded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from reptools.errors import StoreError
from reptools.store import Writer, open, validate


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A sound file, to be harmed."""
    path = tmp_path / "run.h5"
    with Writer(path, system="x", stimulus=range(8), features={"f": np.arange(8) % 2}) as writer:
        writer.append({"fc": np.ones((8, 3))})
    return path


def external_link(file: h5py.File) -> None:
    file["layers/stolen"] = h5py.ExternalLink("other.h5", "/layers/fc")


def absolute_external_link(file: h5py.File) -> None:
    file["layers/stolen"] = h5py.ExternalLink("/etc/other.h5", "/")


def soft_link_loop(file: h5py.File) -> None:
    file["layers/loop"] = h5py.SoftLink("/layers/loop")


def group_cycle(file: h5py.File) -> None:
    file["layers/fc/up"] = file["layers"]


def external_storage(file: h5py.File) -> None:
    Path(file.filename).with_name("secret").write_bytes(b"\0" * 96)
    file.create_dataset("layers/raw", (8, 3), "<f4", external=[("secret", 0, 96)])


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((8, 3), "<f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (8, 3))
    file.create_virtual_dataset("layers/virtual", layout)


def deep_nesting(file: h5py.File) -> None:
    file.create_group("/".join(["layers", *"abcdefghijk"]))


def many_groups(file: h5py.File) -> None:
    for i in range(20_001):
        file.create_group(f"layers/g{i}")


def declared_not_stored(file: h5py.File) -> None:
    file.create_dataset("layers/fc/huge", (10**15,), "<f4", chunks=(1024,))


def huge_coordinate(file: h5py.File) -> None:
    file.create_dataset("names", (10**9,), h5py.string_dtype(), chunks=(1024,))


def huge_item(file: h5py.File) -> None:
    file.create_dataset("names", (8,), "S200000000", chunks=(1,))


def huge_chunk(file: h5py.File) -> None:
    file.create_dataset("bomb", (32 * 2**20,), "<f4", chunks=(32 * 2**20,), compression="gzip")


def unknown_filter(file: h5py.File) -> None:
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_chunk((8,))
    create.set_filter(32123, h5py.h5z.FLAG_OPTIONAL, (1,))
    h5py.h5d.create(file.id, b"odd", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((8,)), create)


def compound(file: h5py.File) -> None:
    file["pairs"] = np.zeros(8, dtype=[("a", "f4"), ("b", "i4")])


def opaque(file: h5py.File) -> None:
    file["blob"] = np.zeros(8, dtype="V7")


def null_dataspace(file: h5py.File) -> None:
    file["nothing"] = h5py.Empty("f4")


def dangling_scale(file: h5py.File) -> None:
    """An axis that refers to a group instead of a scale."""
    file["odd"] = np.zeros(8)
    kind = h5py.h5t.vlen_create(h5py.h5t.STD_REF_OBJ)
    space = h5py.h5s.create_simple((1,))
    attribute = h5py.h5a.create(file["odd"].id, b"DIMENSION_LIST", kind, space)
    # HDF5's own form of a list of references: its length, and where the addresses stand
    address = np.array([h5py.h5o.get_info(file["layers"].id).addr], dtype="u8")
    target = np.array([(1, address.ctypes.data)], dtype=[("len", "u8"), ("p", "u8")])
    attribute.write(target, mtype=kind)
    assert file[file["odd"].attrs["DIMENSION_LIST"][0][0]].name == "/layers"


def scale_of_another_group(file: h5py.File) -> None:
    file["features/odd"] = np.zeros(3)
    file["features/odd"].dims[0].attach_scale(file["layers/fc/unit"])


def no_scale(file: h5py.File) -> None:
    file["odd"] = np.zeros(8)


def many_axes(file: h5py.File) -> None:
    file["odd"] = np.zeros((1,) * 7)


def named_type(file: h5py.File) -> None:
    file["odd"] = np.dtype("f8")


def long_text(file: h5py.File) -> None:
    file["odd"] = ["x" * 5000]


def aliased_text(file: h5py.File) -> None:
    """Thousands of entries that all name the same text of 4,000 bytes."""
    text = file.create_dataset("odd", (9000,), h5py.string_dtype(), chunks=(9000,))
    text[0] = "x" * 4000
    file.flush()
    offset = text.id.get_chunk_info(0).byte_offset
    with Path(file.filename).open("r+b") as raw:
        raw.seek(offset)
        one = raw.read(16)
        raw.seek(offset)
        raw.write(one * 9000)


def not_utf8(file: h5py.File) -> None:
    file.id.links.create_hard(b"layers/\xff", file.id, b"features")
    del file["features"]


def boundless_record(file: h5py.File) -> None:
    file["committed"][0] = 2**40


def negative_record(file: h5py.File) -> None:
    file["committed"][0] = -1


def no_schema(file: h5py.File) -> None:
    del file.attrs["schema"]


def later_schema(file: h5py.File) -> None:
    file.attrs["schema"] = 2


HARMS: list[tuple[Callable[[h5py.File], None], str]] = [
    (external_link, "layers/stolen"),
    (absolute_external_link, "layers/stolen"),
    (soft_link_loop, "layers/loop"),
    (group_cycle, "layers"),
    (external_storage, "layers/raw"),
    (virtual_dataset, "layers/virtual"),
    (deep_nesting, "layers/a/b"),
    (many_groups, "20000|20,000|objects"),
    (declared_not_stored, "layers/fc/huge"),
    (huge_coordinate, "names"),
    (huge_item, "names"),
    (huge_chunk, "bomb"),
    (unknown_filter, "odd"),
    (compound, "pairs"),
    (opaque, "blob"),
    (null_dataspace, "nothing"),
    (dangling_scale, "/odd has"),
    (scale_of_another_group, "/features/odd has no valid dimension scale"),
    (no_scale, "/odd has no dimension scales"),
    (many_axes, "/odd has 7 axes"),
    (named_type, "/odd is a named datatype"),
    (long_text, "/odd has text of 5000 bytes"),
    (aliased_text, "/odd and others claim more than"),
    (not_utf8, "name that is not UTF-8"),
    (boundless_record, "counts 1099511627776 along 'stimulus'"),
    (negative_record, "counts -1 along 'stimulus'"),
]


@pytest.mark.parametrize(("harm", "where"), [pytest.param(*h, id=h[0].__name__) for h in HARMS])
def test_a_harmful_file_is_refused_by_path(
    run: Path, harm: Callable[[h5py.File], None], where: str
) -> None:
    with h5py.File(run, "r+") as file:
        harm(file)
    with pytest.raises(StoreError, match=where):
        open(run)
    (deviation,) = validate(run)
    assert str(run) in deviation or where.split("|")[0] in deviation


@pytest.mark.parametrize(("harm", "fact"), [(no_schema, "'schema'"), (later_schema, "is 2")])
def test_a_foreign_file_is_refused(run: Path, harm: Callable[[h5py.File], None], fact: str) -> None:
    with h5py.File(run, "r+") as file:
        harm(file)
    with pytest.raises(StoreError, match=f"open: .*run.h5: .*{fact}"):
        open(run)
    assert fact in validate(run)[0] or "schema is 2" in validate(run)[0]


def test_attributes_that_cannot_be_decoded_do_no_harm(run: Path) -> None:
    with h5py.File(run, "r+") as file:
        file["layers/fc/activation"].attrs["scale_factor"] = "three"
        file["layers/fc/activation"].attrs["units"] = "days since 0000-99-99"
        file["layers/fc/activation"].attrs["calendar"] = np.zeros((3, 3))
    with open(run) as tree:
        assert tree["layers/fc"].activation.values.tolist() == np.ones((8, 3)).tolist()


@pytest.mark.parametrize("content", [b"", b"not hdf5 at all", None], ids=["empty", "text", "cut"])
def test_what_is_no_hdf5_file_is_refused(run: Path, content: bytes | None) -> None:
    run.write_bytes(run.read_bytes()[:3000] if content is None else content)
    with pytest.raises(StoreError, match=r"run\.h5"):
        open(run)
    assert len(validate(run)) == 1


def test_a_sound_file_passes_the_walk(run: Path) -> None:
    assert validate(run, deep=True) == []
    with open(run) as tree:
        assert tree["layers/fc"].activation.shape == (8, 3)
