"""What an answer costs by the shipped price file, computed apart from the code under test."""

import decimal
import json

from tollgate_lab.lab import REPOSITORY


def rates_of(model, tier="default"):
    """Nano-dollars a token."""
    table = json.loads((REPOSITORY / "deploy/prices.json").read_text(encoding="utf-8"))
    tiers = next(entry["tiers"] for entry in table["models"] if entry["model"] == model)
    return {name: decimal.Decimal(usd) * 1000 for name, usd in tiers[tier].items()
            if isinstance(usd, str)}


def cost_nano_usd(model, usage):
    """`usage` as the wire has it; below the long-context step."""
    rates = rates_of(model)
    cached = usage["input_tokens_details"]["cached_tokens"]
    cost = ((usage["input_tokens"] - cached) * rates["input"] + cached * rates["cached_input"]
            + usage["output_tokens"] * rates["output"])
    assert cost == int(cost)
    return int(cost)


def usd(nano):
    """The decimal string of a configuration."""
    return f"{nano // 10**9}.{nano % 10**9:09d}"
