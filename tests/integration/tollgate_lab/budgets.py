"""What the suites about limits share: policies, a clean start, what a refusal looks like."""

import time

from tollgate_lab.client import post
from tollgate_lab.config import CONTACT, USERS, default_policies

ALICE, BOB = USERS["alice"]["user"], USERS["bob"]["user"]
GROUPS = {"engineering": ["alice"], "contractors": ["bob"]}
PLENTY = {"per": "user", "usd": "1000.00", "window": "24h"}
MAX_OUTPUT = 100


def engineering(*limits, **settings):
    return default_policies(limits=list(limits), **settings)


def strictly(*limits):
    return engineering(*limits, hold="strict", max_output_tokens=MAX_OUTPUT)


def begin_anew(lab):
    """Nobody has consumed anything."""
    lab.change_rules(policies=engineering(PLENTY), groups=GROUPS)
    for subject in ((ALICE,), (BOB,), ("--group", "engineering"), ("--group", "contractors")):
        lab.ctl("reset", *subject)


def new_records(lab, before):
    return [r for r in lab.records() if r["id"] not in before and r["outcome"] != "refused"]


def ids(lab):
    return {r["id"] for r in lab.records()}


def assert_budget_refusal(told, *words):
    error = told.error
    assert (told.status, error["type"], error["code"]) == (429, "usage_limit_reached",
                                                           "budget_exceeded")
    for word in (*words, CONTACT):
        assert word in error["message"], error["message"]
    # It may have been said a moment ago, of what would be free in a moment.
    assert time.time() - 60 <= error["resets_at"] <= time.time() + 32 * 86400
    promo = told.headers["x-codex-promo-message"]
    assert promo.isascii() and promo.isprintable() and not promo.endswith(".")
    return error


def hold_of(lab, body):
    """The record of one such request: what is held for each of its like."""
    before = ids(lab)
    assert post(lab, body).status == 200
    (record,) = new_records(lab, before)
    return record
