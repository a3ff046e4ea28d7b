"""A whole lab as a context manager: namespaces, tunnel, mock provider, daemon, clients."""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import tempfile
import urllib.parse

from tollgate_lab import net, tunnel
from tollgate_lab.codex import COMMANDS, codex_folder, program
from tollgate_lab.config import (CONTACT, GATEWAY, GATEWAY6, USERS, codex_config, gateway_config)
from tollgate_lab.gate import Gate
from tollgate_lab.pki import Authority
from tollgate_lab.process import Service, is_executable, wait_until

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
PROVIDER_ADDRESS = "10.98.0.2"
PROVIDER_NAME = "api.provider.test"
RELAY_PORT = 4443
UNPRIVILEGED = "nobody"
UNPRIVILEGED_ID = 65534


class Unavailable(RuntimeError):
    """The lab cannot run on this machine; says what is missing."""


def default_build():
    return pathlib.Path(os.environ.get("TOLLGATE_BUILD") or REPOSITORY / "build")


def find_program(build, name):
    for folder in (build / "bin", build):
        if is_executable(folder / name):
            return folder / name
    raise RuntimeError(f"no {name} in {build}: build it, or set TOLLGATE_BUILD")


def port_of(url):
    return url.port or (443 if url.scheme == "https" else 80)


class Lab:
    """`with Lab() as lab:` runs everything; options are those of `lab --help`.

    gateway=False leaves the daemon out: clients then speak to the mock over the tunnel's address.
    """

    def __init__(self, build=None, tunnel_kind="veth", provider_url=None, provider_key=None,
                 workers=2, io="io_uring", steering="bpf", plain_http=False, limits=None,
                 gateway=True, state_size=None, provider_certificate_for=PROVIDER_NAME,
                 policies=None, groups=None, gateway_settings=None, provider_settings=None,
                 daemon=True):
        self.build = pathlib.Path(build) if build else default_build()
        self.tunnel_kind = tunnel_kind
        self.provider_url = provider_url
        self.key = provider_key or "sk-lab-" + secrets.token_hex(24)
        self.settings = {"workers": workers, "io": io, "steering": steering,
                         "plain_http": plain_http}
        self.gateway_settings = gateway_settings or {}
        self.provider_settings = provider_settings or {}
        self.limits = limits or {}
        self.rules = {"policies": policies, "groups": groups}
        self.with_gateway = gateway
        self.start_with_daemon = daemon
        self.state_size = state_size
        self.provider_certificate_for = provider_certificate_for
        self.unmetered_expected = False  # set by the test that makes the gateway forget a record
        self.token = secrets.token_hex(2)
        self.stack = contextlib.ExitStack()
        self.daemon = None
        self.mock = None

    # Life

    def __enter__(self):
        if os.geteuid() != 0:
            raise Unavailable("the lab makes network namespaces: run it as root")
        with contextlib.ExitStack() as guard:
            guard.push(self.stack)
            self._make()
            guard.pop_all()
        return self

    def __exit__(self, *_):
        try:
            self._check_metering()
        finally:
            self.stack.close()

    def _check_metering(self):
        """Whatever a suite did: each byte to the provider has its record, as the kernel counts."""
        if self.daemon is None or self.settings["steering"] != "bpf" or self.unmetered_expected:
            return
        self.daemon.stop(60)
        lines = self.daemon.log().splitlines()
        told = [line for line in lines if "unmetered traffic" in line]
        assert not told, "\n".join(told)
        last_words = [line for line in lines if " metering: " in line]
        if self.daemon.process.returncode == 0:
            assert " unmetered_flows=0 " in last_words[-1], lines[-20:]

    def _make(self):
        # Not below /tmp: the client keeps no helper binaries there and says so at each start.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tollgate-lab-", dir="/var/tmp"))
        self.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)
        if self.with_gateway:
            self.tollgate = find_program(self.build, "tollgate")
        self._make_network()
        self._make_secrets()
        self._make_clients()
        if self.provider_url:
            self._start_relay()
        else:
            self.start_mock()
        if self.with_gateway:
            self._make_folders()
            self.write_config()
            if self.start_with_daemon:
                self.start_daemon()

    def _make_network(self):
        self.gateway = f"tg{self.token}-gw"
        self.provider = f"tg{self.token}-up"
        self.clients = {name: f"tg{self.token}-{name}" for name in USERS}
        for namespace in (self.gateway, self.provider, *self.clients.values()):
            net.add_namespace(namespace)
            self.stack.callback(net.remove_namespace, namespace)
        # No forwarding anywhere: what reaches the provider came out of the daemon.
        net.add_pair(self.gateway, "up0", self.provider, "up0")
        net.add_address(self.gateway, "up0", "10.98.0.1/24")
        net.add_address(self.provider, "up0", f"{PROVIDER_ADDRESS}/24")
        if self.tunnel_kind == "wireguard":
            missing = tunnel.missing_for_wireguard()
            if missing:
                raise Unavailable(missing)
            self.tunnel_of = tunnel.make_wireguard(self, self.gateway, self.clients)
        else:
            self.tunnel_of = tunnel.make_veth(self.gateway, self.clients)

    def _make_secrets(self):
        pki = self.folder / "pki"
        pki.mkdir()
        self.client_authority = Authority(pki, "gateway")
        self.provider_authority = Authority(pki, "provider")
        names = ["DNS:ai.lab.test", f"IP:{GATEWAY}", f"IP:{GATEWAY6}"]
        self.certificate, self.private_key = self.client_authority.issue("gateway-tls", names)
        upstream = [f"DNS:{self.provider_certificate_for}"]
        if not self.with_gateway:
            upstream += names
        self.provider_certificate = (self.provider_authority if self.with_gateway else
                                     self.client_authority).issue("provider-tls", upstream)
        self.key_file = self.folder / "provider.key"
        self.key_file.touch(mode=0o640)
        self.key_file.write_text(self.key + "\n")
        for path in (self.key_file, self.private_key):
            # Like root:tollgate 0640 on a real gateway: the daemon reads it again on a reload.
            os.chown(path, 0, UNPRIVILEGED_ID)
            path.chmod(0o640)

    def _make_folders(self):
        self.state = self.folder / "state"
        self.run_dir = self.folder / "run"
        self.bpffs = self.folder / "bpf"
        for path in (self.state, self.run_dir, self.bpffs):
            path.mkdir()
        if self.state_size:
            self._mount("-t", "tmpfs", "-o", f"size={self.state_size}", "tmpfs", self.state)
        # A bpffs of the lab's own: pins of two labs never meet, and they go with the mount.
        if self.settings["steering"] == "bpf":
            self._mount("-t", "bpf", "bpf", self.bpffs)

    def _mount(self, *arguments):
        net.run("mount", *map(str, arguments))
        self.stack.callback(subprocess.run, ["umount", "-l", str(arguments[-1])],
                            capture_output=True, check=False)

    def _make_clients(self):
        codex = codex_folder()
        self.codex = None
        if codex is not None:
            # The cache is in root's home; the unprivileged clients see it here, read-only.
            self.codex = self.folder / "codex"
            self.codex.mkdir()
            self._mount("--bind", "-o", "ro", codex, self.codex)
            commands = self.folder / "bin"
            commands.mkdir()
            for version, command in COMMANDS.items():
                (commands / command).symlink_to(program(self.codex, version))
        for name in self.clients:
            home = self.home(name)
            (home / ".codex").mkdir(parents=True)
            (home / "work").mkdir()
            (home / ".codex/config.toml").write_text(codex_config(self.base_url))
            shutil.copy(self.client_authority.certificate, home / "ca.pem")
            for path in (home, *home.rglob("*")):
                os.chown(path, UNPRIVILEGED_ID, UNPRIVILEGED_ID)

    # Provider

    provider_listens = [PROVIDER_ADDRESS]

    def start_mock(self):
        self.mock_log = self.folder / "mock.jsonl"
        self.mock_control = self.folder / "mock-control.json"
        certificate, key = self.provider_certificate
        namespace, listen = self.provider, [f"{address}:443" for address in self.provider_listens]
        command = ["/usr/bin/python3", str(HERE / "mock_provider.py"), "--cert", str(certificate),
                   "--private-key", str(key), "--log", str(self.mock_log),
                   "--control", str(self.mock_control)]
        if self.with_gateway:
            command += ["--api-key-file", str(self.key_file)]
        else:
            namespace, listen = self.gateway, [f"{GATEWAY}:443", f"[{GATEWAY6}]:443"]
        for endpoint in listen:
            command += ["--listen", endpoint]
        (self.folder / "mock.log").unlink(missing_ok=True)  # its "ready" was an earlier mock's
        self.mock = Service("mock provider", net.entering(namespace, *command),
                            self.folder / "mock.log", env={"PATH": "/usr/bin:/bin"})
        self.stack.callback(self.mock.stop)
        wait_until(lambda: "ready" in self.mock.log(), "the mock provider", service=self.mock)

    def mock_seen(self, **fields):
        """The mock's log: exchanges whose fields have these values."""
        if not self.mock_log.exists():
            return []
        lines = self.mock_log.read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        return [r for r in records if all(r.get(k) == v for k, v in fields.items())]

    def mock_messages(self, **fields):
        """What came over WebSocket; the log has a line for each upgrade and each end, too."""
        return [r for r in self.mock_seen(websocket=True, **fields) if "message" in r]

    @contextlib.contextmanager
    def mock_answers(self, **scenario):
        """Requests that name no scenario get this one for the block."""
        new = self.mock_control.with_suffix(".new")
        new.write_text(json.dumps(scenario))
        new.replace(self.mock_control)
        try:
            yield
        finally:
            self.mock_control.unlink()

    def gate(self, name=None):
        return Gate(self.folder, name or secrets.token_hex(4))

    def _start_relay(self):
        url = urllib.parse.urlsplit(self.provider_url)
        relay = Service("relay", ["/usr/bin/python3", str(HERE / "relay.py"),
                                  "--namespace", self.gateway, "--listen-port", str(RELAY_PORT),
                                  "--target", f"{url.hostname}:{port_of(url)}"],
                        self.folder / "relay.log")
        self.stack.callback(relay.stop)
        wait_until(lambda: self._connects(self.gateway, "127.0.0.1", RELAY_PORT), "the relay",
                   service=relay)

    # Daemon

    @property
    def base_url(self):
        plain = self.settings["plain_http"]
        return f"http://{GATEWAY}:80/v1" if plain else f"https://{GATEWAY}/v1"

    @property
    def port(self):
        return 80 if self.settings["plain_http"] else 443

    def provider_table(self):
        table = {"name": "mock", "base_url": f"https://{PROVIDER_NAME}/v1",
                 "ca_file": str(self.provider_authority.certificate),
                 "connect_to": f"{PROVIDER_ADDRESS}:443"}
        if self.provider_url:
            table = {"name": "outside", "base_url": self.provider_url,
                     "connect_to": f"127.0.0.1:{RELAY_PORT}"}
        table.update(self.provider_settings)
        table["keys"] = [{"name": "main", "file": str(self.key_file)}]
        return table

    def write_config(self, provider=None, text=None, **rules):
        self.config = self.folder / "tollgate.toml"
        gateway = {"listen": [f"{GATEWAY}:{self.port}", f"[{GATEWAY6}]:{self.port}"],
                   "tunnels": sorted(set(self.tunnel_of.values())),
                   "certificate": str(self.certificate), "private_key": str(self.private_key),
                   "contact": CONTACT, "state_dir": str(self.state), "run_dir": str(self.run_dir),
                   "price_file": str(REPOSITORY / "deploy/prices.json"), "user": UNPRIVILEGED,
                   "bpffs": str(self.bpffs), **self.settings, **self.gateway_settings}
        self.config.write_text(text if text is not None else gateway_config(
            gateway, self.limits, {**self.provider_table(), **(provider or {})}, self.tunnel_of,
            **{**self.rules, **rules}))
        os.chown(self.config, 0, UNPRIVILEGED_ID)

    def spawn_daemon(self, program="tollgated", env=None, *options):
        kept = {name: value for name, value in os.environ.items()
                if name.endswith("SAN_OPTIONS")}
        command = [str(find_program(self.build, program)), "--config", str(self.config), *options]
        self.daemon = Service("tollgated", net.entering(self.gateway, *command),
                              self.folder / "tollgated.log",
                              env={"PATH": "/usr/bin:/bin", **kept, **(env or {})})
        self.stack.callback(self.daemon.stop)

    def start_daemon(self, program="tollgated", env=None):
        self.spawn_daemon(program, env)
        wait_until(self._ready, "tollgated", seconds=60, service=self.daemon)

    def _ready(self):
        return (self._connects(self.clients["alice"], GATEWAY, self.port)
                and self.ctl("status", "--json", check=False).returncode == 0)

    def _connects(self, namespace, host, port):
        with net.make_socket(namespace) as probe:
            probe.settimeout(2)
            try:
                probe.connect((host, port))
                return True
            except OSError:
                return False

    def upgrade_daemon(self):
        """Another daemon takes over; the one before it, which drains, is returned."""
        before = self.daemon
        self.spawn_daemon("tollgated", None, "--upgrade")
        # The admin socket is there all the time; whoever answers says who he is.
        wait_until(lambda: self.status()["pid"] == self.daemon.pid, "the upgrade", seconds=60,
                   service=self.daemon)
        return before

    def restart_daemon(self):
        self.daemon.stop(60)
        self.start_daemon()

    def change_rules(self, **rules):
        """Policies or groups that stay, also through later changes; the running daemon has them."""
        self.rules.update(rules)
        self.write_config()
        done = self.ctl("reload", check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def change_provider(self, **settings):
        """The same of the provider's settings; nothing happens when they are as they were."""
        changed = {**self.provider_settings, **settings}
        if changed != self.provider_settings:
            self.provider_settings = changed
            self.change_rules()

    def reload(self):
        """True when the daemon took the new configuration."""
        return self.ctl("reload", check=False).returncode == 0

    def ctl(self, *arguments, check=True):
        """Runs the CLI as root; the returned process has stdout and stderr as text."""
        return subprocess.run([str(self.tollgate), *arguments], capture_output=True, text=True,
                              check=check, timeout=60,
                              env={"PATH": "/usr/bin:/bin",
                                   "TOLLGATE_SOCKET": str(self.run_dir / "admin.sock")})

    def status(self):
        return json.loads(self.ctl("status", "--json").stdout)

    def counter(self, *path):
        value = self.status()["counters"]
        for name in path:
            value = value[name]
        return value

    def records(self, **fields):
        lines = self.ctl("usage", "records", "--json").stdout.splitlines()
        records = [json.loads(line) for line in lines if line.strip()]
        return [r for r in records if all(r.get(k) == v for k, v in fields.items())]

    def limits_of(self, user=None, **fields):
        """Rows of `tollgate limits` whose fields have these values."""
        words = ["limits", *([user] if user else []), "--json"]
        rows = json.loads(self.ctl(*words).stdout)["limits"]
        return [r for r in rows if all(r.get(k) == v for k, v in fields.items())]

    def the_limit(self, user=None, **fields):
        rows = self.limits_of(user, **fields)
        assert len(rows) == 1, f"{len(rows)} limits with {fields}: {rows}"
        return rows[0]

    def held(self):
        """What is held against any limit, in whatever units; 0 when nothing runs."""
        return sum(row["held"] for row in self.limits_of())

    # Clients

    def home(self, name):
        return self.folder / "clients" / name

    def client_env(self, name):
        """All that a client process has: nothing of the lab's own environment, and no key."""
        home = self.home(name)
        path = "/usr/local/bin:/usr/bin:/bin"
        if self.codex is not None:
            path = f"{self.folder}/bin:{path}"
        return {"HOME": str(home), "PATH": path, "CODEX_HOME": str(home / ".codex"),
                "CODEX_CA_CERTIFICATE": str(home / "ca.pem"), "SSL_CERT_FILE": str(home / "ca.pem"),
                "CURL_CA_BUNDLE": str(home / "ca.pem"),
                "NODE_EXTRA_CA_CERTS": str(home / "ca.pem"), "TERM": "xterm", "LANG": "C.UTF-8"}

    def client_command(self, name, *command):
        return net.entering(self.clients[name], "setpriv", f"--reuid={UNPRIVILEGED_ID}",
                            f"--regid={UNPRIVILEGED_ID}", "--clear-groups", "--no-new-privs",
                            "--", *command)

    def run(self, name, *command, timeout=120, **options):
        """Runs a command as this client; its output comes back as text."""
        options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, **options}
        return subprocess.run(self.client_command(name, *command), env=self.client_env(name),
                              cwd=self.home(name) / "work", timeout=timeout, check=False, **options)

    def run_node(self, name, script, *arguments, **options):
        """A module that may import the pinned packages: those are looked for beside the file."""
        folder = self.home(name) / "work"
        packages = folder / "node_modules"
        if not packages.exists():
            packages.symlink_to(self.codex / "node_modules")
        place = folder / pathlib.Path(script).name
        shutil.copyfile(script, place)
        return self.run(name, "env", f"GATEWAY_URL={self.base_url}", "node", str(place),
                        *arguments, **options)

    def codex_exec(self, name, prompt, *options, program="codex", timeout=180):
        return self.run(name, program, "exec", "--skip-git-repo-check", "--json", *options, prompt,
                        timeout=timeout)

    def connect(self, name, source=None, family=socket.AF_INET):
        """A TCP connection from the client to the gateway, as a blocking socket."""
        sock = net.make_socket(self.clients[name], family)
        sock.settimeout(60)
        if source:
            sock.bind((source, 0))
        host = GATEWAY if family == socket.AF_INET else GATEWAY6
        sock.connect((host, self.port))
        return sock
