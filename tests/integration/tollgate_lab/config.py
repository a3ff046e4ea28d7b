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


def default_policies(engineering_models=("gpt-5*", "gpt-6*"), **engineering):
    """The two policies of a lab; further keys are the first one's."""
    return [{"name": "engineering-codex", "groups": ["engineering"],
             "models": list(engineering_models), **engineering},
            {"name": "contractors-codex", "groups": ["contractors"], "models": [CONTRACTOR_MODEL]}]


def policy_tables(policy):
    """One [[policy]]; its `limits` are tables of their own."""
    settings = {key: value for key, value in policy.items() if key != "limits"}
    return [toml_table("[[policy]]", settings),
            *(toml_table("[[policy.limit]]", limit) for limit in policy.get("limits", ()))]


def gateway_config(gateway, limits, provider, tunnel_of, policies=None, groups=None,
                   intercepts=()):
    """`tunnel_of`: client → interface in the gateway. `groups`: name → clients."""
    groups = groups or {"engineering": ["alice"], "contractors": ["bob"]}
    parts = [toml_table("[gateway]", gateway)]
    if limits:
        parts.append(toml_table("[limits]", limits))
    parts.append(toml_table("[[provider]]", provider))
    parts += [toml_table("[[intercept]]", intercept) for intercept in intercepts]
    for group, members in groups.items():
        parts.append(toml_table("[[group]]", {"name": group, "members": [
            USERS[member]["user"] for member in members]}))
    for name, who in USERS.items():
        if who["user"] is None:
            continue
        for address in (who["address"], who["address6"]):
            parts.append(toml_table("[[peer]]", {"address": address, "user": who["user"],
                                                 "tunnel": tunnel_of[name]}))
    for policy in policies or default_policies():
        parts += policy_tables({"provider": provider["name"], **policy})
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
