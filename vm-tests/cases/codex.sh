# shellcheck shell=sh
# The real Codex CLI behind the kernel's WireGuard: a tool turn through tollgated, with the keys of
# both its sides in the kernel, to a provider of its own; what it used is what the provider said.

. /gateway.sh
provider_lines='websocket = true
connect_to = "10.98.0.2:443"
ca_file = "/run/gw/ca.pem"'
codex_seconds=300

provider() {
  set -e
  leaf provider DNS:api.provider.test
  ip netns add provider
  ip link add provider0 netns gateway type veth peer name up0 netns provider
  ip -n gateway address add 10.98.0.1/24 dev provider0
  ip -n gateway link set provider0 up
  ip -n provider address add 10.98.0.2/24 dev up0
  ip -n provider link set up0 up
  in_netns provider python3 /tollgate_lab/mock_provider.py --listen 10.98.0.2:443 \
    --cert /run/gw/provider.pem --private-key /run/gw/provider.key --log /run/mock.jsonl \
    --api-key-file /run/gw/key >/run/mock.log 2>&1 &
  echo $! >/run/mock.pid
  tries=$((wait_seconds * 5))
  until grep -q ready /run/mock.log; do
    tries=$((tries - 1))
    if ! kill -0 "$(cat /run/mock.pid)" || [ $tries -eq 0 ]; then
      tail -n 5 /run/mock.log
      return 1
    fi
    usleep 200000
  done
}

home() {
  set -e
  mkdir -p /run/alice/.codex /run/alice/work /dev/pts
  mount -t devpts devpts /dev/pts
  echo '10.99.0.1 gateway.test' >>/etc/hosts
  cat >/run/alice/.codex/config.toml <<TOML
model_provider = "tollgate"
model = "gpt-5.5"
check_for_update_on_startup = false
[model_providers.tollgate]
name = "Tollgate"
base_url = "https://gateway.test/v1"
wire_api = "responses"
[analytics]
enabled = false
[features]
plugins = false
TOML
  env -i /tollgate/codex --version >/run/remark
}

codex_exec() {
  cd /run/alice/work || return 1
  in_netns alice env -i HOME=/run/alice CODEX_HOME=/run/alice/.codex PATH=/usr/bin:/bin \
    CODEX_CA_CERTIFICATE=/run/gw/ca.pem TERM=xterm LANG=C.UTF-8 \
    timeout -k 5 $codex_seconds /tollgate/codex exec --skip-git-repo-check --json "$@"
}

# The first request asks for a command, the second brings what it printed.
tool_turn() {
  codex_exec "$@" --dangerously-bypass-approvals-and-sandbox \
    'go mock:{"kind":"tool","cmd":"echo made-$((40+2))"}' >/run/turn 2>/run/turn.error || {
    cat /run/turn /run/turn.error
    return 1
  }
  cat /run/turn
  grep -q '"aggregated_output":"made-42\\n","exit_code":0' /run/turn &&
    grep -q '"type":"turn.completed"' /run/turn
}

# Both sides of the comparison by Python: the mock's log has a line for each exchange.
cat >/run/compare.py <<'PYTHON'
import json, subprocess, sys
said = [json.loads(line) for line in open("/run/mock.jsonl")]
said = [each for each in said if each.get("method") == "POST"]
records = [json.loads(line) for line in open("/run/records") if line.strip().startswith("{")]
def of_provider(each):
    usage = each["usage"]
    return (each["response_id"], usage["input_tokens"],
            usage["input_tokens_details"]["cached_tokens"], usage["output_tokens"],
            usage["output_tokens_details"]["reasoning_tokens"])
def of_gateway(each):
    return (each["response_id"], each["input_tokens"], each["cached_tokens"],
            each["output_tokens"], each["reasoning_tokens"])
print("provider", sorted(map(of_provider, said)))
print("gateway ", sorted(map(of_gateway, records)))
assert [each["scenario"]["kind"] for each in said] == ["tool", "text"], said
assert all(each["outcome"] == "completed" and not each["estimated"] for each in records), records
sys.exit(sorted(map(of_provider, said)) != sorted(map(of_gateway, records)))
PYTHON

usage_is_the_providers() {
  control usage records --json >/run/records || return 1
  cat /run/records
  python3 /run/compare.py
}

# kernel_count NAME: a line of the gateway's /proc/net/tls_stat.
kernel_count() { in_netns gateway awk -v name="$1" '$1 == name { print $2 }' /proc/net/tls_stat; }

# What status says of both sides, and what the kernel counted, are the same; no connection stayed
# in userspace. The probe's own sockets were counted before the client came.
paths_agree() {
  control status --json >/run/status || return 1
  {
    for name in TlsCurrTxSw TlsCurrRxSw TlsTxSw TlsRxSw TlsDecryptError; do
      echo "$name $(kernel_count $name)"
    done
    sed 's/^/before /' /run/tls_stat
  } >/run/counted
  cat /run/counted
  python3 - <<'PYTHON'
import json
tls = json.load(open("/run/status"))["tls"]
print(tls)
counted, before = {}, {}
for words in map(str.split, open("/run/counted")):
    if words[0] == "before":
        before[words[1]] = int(words[2])
    else:
        counted[words[0]] = int(words[1])
sides = tls["client"], tls["upstream"]
assert tls["path"] == "ktls", tls
assert [side["userspace_total"] for side in sides] == [0, 0], tls
assert tls["client"]["ktls_total"] >= 2 and tls["upstream"]["ktls_total"] >= 1, tls
for way in "tx", "rx":
    sw = f"Tls{{}}{way.capitalize()}Sw"
    assert counted[sw.format("Curr")] == sum(side[f"ktls_{way}"] for side in sides), (way, counted)
    made = counted[sw.format("")] - before[sw.format("")]
    assert made == sum(side["ktls_total"] for side in sides), (way, made)
assert counted["TlsDecryptError"] == 0, counted
with open("/run/remark", "w") as remark:
    print({side: tls[side] for side in ("client", "upstream")}, file=remark)
PYTHON
}

# The same by WebSocket, on both sides and in the kernel's records; the third message warms up.
websocket_turn() {
  tool_turn -c model_providers.tollgate.supports_websockets=true || return 1
  control usage records --json | grep '"WS /v1/responses"' >/run/messages
  wc -l </run/messages | tee /run/remark
  [ "$(wc -l </run/messages)" -eq 3 ] && [ "$(grep -c '"outcome":"completed"' /run/messages)" -eq 3 ] &&
    [ "$(kernel_count TlsDecryptError)" -eq 0 ] &&
    control status --json | python3 -c 'import json, sys
tls = json.load(sys.stdin)["tls"]
print(tls)
sys.exit(any(tls[side]["userspace_total"] for side in ("client", "upstream")))'
}

down() {
  kill "$(cat /run/mock.pid)"
  stops
}

if [ -x /tollgate/codex ]; then
  modprobe wireguard
  check codex.tunnel tunnel 2 alice
  modprobe tls
  check codex.gateway_starts starts "$provider_lines" 'tls = "ktls"'
  in_netns gateway cat /proc/net/tls_stat >/run/tls_stat
  check codex.provider_starts provider
  check codex.client_runs home
  check codex.tool_turn tool_turn
  check codex.usage_is_the_providers usage_is_the_providers
  check codex.kernel_has_the_keys paths_agree
  check codex.websocket_turn websocket_turn
  check codex.gateway_stops down
  no_tunnel alice provider
else
  report codex skip "no client: tests/integration/lab install-codex" 0
fi
