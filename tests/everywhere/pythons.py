"""The whole suite with each Python, on the newest versions and on the lowest of their ranges."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import dev
from tests.everywhere.checks import Check, NotHereError, Place, last_line

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LANGUAGE = "Programming Language :: Python :: 3."


def versions() -> list[str]:
    """The Pythons that the project says it runs on, such as ``3.12``."""
    said = [text for text in PROJECT["classifiers"] if text.startswith(LANGUAGE)]
    return [f"3.{text.removeprefix(LANGUAGE)}" for text in said]


def oldest() -> str:
    """The first Python that the project runs on."""
    return _lower(SpecifierSet(PROJECT["requires-python"]))


def _lower(specifiers: SpecifierSet) -> str:
    (version,) = (s.version for s in specifiers if s.operator == ">=")
    return version


def requirements(extras: Iterable[str]) -> list[Requirement]:
    """What extras ask for."""
    texts = [text for extra in extras for text in EXTRAS[extra]]
    return [r for r in map(Requirement, texts) if r.name != PROJECT["name"]]


def lowest() -> list[str]:
    """A constraint for each requirement that pins it to the lower end of its range."""
    needed = [*map(Requirement, PROJECT["dependencies"]), *requirements(EXTRAS)]
    return sorted({f"{r.name}=={_lower(r.specifier)}" for r in needed})


@dataclass(frozen=True)
class Suite:
    """The suite in one environment.

    Attributes
    ----------
    version : str
        Of Python.
    pinned : sequence of str
        Constraints of what is installed; nothing means the newest.
    pythons : sequence of Path
        Where to look besides ``pythonX.Y`` on PATH.
    without : set of str
        Extras that are left out; what misses their packages is reported as skipped.
    """

    version: str
    pinned: Sequence[str]
    pythons: Sequence[Path]
    without: frozenset[str]

    @property
    def name(self) -> str:
        """What ``--only`` takes."""
        return f"python-{self.version}{'-lowest' if self.pinned else ''}"

    def run(self, place: Place) -> str:
        """Install and test."""
        python = self._installed(place)
        missing = " ".join(sorted(r.name for r in requirements(self.without)))
        # the clone is installed
        env = {"PYTHONPATH": "", "REPTOOLS_WITHOUT": missing, **dev.ONE_THREAD}
        place.run([python, "-OO", "-c", "import reptools"], env=env)
        suite = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *dev.processes()]
        place.run([*suite, "-p", "tests.everywhere.without"] if missing else suite, env=env)
        return f"without {missing}: {last_line(place.log)}" if missing else last_line(place.log)

    def _installed(self, place: Place) -> Path:
        """Python of an up-to-date environment."""
        folder = place.cache / self.name
        python = dev.executable(folder)
        if not python.exists():
            place.run([interpreter(self.version, self.pythons), "-m", "venv", "--clear", folder])
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if self.pinned:
            constraints = folder / "lowest.txt"
            constraints.write_text("\n".join(self.pinned) + "\n")
            install += ["-c", constraints]
        else:
            install += ["--upgrade", "--upgrade-strategy", "eager"]
        chosen = ",".join(e for e in EXTRAS if e != "all" and e not in self.without)
        place.run([*install, "-e", f"{place.clone}[{chosen}]"])
        return python


def checks(pythons: Sequence[Path], without: frozenset[str]) -> list[Check]:
    """The suite with every Python, and with the first one on the lowest versions."""
    suites = [Suite(oldest(), lowest(), pythons, without)]
    suites += [Suite(version, (), pythons, without) for version in versions()]
    return [
        Check(
            suite.name,
            f"the whole suite, {'lowest' if suite.pinned else 'newest'} versions; python -OO",
            suite.run,
        )
        for suite in suites
    ]


def interpreter(version: str, pythons: Sequence[Path]) -> Path:
    """A Python of that version which runs: one of those named, or ``pythonX.Y`` on PATH.

    Raises
    ------
    NotHereError
        There is none.
    """
    on_path = shutil.which(f"python{version}")
    for path in [*pythons, *([Path(on_path)] if on_path else [])]:
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        asked = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if asked.stdout.strip() == version:  # a name on PATH may stand for none or another one
            return path
    raise NotHereError(f"no Python {version} on PATH that runs; name one by --python PATH")
