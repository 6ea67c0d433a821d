"""Stimuli of the experiments. This folder is reptools' own and not the package ``datasets``.

Hugging Face's library has the same name. Python started in this checkout finds this folder
first, so a request for one of that library's names is answered here with the reason.
"""

from __future__ import annotations

_HUGGING_FACE = frozenset(
    {
        "Array2D", "Audio", "ClassLabel", "Dataset", "DatasetBuilder", "DatasetDict",
        "DatasetInfo", "DownloadConfig", "DownloadManager", "Features", "GeneratorBasedBuilder",
        "Image", "IterableDataset", "IterableDatasetDict", "NamedSplit", "Sequence", "Split",
        "Value", "Version", "Video", "concatenate_datasets", "disable_caching",
        "disable_progress_bars", "enable_caching", "enable_progress_bars",
        "get_dataset_config_names", "get_dataset_split_names", "interleave_datasets",
        "is_caching_enabled", "load_dataset", "load_dataset_builder", "load_from_disk",
    }
)  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _HUGGING_FACE:
        raise ImportError(
            f"datasets.{name} belongs to Hugging Face's package 'datasets', but Python found "
            f"reptools' own folder of that name first: {__path__[0]}. Start Python outside the "
            "reptools checkout to import Hugging Face's package.",
            name=__name__,
            path=__file__,
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
