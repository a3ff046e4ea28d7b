"""The tunnel between clients and the gateway: veth pairs, or WireGuard in user space."""

import shutil

from tollgate_lab import net
from tollgate_lab.config import GATEWAY, GATEWAY6, USERS
from tollgate_lab.process import Service, wait_until

CLIENT_DEVICE = "tun0"


def _address_gateway(gateway, device):
    net.add_address(gateway, device, f"{GATEWAY}/32")
    net.add_address(gateway, device, f"{GATEWAY6}/128")


def _route_to_client(gateway, device, who):
    net.add_route(gateway, f"{who['address']}/32", device, GATEWAY)
    net.add_route(gateway, f"{who['address6']}/128", device)


def _address_client(namespace, device, who):
    net.add_address(namespace, device, f"{who['address']}/32")
    net.add_address(namespace, device, f"{who['address6']}/128")
    net.add_route(namespace, f"{GATEWAY}/32", device, who["address"])
    net.add_route(namespace, f"{GATEWAY6}/128", device)


def make_veth(gateway, clients):
    """One interface of the gateway a client; returns client → interface."""
    tunnel_of = {}
    for name, namespace in clients.items():
        device = f"tg-{name}"
        net.add_pair(gateway, device, namespace, CLIENT_DEVICE)
        _address_gateway(gateway, device)
        _address_client(namespace, CLIENT_DEVICE, USERS[name])
        _route_to_client(gateway, device, USERS[name])
        tunnel_of[name] = device
    return tunnel_of


def missing_for_wireguard():
    """Why a WireGuard lab cannot run here, or None."""
    for program in ("wireguard-go", "wg"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    try:
        open("/dev/net/tun", "rb").close()
    except OSError as error:
        return f"/dev/net/tun: {error.strerror}"
    return None


class _Key:
    def __init__(self, folder, name):
        self.private = net.run("wg", "genkey").strip()
        self.public = net.run("wg", "pubkey", input=self.private).strip()
        self.file = folder / f"wg-{name}.key"
        self.file.touch(mode=0o600)
        self.file.write_text(self.private)


def _start(lab, namespace, device):
    # In the foreground and with its output in a file: a daemonised wireguard-go outlives its
    # namespace and keeps its parent's pipes open.
    service = Service(f"wireguard-go {device}",
                      net.entering(namespace, "env", "LOG_LEVEL=error", "wireguard-go", "-f", device),
                      lab.folder / f"{device}.log")
    lab.stack.callback(service.stop)
    socket_path = f"/var/run/wireguard/{device}.sock"
    wait_until(lambda: _answers(device), socket_path, service=service)


def _answers(device):
    try:
        net.run("wg", "show", device)
        return True
    except RuntimeError:
        return False


def make_wireguard(lab, gateway, clients):
    """One tunnel interface for all clients, over one underlay veth each."""
    # The control socket of wireguard-go is named after the interface and not per namespace, so the
    # names carry the run's token.
    device = f"tg{lab.token}g"
    key = _Key(lab.folder, "gateway")
    _start(lab, gateway, device)
    net.run(*net.entering(gateway, "wg", "set", device, "listen-port", "51820",
                          "private-key", str(key.file)))
    net.run("ip", "-n", gateway, "link", "set", device, "mtu", "1420", "up")
    _address_gateway(gateway, device)
    for number, (name, namespace) in enumerate(clients.items(), start=1):
        _make_peer(lab, gateway, device, key, number, name, namespace)
    return {name: device for name in clients}


def _make_peer(lab, gateway, device, gateway_key, number, name, namespace):
    who = USERS[name]
    net.add_pair(gateway, f"under-{name}", namespace, "under0")
    net.add_address(gateway, f"under-{name}", f"10.97.{number}.1/24")
    net.add_address(namespace, "under0", f"10.97.{number}.2/24")
    own = f"tg{lab.token}c{number}"
    key = _Key(lab.folder, name)
    _start(lab, namespace, own)
    net.run(*net.entering(namespace, "wg", "set", own, "private-key", str(key.file),
                          "peer", gateway_key.public, "endpoint", f"10.97.{number}.1:51820",
                          "allowed-ips", f"{GATEWAY}/32,{GATEWAY6}/128"))
    net.run("ip", "-n", namespace, "link", "set", own, "mtu", "1420", "up")
    _address_client(namespace, own, who)
    net.run(*net.entering(gateway, "wg", "set", device, "peer", key.public,
                          "allowed-ips", f"{who['address']}/32,{who['address6']}/128"))
    _route_to_client(gateway, device, who)
