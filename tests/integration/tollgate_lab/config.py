"""tollgate.toml of a lab, and the config.toml that a client has."""

import json

USERS = {
    "alice": {"address": "10.99.0.2", "address6": "fd99::2", "user": "alice@example.com"},
    "bob": {"address": "10.99.0.3", "address6": "fd99::3", "user": "bob@example.com"},
    # A peer of the tunnel that no [[peer]] names.
    "mallory": {"address": "10.99.0.66", "address6": "fd99::66", "user": None},
}
GATEWAY = "10.99.0.1"
GATEWAY6 = "fd99::1"
CONTACT = "ask #ai-platform"
DENIED_MODEL = "gpt-5.5"         # bob may not
CONTRACTOR_MODEL = "gpt-5.6-luna"  # bob may


def toml_value(value):
    # JSON's strings, numbers, booleans and arrays are TOML's too.
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items())
        return "{ " + inner + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value)


def toml_table(header, values):
    lines = [f"{key} = {toml_value(value)}" for key, value in values.items()]
    return "\n".join([header, *lines, ""])


def gateway_config(gateway, limits, provider, tunnel_of, engineering_models=("gpt-5*", "gpt-6*")):
    """`tunnel_of`: client → interface in the gateway."""
    parts = [toml_table("[gateway]", gateway)]
    if limits:
        parts.append(toml_table("[limits]", limits))
    parts.append(toml_table("[[provider]]", provider))
    for group, member in (("engineering", "alice"), ("contractors", "bob")):
        parts.append(toml_table("[[group]]", {"name": group, "members": [USERS[member]["user"]]}))
    for name, who in USERS.items():
        if who["user"] is None:
            continue
        for address in (who["address"], who["address6"]):
            parts.append(toml_table("[[peer]]", {"address": address, "user": who["user"],
                                                 "tunnel": tunnel_of[name]}))
    for policy, group, models in (
            ("engineering-codex", "engineering", list(engineering_models)),
            ("contractors-codex", "contractors", [CONTRACTOR_MODEL])):
        parts.append(toml_table("[[policy]]", {"name": policy, "groups": [group],
                                               "provider": provider["name"], "models": models}))
    return "\n".join(parts)


def codex_config(base_url):
    """What a developer has, and switches that keep the client from calling other hosts."""
    return f"""model_provider = "tollgate"
model = "gpt-5.5"
check_for_update_on_startup = false

[model_providers.tollgate]
name = "Tollgate"
base_url = "{base_url}"
wire_api = "responses"

[analytics]
enabled = false

[features]
plugins = false
"""
