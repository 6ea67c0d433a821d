"""The environments of the peers, each made when it is first needed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .rows import OURS

LIST = Path(__file__).with_name("peers.txt")
DEFAULT = LIST.parent.parent / ".venv-peers"
VARIABLE = "REPTOOLS_PEERS"


@dataclass(frozen=True)
class Environments:
    """Virtual environments below one folder, one per section of ``peers.txt``."""

    folder: Path
    sections: dict[str, list[str]]
    ready: dict[str, dict[str, str]] = field(default_factory=dict)

    def python(self, name: str) -> Path:
        """Interpreter of an environment, which is made or renewed first where need be."""
        if name == OURS:
            return Path(sys.executable)
        if name not in self.ready:
            self.ready[name] = _install(self.folder / name, self.sections[name])
        return _python(self.folder / name)

    def missing(self, name: str, package: str) -> str:
        """Why a package could not be installed, or nothing."""
        return "" if name == OURS else self.ready[name].get(package, "")


def environments(folder: str | os.PathLike[str] | None = None) -> Environments:
    """Those of ``peers.txt``, in ``folder``, $REPTOOLS_PEERS, or .venv-peers of the checkout."""
    return Environments(Path(folder or os.environ.get(VARIABLE) or DEFAULT), dict(_sections()))


def _sections() -> Iterator[tuple[str, list[str]]]:
    name, packages = "", list[str]()
    for line in (*LIST.read_text().splitlines(), "[]"):
        line = line.partition("#")[0].strip()
        if line.startswith("["):
            if name:
                yield name, packages
            name, packages = line.strip("[]"), []
        elif line:
            packages.append(line)


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _install(folder: Path, packages: list[str]) -> dict[str, str]:
    """Bring the environment up to date; package names and reasons of what pip refused."""
    stamp = folder / "peers.json"
    wanted = hashlib.sha256("\n".join([sys.version, *packages]).encode()).hexdigest()
    if stamp.exists():
        known = json.loads(stamp.read_text())
        if known["wanted"] == wanted:
            return dict(known["missing"])
    print(f"installing {', '.join(packages)} into {folder}", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True, clear=True, symlinks=os.name != "nt")
    bare = [name.removesuffix("--no-deps").strip() for name in packages if "--no-deps" in name]
    full = [name for name in packages if "--no-deps" not in name]
    missing = {}
    if _pip(folder, *full):  # one of them: the others are still wanted
        missing = {name: _pip(folder, name) for name in full}
    missing |= {name: _pip(folder, name, "--no-deps") for name in bare}
    missing = {name.partition("=")[0]: reason for name, reason in missing.items() if reason}
    stamp.write_text(json.dumps({"wanted": wanted, "missing": missing}))
    return missing


def _pip(folder: Path, *arguments: str) -> str:
    """What pip said last when it failed, or nothing."""
    command = [
        str(_python(folder)),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return ((said or ["pip failed"])[-1]).removeprefix("ERROR: ") if done.returncode else ""
