"""No limit is passed, under any concurrency; what happens at a limit, and what clients are told."""

import collections
import hashlib
import os
import time

import pytest

from tollgate_lab.budgets import (ALICE, GROUPS, MAX_OUTPUT, PLENTY, assert_budget_refusal,
                                  begin_anew, engineering, hold_of, ids, new_records, strictly)
from tollgate_lab.client import body_of, post
from tollgate_lab.config import CONTRACTOR_MODEL
from tollgate_lab.crowd import ask_all
from tollgate_lab.prices import cost_nano_usd, usd

ROUNDS = int(os.environ.get("TOLLGATE_REPEAT", "3"))
CROWD = 1000
# Without TLS the client of this suite, which is Python, brings its crowd to the door at once.
LAB_OPTIONS = {"plain_http": True, "groups": GROUPS}


@pytest.fixture(autouse=True)
def nothing_is_held(lab, eventually):
    """Each test begins with nothing consumed and leaves nothing held."""
    begin_anew(lab)
    yield
    eventually(lab.held, lambda held: held == 0)


# ---- a crowd at the door

@pytest.mark.parametrize("spare_nano_usd,fit", [
    pytest.param(0, 10, id="room for ten holds to the nano-dollar"),
    pytest.param(-1, 9, id="a nano-dollar less"),
])
def test_of_a_crowd_exactly_those_that_fit_are_served(lab, eventually, spare_nano_usd, fit):
    lab.change_rules(policies=strictly(PLENTY))
    bodies = [body_of(text=f"number {number:04}") for number in range(CROWD)]
    probe = hold_of(lab, bodies[0])
    hold = probe["hold_cost_nano_usd"]
    cap = 10 * hold + spare_nano_usd
    # The provider charges the whole hold: the sum meets the cap exactly.
    usage = {"input_tokens": probe["hold_input_tokens"], "cached_tokens": 0,
             "output_tokens": probe["hold_output_tokens"]}
    lab.change_rules(policies=strictly({"per": "user", "usd": usd(cap), "window": "24h"}))
    for _ in range(ROUNDS):
        lab.ctl("reset", ALICE)
        before, gate = ids(lab), lab.gate()
        at_provider = len(lab.mock_seen(method="POST"))
        held = []
        with lab.mock_answers(gate=gate.name, usage=usage):
            told = ask_all(lab, bodies, gate,
                           meanwhile=lambda: held.append(lab.the_limit(ALICE, unit="usd")))
        assert collections.Counter(t.status for t in told) == {200: fit, 429: CROWD - fit}
        for each in told:
            if each.status == 429:
                assert_budget_refusal(each, "You have used")
            else:
                assert each.completed
        assert (held[0]["held"], held[0]["used"]) == (fit * hold, 0)
        records = new_records(lab, before)
        assert len(records) == fit == len(lab.mock_seen(method="POST")) - at_provider
        spent = sum(r["cost_nano_usd"] for r in records)
        assert spent == fit * hold <= cap
        row = eventually(lambda: lab.the_limit(ALICE, unit="usd"), lambda row: row["held"] == 0)
        assert (row["used"], row["left"]) == (spent, cap - spent)


def test_typical_holds_are_passed_by_no_more_than_they_were_wrong(lab, eventually):
    cap = 10**9
    lab.change_rules(policies=engineering({"per": "user", "usd": usd(cap), "window": "24h"}))
    # More than such requests took before, and another amount each round.
    for number in range(ROUNDS):
        lab.ctl("reset", ALICE)
        before, gate = ids(lab), lab.gate()
        with lab.mock_answers(gate=gate.name, usage={"output_tokens": 10_000 + 500 * number}):
            told = ask_all(lab, [body_of(text=f"number {n}") for n in range(CROWD)], gate)
        served = sum(t.completed for t in told)
        assert served > 0, told[0]
        assert collections.Counter(t.status for t in told) == {200: served, 429: CROWD - served}
        records = new_records(lab, before)
        assert len(records) == served
        spent = sum(r["cost_nano_usd"] for r in records)
        wrong = sum(max(0, r["cost_nano_usd"] - r["hold_cost_nano_usd"]) for r in records)
        assert sum(r["hold_cost_nano_usd"] for r in records) <= cap
        assert spent - cap <= wrong
        eventually(lambda: lab.the_limit(ALICE, unit="usd"),
                   lambda row: (row["held"], row["used"]) == (0, spent))


def test_crowd_of_two_users_shares_the_limit_of_a_group(lab):
    both = {"engineering": ["alice", "bob"], "contractors": []}
    policies = [{"name": "all", "groups": ["engineering"], "models": ["gpt-5*"], "hold": "strict",
                 "max_output_tokens": MAX_OUTPUT,
                 "limits": [{"per": "group", "requests": 20, "window": "1h"}]}]
    lab.change_rules(policies=policies, groups=both)
    gate = lab.gate()
    with lab.mock_answers(gate=gate.name):
        told = ask_all(lab, [body_of()] * 200, gate, names=("alice", "bob"))
    assert collections.Counter(t.status for t in told) == {200: 20, 429: 180}
    for each in told:
        if each.status == 429:
            assert_budget_refusal(each, "engineering")


# ---- which limit binds

@pytest.mark.parametrize("dollars,tokens,named,bob", [
    pytest.param("0.015", 1_000_000, "engineering", 200, id="dollars of one group"),
    pytest.param("1000.00", 4_000, "staff", 429, id="tokens of the other, and a colleague's"),
])
def test_each_group_of_a_user_binds_by_its_own_limit(lab, dollars, tokens, named, bob):
    strict = {"hold": "strict", "max_output_tokens": MAX_OUTPUT, "models": ["gpt-5*"]}
    lab.change_rules(groups={"engineering": ["alice"], "staff": ["alice", "bob"]}, policies=[
        {"name": "first", "groups": ["engineering"], **strict,
         "limits": [{"per": "group", "usd": dollars, "window": "1h"}]},
        {"name": "second", "groups": ["staff"], **strict,
         "limits": [{"per": "group", "tokens": tokens, "window": "month",
                     "timezone": "Europe/Berlin"}]}])
    lab.ctl("reset", "--group", "staff")
    body, served = body_of(mock={"usage": {"input_tokens": 300, "output_tokens": 50}}), 0
    while (answer := post(lab, body)).status == 200:
        served += 1
        assert served < 30, "neither limit binds"
    assert served > 0
    assert_budget_refusal(answer, named)
    assert post(lab, body_of(), "bob").status == bob
    (dollar_row,) = [r for r in lab.limits_of() if r["unit"] == "usd"]
    (token_row,) = [r for r in lab.limits_of() if r["unit"] == "tokens"]
    assert dollar_row["used"] <= dollar_row["limit"] and token_row["used"] <= token_row["limit"]
    assert dollar_row["used"] > 0 and token_row["used"] > 0


def test_running_requests_are_counted_and_the_next_may_try_again(lab):
    lab.change_rules(policies=engineering({"per": "user", "concurrent": 3}))
    gate = lab.gate()
    rows = []
    with lab.mock_answers(gate=gate.name):
        told = ask_all(lab, [body_of() for _ in range(10)], gate,
                       meanwhile=lambda: rows.append(lab.the_limit(ALICE, unit="concurrent")))
    assert collections.Counter(t.status for t in told) == {200: 3, 503: 7}
    assert {t.error["code"] for t in told if t.error} == {"slow_down"}
    assert "3" in next(t.error["message"] for t in told if t.error)
    assert max(rows[0]["held"], rows[0]["used"]) == 3
    assert post(lab, body_of()).status == 200


def test_requests_are_counted_when_the_provider_took_them(lab):
    lab.change_rules(policies=engineering({"per": "user", "requests": 3, "window": "1h"}))
    failing = body_of(mock={"kind": "http_error", "status": 500})
    assert [post(lab, body).status for body in (body_of(), failing, body_of(), body_of())] == [
        200, 500, 200, 200]
    assert_budget_refusal(post(lab, body_of()), "You have used")
    assert lab.the_limit(ALICE, unit="requests")["used"] == 3


def test_a_rolling_window_frees_by_itself(lab, eventually):
    lab.change_rules(policies=engineering({"per": "user", "requests": 1, "window": "3s"}))
    assert post(lab, body_of()).status == 200
    error = assert_budget_refusal(post(lab, body_of()))
    assert error["resets_at"] <= time.time() + 5
    eventually(lambda: post(lab, body_of()).status, lambda status: status == 200, seconds=8)


# ---- what happens at the limit

def test_limit_that_warns_serves_and_says_so(lab):
    lab.change_rules(policies=engineering({"per": "user", "usd": "0.000001", "window": "1h",
                                           "on_exceed": "warn"}))
    answers = [post(lab, body_of()) for _ in range(2)]
    assert [a.status for a in answers] == [200, 200]
    assert any(ALICE in value for value in answers[1].headers.values()), answers[1].headers
    assert lab.the_limit(ALICE, unit="usd")["used"] > 1000


def downgrading():
    return engineering({"per": "user", "requests": 1, "window": "1h",
                        "on_exceed": {"model": "gpt-6-luna"}})


def test_downgrade_serves_the_other_model_and_changes_no_other_byte(lab):
    lab.change_rules(policies=downgrading())
    body = (b' {\n "stream":true , "mod\\u0065l" : "gpt-5.5" ,\t'
            b'"input":"\\u00e9 model \\"gpt-5.5\\"",'
            b'"nested":{"model":"gpt-5.5"}}\r\n ')
    for model, expected in (("gpt-5.5", body),
                            ("gpt-6-luna", body.replace(b': "gpt-5.5" ,', b': "gpt-6-luna" ,'))):
        before = ids(lab)
        answer = post(lab, body)
        assert answer.status == 200 and answer.events()[-1]["type"] == "response.completed"
        seen = lab.mock_seen(method="POST")[-1]
        assert seen["body_sha256"] == hashlib.sha256(expected).hexdigest()
        assert seen["model"] == model
        (record,) = new_records(lab, before)
        assert (record["model_asked"], record["model_served"]) == ("gpt-5.5", model)
        assert record["cost_nano_usd"] == cost_nano_usd(model, seen["usage"])


@pytest.mark.parametrize("asked,written", [
    pytest.param(b"", b'"max_output_tokens":100,', id="none: the policy's is written first"),
    pytest.param(b'"max_output_tokens": 101,', b'"max_output_tokens": 100,', id="more: replaced"),
    pytest.param(b'"max_output_tokens": 99,', b'"max_output_tokens": 99,', id="less: untouched"),
])
def test_output_cap_of_the_policy_is_written_into_the_request(lab, asked, written):
    lab.change_rules(policies=strictly(PLENTY))
    rest = b' "model": "gpt-5.5",\n"stream": true, "input": "max_output_tokens" }'
    assert post(lab, b"{" + asked + rest).status == 200
    expected = hashlib.sha256(b"{" + written + rest).hexdigest()
    assert lab.mock_seen(method="POST")[-1]["body_sha256"] == expected


# ---- what clients are told

def test_every_answer_says_how_far_the_limit_is_used(lab):
    lab.change_rules(policies=engineering({"per": "user", "requests": 4, "window": "24h"}))
    said = []
    for _ in range(5):
        answer = post(lab, body_of())
        said.append((answer.status, answer.headers["x-codex-primary-used-percent"]))
        assert answer.headers["x-codex-primary-window-minutes"] == "1440"
        reset = int(answer.headers["x-codex-primary-reset-at"])
        assert reset <= time.time() + 86400 + 900
    # A head comes before what its request takes.
    assert [status for status, _ in said] == [200] * 4 + [429]
    assert [float(percent) for _, percent in said] == [0, 25, 50, 75, 100]


def test_user_without_limits_is_told_of_none(lab):
    answer = post(lab, body_of(CONTRACTOR_MODEL), "bob")
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("x-codex-primary")]
