"""`tollgate client-config`: the real client works with what it prints, and what is wrong is said."""

import json
import subprocess

import pytest

from tollgate_lab import net
from tollgate_lab.catalog import catalog_entry, catalog_text
from tollgate_lab.config import CONTACT, CONTRACTOR_MODEL, GATEWAY, default_policies
from tollgate_lab.intercept import HOST, InterceptLab
from tollgate_lab.lab import Unavailable
from tollgate_lab.machine import Machine

ALICE, BOB = "alice@example.com", "bob@example.com"
NAME = "ai.lab.test"  # what the lab's certificate is for
NO_SANDBOX = "--dangerously-bypass-approvals-and-sandbox"  # the lab is the sandbox
QUIET = "[analytics]\nenabled = false\n\n[features]\nplugins = false\n"


def hosts(*lines):
    return {"hosts": "127.0.0.1 localhost\n" + "".join(f"{line}\n" for line in lines)}


@pytest.fixture
def machine(tmp_path_factory):
    def make(files):
        # Readable for the clients, who are nobody.
        folder = tmp_path_factory.mktemp("etc")
        for parent in (folder, folder.parent):
            parent.chmod(0o755)
        return Machine(folder / "etc", files)
    return make


@pytest.fixture
def here(machine):
    """Where the gateway's name leads to the gateway."""
    return machine(hosts(f"{GATEWAY} {NAME}"))


def ask(lab, where, *options):
    return subprocess.run(
        where.running(*net.entering(lab.gateway, str(lab.tollgate), "client-config",
                                    str(lab.config), *options)),
        capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/usr/sbin:/usr/bin"})


def told(lab, where, *options):
    done = ask(lab, where, "--json", *options)
    said = json.loads(done.stdout)
    assert done.returncode == (0 if said["healthy"] else 1), done.stderr
    return said


def broken(lab, where, *options):
    return {f["what"]: f["says"] for f in told(lab, where, *options)["findings"]
            if f["state"] == "broken"}


def ca_of(lab):
    return ("--ca", str(lab.client_authority.certificate))


def codex_on(lab, where, name, *options):
    command = ["codex", "exec", "--skip-git-repo-check", "--json", *options]
    return subprocess.run(
        where.running(*lab.client_command(name, *command)), env=lab.client_env(name),
        cwd=lab.home(name) / "work", capture_output=True, text=True, timeout=180, check=False,
        stdin=subprocess.DEVNULL)


def test_real_client_completes_a_tool_turn_with_it(codex, here):
    said = told(codex, here, "--user", ALICE, *ca_of(codex))
    assert said["healthy"], said["findings"]
    assert said["base_url"] == f"https://{NAME}/v1"
    (codex.home("alice") / ".codex/config.toml").write_text(said["config_toml"] + QUIET)
    prompt = 'go mock:{"kind":"tool","cmd":"echo made-$((40+2))"}'
    done = codex_on(codex, here, "alice", NO_SANDBOX, prompt)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "made-42" in done.stdout
    assert codex.mock_seen(method="POST")[-1]["model"] == said["model"]


def test_with_a_catalogue_the_client_asks_for_it(codex, here):
    path = codex.folder / "models.json"
    path.write_text(catalog_text([catalog_entry("gpt-6-sol", 1),
                                  catalog_entry(CONTRACTOR_MODEL, 2)]))
    codex.gateway_settings["model_catalog"] = str(path)
    codex.change_rules()
    try:
        said = told(codex, here, "--user", BOB, *ca_of(codex))
        assert said["healthy"] and said["model"] == CONTRACTOR_MODEL
        (codex.home("bob") / ".codex/config.toml").write_text(said["config_toml"] + QUIET)
        done = subprocess.run(
            here.running(*codex.client_command("bob", "codex", "debug", "models")),
            env=codex.client_env("bob"), cwd=codex.home("bob"), capture_output=True, text=True,
            timeout=60, check=False)
        models = json.loads(done.stdout)["models"]
        assert [model["slug"] for model in models] == [CONTRACTOR_MODEL]
    finally:
        del codex.gateway_settings["model_catalog"]
        codex.change_rules()


def test_where_policy_allows_websocket_the_client_uses_it(codex, here):
    codex.change_rules(policies=default_policies(websocket=True))
    try:
        assert "websockets" not in told(codex, here, "--user", BOB, *ca_of(codex))["config_toml"]
        assert "websockets" not in told(codex, here, *ca_of(codex))["requirements_toml"]
        said = told(codex, here, "--user", ALICE, *ca_of(codex))
        assert said["healthy"] and "supports_websockets = true\n" in said["config_toml"]
        (codex.home("alice") / ".codex/config.toml").write_text(said["config_toml"] + QUIET)
        done = codex_on(codex, here, "alice", NO_SANDBOX, 'go mock:{"kind":"tool","cmd":"true"}')
        assert done.returncode == 0 and "Falling back" not in done.stdout, done.stdout
        assert any(f"user={ALICE} " in line and "status=101" in line
                   for line in codex.daemon.log().splitlines())
    finally:
        codex.change_rules(policies=None)


def test_managed_machine_keeps_a_developer_on_the_gateway(codex, machine):
    """requirements.toml against a config.toml that means another provider, in two ways."""
    known = hosts(f"{GATEWAY} {NAME}")
    said = told(codex, machine(known), "--user", ALICE, *ca_of(codex))
    managed = machine({**known, "codex/requirements.toml": said["requirements_toml"]})
    elsewhere = 'base_url = "http://127.0.0.1:9/v1"\nwire_api = "responses"\n'
    own = (f'model_provider = "own"\nmodel = "{said["model"]}"\n'
           f'[model_providers.own]\nname = "Own"\n{elsewhere}'
           f'[model_providers.tollgate]\nname = "Tollgate"\n{elsewhere}{QUIET}')
    (codex.home("alice") / ".codex/config.toml").write_text(own)
    before = len(codex.records(user=ALICE, outcome="completed"))
    done = codex_on(codex, managed, "alice", "hi")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is overridden by the required value" in done.stdout
    assert len(codex.records(user=ALICE, outcome="completed")) == before + 1


def test_people_read_files_and_what_was_tried(lab, here):
    done = ask(lab, here, "--user", BOB, *ca_of(lab))
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    fingerprint = net.run("openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in",
                          str(lab.client_authority.certificate)).strip().split("=")[1]
    for part in (f"# ~/.codex/config.toml of {BOB}\n", f'model = "{CONTRACTOR_MODEL}"\n',
                 "# /etc/codex/requirements.toml", f'base_url = "https://{NAME}/v1"\n',
                 "CODEX_CA_CERTIFICATE=", fingerprint, "\nok        certificate",
                 "\nok        name", "\nok        user"):
        assert part in done.stdout, part
    assert done.stdout.endswith("3 ok, 0 degraded, 0 broken\n")
    assert lab.key not in done.stdout


def test_without_a_user_it_names_no_model(lab, here):
    said = told(lab, here, *ca_of(lab))
    assert said["healthy"] and "model = " not in said["config_toml"]


def test_unknown_user(lab, here):
    wrong = broken(lab, here, "--user", "eve@example.com", *ca_of(lab))
    assert set(wrong) == {"user"} and "eve@example.com" in wrong["user"] and CONTACT in wrong["user"]


def test_user_whom_no_policy_names_or_whose_access_is_revoked(lab, here):
    lab.change_rules(policies=default_policies()[:1])
    try:
        assert "no group that a policy names" in broken(lab, here, "--user", BOB,
                                                        *ca_of(lab))["user"]
    finally:
        lab.change_rules(policies=None)
    lab.ctl("revoke", BOB, "--why", "laptop lost")
    try:
        assert "laptop lost" in broken(lab, here, "--user", BOB, *ca_of(lab))["user"]
    finally:
        lab.ctl("restore", BOB)
    assert broken(lab, here, "--user", BOB, *ca_of(lab)) == {}


def test_name_that_leads_nowhere_or_elsewhere(lab, machine):
    wrong = broken(lab, machine(hosts()), *ca_of(lab))
    assert set(wrong) == {"name"} and "has no address" in wrong["name"]
    wrong = broken(lab, machine(hosts(f"10.99.0.77 {NAME}")), *ca_of(lab))
    assert set(wrong) == {"name"} and "10.99.0.77" in wrong["name"]


def test_certificate_that_the_ca_did_not_sign(lab, here):
    wrong = broken(lab, here, "--ca", str(lab.provider_authority.certificate))
    assert set(wrong) == {"certificate"}
    # The system's CAs did not, either.
    assert set(broken(lab, here)) == {"certificate"}
    assert {"CA", "certificate"} <= set(broken(lab, here, "--ca", str(lab.config)))


def test_gateway_that_does_not_run(lab, here):
    lab.daemon.stop(60)
    try:
        assert set(broken(lab, here, "--user", ALICE, *ca_of(lab))) == {"certificate", "user"}
    finally:
        lab.start_daemon()


def test_plain_http_needs_no_certificate(make_lab, here):
    lab = make_lab(plain_http=True)
    said = told(lab, here, "--user", ALICE)
    assert said["healthy"] and said["ca"] is None and said["base_url"] == f"http://{GATEWAY}/v1"
    assert "plain_http" in ask(lab, here).stdout


def test_intercepted_host_is_tried_by_its_own_name(here):
    try:
        lab = InterceptLab().__enter__()
    except Unavailable as missing:
        pytest.skip(str(missing))
    try:
        said = told(lab, here, "--user", ALICE, *ca_of(lab))
        assert said["intercepted"] == [HOST]
        assert {"what": "intercept", "state": "ok"}.items() <= next(
            f for f in said["findings"] if f["what"] == "intercept").items(), said
        assert f"way to {HOST} leads into the tunnel" in ask(lab, here, *ca_of(lab)).stdout
    finally:
        lab.__exit__(None, None, None)
