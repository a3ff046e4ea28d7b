"""Debian packages of any suite, unpacked into the cache; the machine's own apt is only asked.

The mirror is the one this machine already uses. Lists, sources and the (empty) set of installed
packages are private, one set a suite, so that no suite's packages mix with another's.
"""

import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
INSTALL = re.compile(r"^Inst (\S+) \((\S+) ", re.M)


class NoMirror(RuntimeError):
    """This machine is not a Debian."""


class Gone(RuntimeError):
    """The suite has another version now."""

    def __init__(self, package, version, suite, offered):
        super().__init__(f"{package} {version} is no longer in {suite}, which has {offered}")
        self.offered = offered


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "tollgate" / "vm"


def _run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def mirror():
    """The URI of the Debian archive among this machine's own sources."""
    for uri in _run("apt-get", "indextargets", "--format", "$(REPO_URI)").split():
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise NoMirror("find a Debian mirror: this machine's apt sources name none")


class Suite:
    """A suite of the archive, with a private apt that knows nothing else."""

    def __init__(self, name):
        self.name = name
        self.root = cache() / "apt" / name
        self.env = {**os.environ, "APT_CONFIG": str(self.root / "apt.conf")}
        self.fresh = False

    def _refresh(self):
        if self.fresh:
            return
        for folder in ("lists/partial", "archives/partial", "empty"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        (self.root / "sources.list").write_text(
            f"deb [signed-by={KEYRING}] {mirror()} {self.name} main\n")
        (self.root / "apt.conf").write_text(f"""\
Dir::Etc::SourceList "{self.root}/sources.list";
Dir::Etc::SourceParts "{self.root}/empty";
Dir::Etc::Preferences "{self.root}/none";
Dir::Etc::PreferencesParts "{self.root}/empty";
Dir::State "{self.root}";
Dir::State::Status "{self.root}/status";
Dir::Cache "{self.root}";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
""")
        _run("apt-get", "update", "-q", env=self.env)
        self.fresh = True

    def offered(self, package):
        self._refresh()
        policy = _run("apt-cache", "policy", package, env=self.env)
        return re.search(r"Candidate: (\S+)", policy).group(1)

    def unpack(self, name, packages, wanted=lambda package: True):
        """The folder cache()/name with these packages and what they depend on, as `wanted` says."""
        target = cache() / name
        cache().mkdir(parents=True, exist_ok=True)
        with open(cache() / "lock", "w") as lock:  # other worktrees fetch here too
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                self._download(target, packages, wanted)
        return target

    def _download(self, target, packages, wanted):
        self._refresh()
        for package in packages:
            title, _, version = package.partition("=")
            if version and version not in _run("apt-cache", "madison", title,
                                               env=self.env).split():
                raise Gone(title, version, self.name, self.offered(title))
        plan = _run("apt-get", "-s", "install", *packages, env=self.env)
        exact = [f"{title}={version}" for title, version in INSTALL.findall(plan) if wanted(title)]
        work = pathlib.Path(tempfile.mkdtemp(prefix="unpack-", dir=cache()))
        try:
            (work / "debs").mkdir()
            _run("apt-get", "download", *exact, env=self.env, cwd=work / "debs")
            for deb in sorted((work / "debs").iterdir()):
                _run("dpkg", "-x", str(deb), str(work / "tree"))
            (work / "tree").rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
