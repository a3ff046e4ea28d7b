"""A lab whose clients mean the provider itself: its addresses are routed into the tunnel.

The gateway forwards, and knows the way: without Tollgate's rules everything a client sends arrives
at the provider, where it is counted by the kernel.
"""

import contextlib
import json
import os
import socket
import ssl
import struct
import subprocess

from tollgate_lab import net
from tollgate_lab.config import GATEWAY, GATEWAY6, USERS
from tollgate_lab.lab import PROVIDER_ADDRESS, UNPRIVILEGED_ID, Lab, find_program

HOST = "api.openai.com"
FAMILIES = (socket.AF_INET, socket.AF_INET6)
PREFIX = {socket.AF_INET: "198.51.100.0/24", socket.AF_INET6: "2001:db8:7::/48"}
ADDRESS = {socket.AF_INET: "198.51.100.7", socket.AF_INET6: "2001:db8:7::7"}
COUNTERS = ("tcp4", "tcp6", "udp4", "udp6")
RULES = """table inet arrivals {
 counter tcp4 { }
 counter tcp6 { }
 counter udp4 { }
 counter udp6 { }
 chain prerouting {
  type filter hook prerouting priority filter; policy accept;
  ip saddr 10.99.0.0/24 ip protocol tcp counter name tcp4
  ip saddr 10.99.0.0/24 ip protocol udp counter name udp4
  ip6 saddr fd99::/64 meta l4proto tcp counter name tcp6
  ip6 saddr fd99::/64 meta l4proto udp counter name udp6
 }
}
"""


class InterceptLab(Lab):
    provider_listens = [PROVIDER_ADDRESS, ADDRESS[socket.AF_INET], f"[{ADDRESS[socket.AF_INET6]}]"]

    def _make_network(self):
        super()._make_network()
        for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            net.run(*net.entering(self.gateway, "sysctl", "-qw", setting))
        net.add_address(self.gateway, "up0", "fd98::1/64")
        net.add_address(self.provider, "up0", "fd98::2/64")
        for family, gateway, provider in ((socket.AF_INET, "10.98.0.1", PROVIDER_ADDRESS),
                                          (socket.AF_INET6, "fd98::1", "fd98::2")):
            length = 32 if family == socket.AF_INET else 128
            net.add_address(self.provider, "lo", f"{ADDRESS[family]}/{length}")
            net.run("ip", "-n", self.gateway, "route", "add", PREFIX[family], "via", provider)
            net.run("ip", "-n", self.provider, "route", "add", "default", "via", gateway)
        for name, namespace in self.clients.items():
            for family, gateway in zip(FAMILIES, (GATEWAY, GATEWAY6)):
                who = USERS[name]["address" if family == socket.AF_INET else "address6"]
                net.run("ip", "-n", namespace, "route", "add", PREFIX[family], "via", gateway,
                        "dev", "tun0", "onlink", "src", who)
        net.run(*net.entering(self.provider, "nft", "-f", "-"), input=RULES)

    def _make_secrets(self):
        super()._make_secrets()
        certificate, key = self.issue_intercept_certificate()
        self.rules["intercepts"] = [{"host": HOST, "destinations": list(PREFIX.values()),
                                     "certificate": str(certificate), "private_key": str(key)}]
        self.hosts = self.folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n" +
                              "".join(f"{ADDRESS[family]} {HOST}\n" for family in FAMILIES))

    def issue_intercept_certificate(self):
        """Again for a renewal: the files stay the same ones."""
        certificate, key = self.client_authority.issue("intercept", [f"DNS:{HOST}"])
        os.chown(key, 0, UNPRIVILEGED_ID)
        return certificate, key

    def provider_table(self):
        # The gateway's own connections go to the very address that is intercepted.
        return {**super().provider_table(), "connect_to": f"{ADDRESS[socket.AF_INET]}:443"}

    def client_command(self, name, *command):
        inner = super().client_command(name, *command)
        return ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"',
                str(self.hosts), *inner]

    # What the kernel of the gateway holds

    def tollgated(self, *arguments):
        done = subprocess.run(
            net.entering(self.gateway, str(find_program(self.build, "tollgated")), *arguments),
            capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def install(self):
        self.tollgated("--install", str(self.config))

    def uninstall(self):
        self.tollgated("--uninstall", str(self.config))

    def kernel_objects(self):
        """Lines that only Tollgate can have brought about; empty when nothing is left."""
        def said(*command):
            done = subprocess.run(net.entering(self.gateway, *command), capture_output=True,
                                  text=True, check=False)
            return done.stdout.splitlines()

        rules = [line for family in ("-4", "-6") for line in said("ip", family, "rule")
                 if "29799" in line]
        routes = [line for family in ("-4", "-6")
                  for line in said("ip", family, "route", "show", "table", "29799")]
        pins = [str(path) for path in self.bpffs.glob("tollgate")]
        return rules + routes + said("nft", "list", "ruleset") + pins

    # Clients

    def arrived(self):
        """Packets of peers that the provider's kernel has seen."""
        listed = net.run(*net.entering(self.provider, "nft", "-j", "list", "counters"))
        found = [item["counter"] for item in json.loads(listed)["nftables"] if "counter" in item]
        return {counter["name"]: counter["packets"] for counter in found}

    def knock(self, name="alice", port=443):
        """One TCP connection and one datagram for each family: what the client hears of each."""
        heard = {}
        for family in FAMILIES:
            for kind, word in ((socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")):
                with net.inside(self.clients[name]):
                    knocker = socket.socket(family, kind)
                with knocker:
                    knocker.settimeout(3)
                    heard[word + ("4" if family == socket.AF_INET else "6")] = _hear(
                        knocker, kind, (ADDRESS[family], port))
        return heard

    @contextlib.contextmanager
    def tls(self, family, server_hostname, name="alice"):
        """A TLS connection to the provider's address, whoever answers there."""
        context = ssl.create_default_context(cafile=str(self.home(name) / "ca.pem"))
        context.check_hostname = False
        raw = net.make_socket(self.clients[name], family)
        raw.settimeout(20)
        with raw:
            raw.connect((ADDRESS[family], 443))
            with context.wrap_socket(raw, server_hostname=server_hostname) as wrapped:
                yield wrapped

    def curl(self, family, *arguments, name="alice", **options):
        address = ADDRESS[family]
        at = f"[{address}]" if family == socket.AF_INET6 else address
        return self.run(name, "curl", "-sS", "--max-time", "30", "--resolve", f"{HOST}:443:{at}",
                        *arguments, **options)


def _hear(knocker, kind, address):
    try:
        if kind == socket.SOCK_STREAM:
            # Closed by a reset: nothing of this connection is on its way afterwards.
            knocker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        knocker.connect(address)
        if kind == socket.SOCK_DGRAM:
            knocker.send(b"x")
            knocker.settimeout(0.5)
            knocker.recv(1)
        return "connected"
    except TimeoutError:
        return "nothing"
    except OSError as error:
        return error.strerror
