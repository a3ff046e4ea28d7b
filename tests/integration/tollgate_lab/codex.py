"""The real client, pinned by ../codex/package-lock.json, installed into a cache outside the tree."""

import hashlib
import os
import pathlib
import shutil
import subprocess

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "codex"


def cache_folder():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    lock = hashlib.sha256((PACKAGE / "package-lock.json").read_bytes()).hexdigest()[:16]
    return cache / "tollgate" / f"codex-{lock}"


def codex_folder():
    """Where the pinned client is installed, or None; TOLLGATE_CODEX names another folder."""
    given = os.environ.get("TOLLGATE_CODEX")
    folder = pathlib.Path(given) if given else cache_folder()
    return folder if (folder / "node_modules/.bin/codex").exists() else None


def install():
    """npm ci of the lock file; nothing to do when it has been done. Returns the folder."""
    folder = cache_folder()
    if codex_folder() is not None:
        return codex_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_suffix(f".{os.getpid()}")
    staging.mkdir()
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PACKAGE / name, staging / name)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=staging, check=True)
        staging.replace(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder
