"""`tollgate doctor` on a healthy host, and on each nearest one that is not."""

import json
import shutil
import subprocess

import pytest

from tollgate_lab import net
from tollgate_lab.catalog import catalog_entry, catalog_text

STATES = ("ok", "degraded", "broken")


def doctor(lab, *options):
    """In the gateway's namespace, as an administrator runs it there."""
    return subprocess.run(
        net.entering(lab.gateway, str(lab.tollgate), "doctor", str(lab.config), *options),
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def findings(lab):
    done = doctor(lab, "--json")
    said = json.loads(done.stdout)
    assert done.returncode == (0 if said["healthy"] else 1), done.stderr
    assert all(f["state"] in STATES for f in said["findings"])
    assert all((f["remedy"] == "") == (f["state"] == "ok") for f in said["findings"])
    return said["findings"]


def broken(lab):
    return {f["what"]: f["says"] for f in findings(lab) if f["state"] == "broken"}


@pytest.fixture(autouse=True)
def as_it_was(lab):
    yield
    lab.write_config()


def test_healthy_host_has_nothing_broken_and_reasons_for_what_is_degraded(lab):
    assert broken(lab) == {}
    ok = {f["what"] for f in findings(lab) if f["state"] == "ok"}
    assert {"configuration", "BPF", "BTF", "listen", "key pair", "private key", "key main",
            "provider mock", "pins", "state", "daemon"} <= ok
    said = doctor(lab)
    assert said.returncode == 0 and said.stderr == ""
    lines = said.stdout.splitlines()
    assert lines[-1].endswith(", 0 broken")
    # Each line that is not ok is followed by what to do.
    for line, following in zip(lines, lines[1:]):
        if line.startswith(("degraded", "broken")):
            assert following.strip().startswith("try: "), line


def test_asking_changes_nothing_and_sends_the_provider_nothing(lab):
    before = len(lab.mock_seen())
    status = lab.status()
    doctor(lab)
    assert len(lab.mock_seen()) == before
    after = lab.status()
    assert after["pid"] == status["pid"] and after["healthy"]
    assert lab.key not in doctor(lab).stdout + doctor(lab, "--json").stdout


def test_works_beside_no_daemon_and_says_so(lab):
    lab.daemon.stop(60)
    try:
        assert broken(lab) == {}
        told = {f["what"]: f for f in findings(lab)}
        assert told["daemon"]["state"] == "degraded"
        assert "none answers" in told["daemon"]["says"]
        assert told["pins"]["state"] == "degraded"
    finally:
        lab.start_daemon()


def with_text(lab, old, new):
    text = lab.config.read_text()
    assert old in text
    lab.write_config(text=text.replace(old, new, 1))


def test_missing_tunnel(lab):
    name = sorted(set(lab.tunnel_of.values()))[0]
    text = lab.config.read_text()
    lab.write_config(text=text.replace(f'"{name}"', '"tgnone0"'))
    assert set(broken(lab)) == {"tunnel tgnone0"}


def test_address_that_is_not_here(lab):
    with_text(lab, "10.99.0.1:443", "10.99.7.7:443")
    assert set(broken(lab)) == {"listen"}


def test_unreachable_provider(lab):
    lab.write_config(provider={"connect_to": "10.98.0.2:4"})
    told = broken(lab)
    assert set(told) == {"provider mock"}
    assert "refused" in told["provider mock"]


def test_provider_with_a_certificate_that_nobody_vouches_for(lab):
    lab.write_config(provider={"ca_file": str(lab.client_authority.certificate)})
    assert set(broken(lab)) == {"provider mock"}


def test_expired_certificate(lab, tmp_path):
    certificate = tmp_path / "expired.pem"
    subprocess.run(["openssl", "x509", "-in", str(lab.certificate), "-days", "-1", "-signkey",
                    str(lab.private_key), "-out", str(certificate), "-copy_extensions", "copyall"],
                   check=True, capture_output=True)
    with_text(lab, str(lab.certificate), str(certificate))
    told = broken(lab)
    assert set(told) == {"certificate"}
    assert "expired" in told["certificate"]


def test_key_that_others_may_read(lab):
    lab.key_file.chmod(0o644)
    try:
        told = broken(lab)
    finally:
        lab.key_file.chmod(0o640)
    assert set(told) == {"key main"}
    assert "others" in told["key main"]


def test_key_that_is_not_there(lab):
    with_text(lab, str(lab.key_file), str(lab.key_file) + ".gone")
    assert set(broken(lab)) == {"key main"}


def test_without_root_it_says_what_it_cannot_see(lab):
    # In a folder that anybody may enter.
    copy = lab.folder / "open.toml"
    shutil.copy(lab.config, copy)
    copy.chmod(0o644)
    done = subprocess.run(
        net.entering(lab.gateway, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                     "--", str(lab.tollgate), "doctor", str(copy)),
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    assert "cannot be tried without root" in done.stdout, done.stdout + done.stderr
    assert "run this as root" in done.stdout


def test_model_catalogue(lab, tmp_path):
    """What it lacks is told; broken is only what cannot be read."""
    path = tmp_path / "models.json"

    def found():
        return next(f for f in findings(lab) if f["what"] == "model catalogue")

    lab.gateway_settings["model_catalog"] = str(path)
    try:
        lab.write_config()
        assert found()["state"] == "broken"
        path.write_text(catalog_text([catalog_entry("gpt-5.5", 1)]))
        assert found()["state"] == "ok" and ", without gpt-5.4" in found()["says"]
        path.write_text(catalog_text([catalog_entry("gpt-5,5", 1)]))
        assert found()["state"] == "degraded"
    finally:
        del lab.gateway_settings["model_catalog"]
