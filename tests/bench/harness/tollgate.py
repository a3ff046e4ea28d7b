"""Our daemon's configuration for the bench: user-space identity, no tunnel, no kernel programs."""
import json
import os
import shutil

CLIENTS = ["127.0.0.%d" % i for i in range(2, 18)]  # as bench_loadgen binds
MODEL = "gpt-5-codex"  # as make_bodies.py asks and the mock reports

CONFIG = """[gateway]
listen = ["127.0.0.1:{port}"]
tunnels = []
certificate = "{certificate}"
private_key = "{private_key}"
contact = "the bench"
state_dir = "{state}"
run_dir = "{run}"
price_file = "{prices}"
user = ""
steering = "userspace"
io = "{io}"
workers = 1

[[provider]]
name = "mock"
base_url = "{base_url}"
{ca_file}keys = [{{ name = "main", file = "{key_file}" }}]

[[group]]
name = "bench"
members = [{members}]
{peers}
[[policy]]
name = "bench"
groups = ["bench"]
provider = "mock"
models = ["{model}"]
"""
PRICES = {
    "version": "bench",
    "unit": "usd_per_million_tokens",
    "models": [{
        "model": MODEL,
        "source": "made up for the bench",
        "date": "2026-01-01",
        "tiers": {"default": {"input": "1.25", "cached_input": "0.125", "output": "10"}},
    }],
}


def user_of(address):
    return "client-%s@example.com" % address.rsplit(".", 1)[1]


def config_text(place, values, folders, io, limits=""):
    """`limits`: [[policy.limit]] tables of the one policy."""
    tls = values["upstream_tls"]
    base_url = ("https://localhost:%d/v1" if tls else "http://127.0.0.1:%d/v1") % values["upstream"]
    peers = "".join('\n[[peer]]\naddress = "%s"\nuser = "%s"\n' % (a, user_of(a)) for a in CLIENTS)
    return CONFIG.format(
        port=values["port"], certificate=values["certificate"], private_key=values["private_key"],
        state=folders["state"], run=folders["run"], base_url=base_url, model=MODEL, io=io,
        ca_file='ca_file = "%s"\n' % values["certificate"] if tls else "",
        key_file=place.write("provider.key", values["key"] + "\n", secret=True),
        prices=place.write("prices.json", json.dumps(PRICES, indent=2) + "\n"),
        members=", ".join('"%s"' % user_of(a) for a in CLIENTS), peers=peers) + limits


def command(place, values, daemon=None, limits=""):
    """Each run starts with an empty ledger, so that a long run is not slower than a short one."""
    folders = {}
    for name in ("state", "run"):
        folders[name] = os.path.join(place.folder, values["name"] + "-" + name)
        shutil.rmtree(folders[name], ignore_errors=True)
        os.makedirs(folders[name], mode=0o700)
    config = place.write(values["name"] + ".toml",
                         config_text(place, values, folders, values["io"], limits))
    # The peers write no access log here, so neither do we.
    return [daemon or place.daemon(), "--config", config, "--log-level", "warn"]
