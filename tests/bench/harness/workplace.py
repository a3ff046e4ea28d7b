"""What has to be there before a run: tools, peers, a certificate, request bodies, a folder."""
import os
import shutil
import subprocess

import make_bodies
from harness.process import BenchError

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
SOURCE = os.path.dirname(os.path.dirname(HERE))
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "openssl": "openssl"}
SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def command_path(name):
    return shutil.which(name, path=SBIN)


def install_missing(names):
    missing = [PACKAGES[n] for n in names if not command_path(n)]
    if not missing:
        return
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"] + missing
    if os.geteuid() != 0:
        raise BenchError("not installed: %s; run as root: %s" %
                         (", ".join(missing), " ".join(install)))
    print("installing %s" % ", ".join(missing), flush=True)
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for command in (["apt-get", "update", "-qq"], install):
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)


def version_of(name):
    path = command_path(name)
    if not path:
        return "not installed"
    r = subprocess.run([path, "-v"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return r.stdout.strip().split("\n")[0]


class Workplace:
    def __init__(self, build, daemon=None):
        self.build = os.path.abspath(build)
        self.folder = os.path.join(self.build, "bench-work")
        self.certificate = os.path.join(self.folder, "cert.pem")
        self.private_key = os.path.join(self.folder, "key.pem")
        self.both = os.path.join(self.folder, "both.pem")
        os.makedirs(self.folder, exist_ok=True)
        self._daemon = daemon

    def build_tools(self):
        """The tools have to build; the daemon too, where the tree has it."""
        if not os.path.exists(os.path.join(self.build, "CMakeCache.txt")):
            self._run(["cmake", "-S", SOURCE, "-B", self.build,
                       "-DCMAKE_BUILD_TYPE=RelWithDebInfo"])
        self._run(["cmake", "--build", self.build, "--target", "bench"])
        if not self._daemon and subprocess.run(
                ["cmake", "--build", self.build, "--target", "tollgated"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            print("tollgated did not build in %s" % self.build, flush=True)

    def _run(self, command):
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
            raise BenchError("did not work: %s" % " ".join(command))

    def tool(self, name):
        return self._find(name) or self._missing(name)

    def daemon(self):
        """The path of our daemon, or None when there is none."""
        return os.path.abspath(self._daemon) if self._daemon else self._find("tollgated")

    def _find(self, name):
        for folder, below, files in os.walk(self.build):
            below[:] = [b for b in below if b != "CMakeFiles"]
            path = os.path.join(folder, name)
            if name in files and os.access(path, os.X_OK):
                return path
        return None

    def _missing(self, name):
        raise BenchError("%s is not in %s" % (name, self.build))

    def prepare(self):
        if not os.path.exists(self.both):
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                 "-nodes", "-days", "30", "-subj", "/CN=localhost", "-addext",
                 "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", self.private_key, "-out",
                 self.certificate], check=True, stderr=subprocess.DEVNULL)
            with open(self.certificate) as c, open(self.private_key) as k:
                self.write("both.pem", c.read() + k.read(), secret=True)
        make_bodies.write_bodies(self.folder)

    def body(self, size):
        return os.path.join(self.folder, "body_%s.json" % size)

    def write(self, name, text, secret=False):
        path = os.path.join(self.folder, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if secret else 0o644),
                  "w") as f:
            f.write(text)
        return path

    def file_system(self):
        """Type of the file system under the folder: our ledger's durability is part of the cost."""
        best = ("", "unknown")
        with open("/proc/self/mounts") as f:
            for line in f:
                _, point, kind = line.split()[:3]
                inside = (self.folder + "/").startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best[0]):
                    best = (point, kind)
        return best[1]
