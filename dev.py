#!/usr/bin/env python3
"""The project's commands: ``python dev.py demo``, ``python dev.py test``, and some more.

Each command first makes or updates a virtual environment of its own (``.venv``, or the folder
named by ``--venv`` or ``REPTOOLS_VENV``) and then runs inside it. Only the standard library is
used here, so a fresh checkout needs nothing but Python 3.11 or newer with pip.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
STAMP = "reptools.stamp"  # in the environment: what it was installed from

PROCESSES = 4  # of the tests: each loads torch, xarray and the rest, so more of them gain little
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # for processes that share cores: threads wait for others

# What `import reptools` must leave alone: slow to load, or an optional extra.
HEAVY = (
    "torch",
    "sklearn",
    "scipy.optimize",
    "scipy.stats",
    "typer",
    "rich",
    "matplotlib",
    "jinja2",
    "dask",
)

# Run by the bare environment that holds the wheel and no extra.
PROBE = """
import importlib.util, sys, time
start = time.perf_counter()
import xarray
middle = time.perf_counter()
import reptools
end = time.perf_counter()
heavy = [name for name in {heavy} if name in sys.modules]
torch = importlib.util.find_spec("torch")
print(f"import reptools {{reptools.__version__}} from the wheel: {{end - start:.2f}} s, "
      f"{{middle - start:.2f}} s of it xarray; loaded early: {{heavy or 'nothing heavy'}}")
sys.exit("torch must not be here" if torch else "too much is imported" if heavy else 0)
"""


def say(message: str) -> None:
    """Print one line of our own among the output of the tools."""
    print(f"dev.py: {message}", flush=True)


def run(command: Sequence[str | Path], cwd: Path = ROOT, **more: str) -> int:
    """Run a command with its output streamed and ``more`` variables, and return its exit code."""
    words = [str(part) for part in command]
    return subprocess.run(words, cwd=cwd, env=os.environ | more, check=False).returncode


# ---------------------------------------------------------------------- the environment


def executable(folder: Path, name: str = "python") -> Path:
    """Path of a program of a virtual environment."""
    return folder / "Scripts" / f"{name}.exe" if os.name == "nt" else folder / "bin" / name


def fingerprint(folder: Path) -> str:
    """Digest of what an environment is made from: Python, checkout, lists of requirements."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in (folder / "pyvenv.cfg", ROOT / "pyproject.toml", ROOT / "constraints.txt"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def create(folder: Path) -> None:
    """Make an empty virtual environment, or leave nothing behind."""
    try:
        venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, subprocess.CalledProcessError):
            raise SystemExit(
                "dev.py: this Python cannot make a virtual environment with pip. "
                "On Debian and Ubuntu: apt install python3-venv."
            ) from None
        raise


def environment(folder: Path) -> Path:
    """Python of an up-to-date environment, which is made or updated first where need be."""
    python, stamp = executable(folder), folder / STAMP
    if not python.exists():
        if folder.exists():
            raise SystemExit(f"dev.py: {folder} holds no working Python. Delete it and try again.")
        say(f"making the virtual environment {folder}")
        create(folder)
    wanted = fingerprint(folder)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    say("installing reptools with all its extras; the first time takes some minutes")
    install = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    if stamp.exists():  # an update: pip would list all that is there already
        install.append("--quiet")
        stamp.unlink()
    if code := run([*install, "-c", "constraints.txt", "-e", ".[all,dev]"]):
        say("the installation failed, see above")
        raise SystemExit(code)
    stamp.write_text(wanted)
    return python


# ---------------------------------------------------------------------- the commands


def demo(python: Path, args: Sequence[str] = ()) -> int:
    """Run the main job; takes options of `reproduce`: --fast, --out, --seeds, --jobs."""
    out = "results/demo-fast" if "--fast" in args else "results/demo"
    main_job = ["complexity", "--seeds", "5", "--out", out]
    return reproduce(python, [*main_job, *args])  # of an option given twice the last one counts


def reproduce(python: Path, args: Sequence[str] = ()) -> int:
    """Train and measure all claims, or those named; takes the options of python -m reproduction."""
    return run([python, "-m", "reproduction", *args])


def test(python: Path, args: Sequence[str] = ()) -> int:
    """Run the tests, a process for each core; takes the options of pytest (-n 0: one process)."""
    return run([python, "-m", "pytest", *processes(), *args], **ONE_THREAD)


def processes() -> list[str]:
    """Options of pytest that keep every core busy."""
    return ["-n", str(min(os.cpu_count() or 1, PROCESSES)), "--dist", "worksteal"]


def lint(python: Path, args: Sequence[str] = ()) -> int:
    """Check style and formatting; takes the options of ruff check, such as --fix."""
    ruff = [python, "-m", "ruff"]
    return run([*ruff, "check", *args, "."]) or run([*ruff, "format", "--check", "."])


def types(python: Path, args: Sequence[str] = ()) -> int:
    """Check types by mypy, all that is ours, and pyright, reptools; takes the options of mypy."""
    pyright = [python, "-m", "pyright", "--pythonpath", python]
    return run([python, "-m", "mypy", *args]) or run(pyright)


def wheel(python: Path, args: Sequence[str] = ()) -> int:
    """Build the wheel, check what is in it, and use it in an environment without extras."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        built = build_wheel(python, folder)
        if foreign := foreign_files(built):
            say(f"{built.name} installs more than reptools: {', '.join(foreign)}")
            return 1
        bare = folder / "bare"
        create(bare)
        pip = [executable(bare), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        probe = [executable(bare), "-c", PROBE.format(heavy=HEAVY)]
        return (
            run([*pip, "-c", ROOT / "constraints.txt", built])
            or run(probe, cwd=folder)
            or run(probe, cwd=folder)  # once more, with the files in the cache
            or run([executable(bare, "reptools"), "metrics"], cwd=folder)
        )


def docs(python: Path, args: Sequence[str] = ()) -> int:
    """Build the pages into build/docs, with their code run; takes the options of sphinx-build."""
    pages = ROOT / "build" / "docs"
    shutil.rmtree(pages, ignore_errors=True)
    with tempfile.TemporaryDirectory() as trees:  # kept ones would not show what a change broke
        options = ["--fail-on-warning", "--keep-going", "--quiet", "-d", trees]
        if code := run([python, "-m", "sphinx", *options, *args, ROOT / "docs", pages]):
            return code
    if foreign := foreign_loads(pages):
        say(f"pages load from elsewhere: {', '.join(foreign)}")
        return 1
    say(f"the pages start at {pages / 'index.html'}")
    return 0


def check(python: Path, args: Sequence[str] = ()) -> int:
    """Lint, types, wheel and docs, all of them even if one fails."""
    codes = {step.__name__: step(python) for step in (lint, types, wheel, docs)}
    failed = [name for name, code in codes.items() if code]
    say(f"failed: {', '.join(failed)}" if failed else f"{', '.join(codes)} are fine")
    return 1 if failed else 0


def everywhere(python: Path, args: Sequence[str] = ()) -> int:
    """Run the tests on other kernels, Pythons, versions and environments; --help tells more."""
    return run([python, "-m", "tests.everywhere", *args])


def build_wheel(python: str | Path, folder: Path) -> Path:
    """Build the wheel of the checkout into ``folder``.

    A copy is built, for setuptools would leave a ``build/`` here whose stale modules end up in
    the next wheel.
    """

    def skip(parent: str, names: list[str]) -> list[str]:
        return [
            name
            for name in names
            if name in {".git", "build", "dist", "runs", "results", "results-fast", "__pycache__"}
            or name.endswith((".egg-info", "_cache", ".h5", ".partial"))
            or (Path(parent) / name / "pyvenv.cfg").exists()
        ]

    copy = folder / "checkout"
    shutil.copytree(ROOT, copy, ignore=skip)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    if run([python, "-m", "pip", "wheel", *options, "-w", folder, copy]):
        raise SystemExit("dev.py: the wheel could not be built, see above")
    return next(folder.glob("reptools-*.whl"))


def foreign_files(built: Path) -> list[str]:
    """Files of a wheel outside the package and its metadata."""
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
    ours = ("reptools/", "-".join(built.name.split("-")[:2]) + ".dist-info/")
    return [name for name in names if not name.startswith(ours)]


LOADED = re.compile(  # what a browser fetches by itself; links that are clicked are no matter
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b[^>]*\bhref=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|(?:@import\s*["']|url\(\s*["']?)((?:https?:)?//[^"')\s]+)"""
)


def foreign_loads(folder: Path) -> list[str]:
    """Addresses from which the pages of a folder load something, each with the first page."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".html", ".css"}:
            for match in LOADED.finditer(path.read_text(encoding="utf-8")):
                address = next(filter(None, match.groups()))
                found.setdefault(address, path.relative_to(folder).as_posix())
    return [f"{address} ({page})" for address, page in found.items()]


STEPS = (demo, reproduce, test, lint, types, wheel, docs, check, everywhere)
COMMANDS: dict[str, Callable[..., int]] = {step.__name__: step for step in STEPS}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, bring the environment up to date, run the command."""
    if sys.version_info < (3, 11):  # noqa: UP036 - said here before pip says it at length
        raise SystemExit(f"dev.py: Python 3.11 or newer is needed, not {sys.version.split()[0]}")
    parser = argparse.ArgumentParser(
        prog="dev.py",
        description="Commands of the reptools checkout. Each makes its own environment first.",
        epilog="\n".join(f"  {name:<12}{step.__doc__}" for name, step in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--venv",
        type=Path,
        default=os.environ.get("REPTOOLS_VENV", ROOT / ".venv"),
        help="folder of the virtual environment (default: REPTOOLS_VENV, else .venv)",
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("args", nargs=argparse.REMAINDER, help="passed on to the command")
    options = parser.parse_args(argv)
    python = environment(Path(options.venv).absolute())
    return COMMANDS[options.command](python, options.args)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
