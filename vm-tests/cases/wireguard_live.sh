# shellcheck shell=sh
# Who WireGuard's peers are, followed while tollgated runs: keys and addresses that come, go and
# change hands, a client that roams, an interface that goes and comes back.

. /gateway.sh
models=/v1/models
toml=/run/gw/tollgate.toml

key_of() { wg pubkey <"/run/$1.key"; }

gateway_wg() { in_netns gateway wg set wg0 "$@"; }

# The JSON list of peers, one a line.
rows() { control peers --json | tr -d '\n ' | sed 's/},{/}\n{/g'; }

# id_at ADDRESS: the id of whoever has it, with the generation; nothing when nobody has.
id_at() {
  rows | grep -F "\"address\":\"$1\"" | grep -F '"problem":""' |
    sed 's/.*"generation":\([0-9]*\).*"peer_id":\([0-9]*\).*/\2.\1/'
}

# within SECONDS COMMAND...: until it succeeds; how long it took goes into the remark.
within() {
  began=$(now_ms)
  limit=$(($1 * 1000))
  shift
  until "$@" >/run/tried 2>&1; do
    [ $(($(now_ms) - began)) -lt $limit ] || {
      rows
      status_line
      cat /run/tried
      echo "not within $limit ms: $*"
      return 1
    }
    usleep 20000
  done
  echo "$(($(now_ms) - began)) ms" >/run/remark
}

known() { [ -n "$(id_at "$1")" ]; }
unknown() { [ -z "$(id_at "$1")" ]; }
other_than() { known "$1" && [ "$(id_at "$1")" != "$2" ]; }
told() { status_line | grep -qF "$1"; }

ask() {
  in_netns "$1" curl -sS --max-time 60 --cacert /run/gw/ca.pem -w '\n%{http_code}\n' \
    --interface "$2" "https://10.99.0.1$models"
}

# answers NAME SOURCE STATUS TEXT
answers() {
  ask "$1" "$2" >/run/answer || return 1
  tr '\n' ' ' </run/answer
  [ "$(tail -n 1 /run/answer)" = "$3" ] && grep -qF "$4" /run/answer
}

# A provider that speaks for as long as /run/speak is there; plain http, as it is on loopback.
provider() {
  set -e
  cat >/run/speak.sh <<'SCRIPT'
#!/bin/sh
while read -r name value && [ "$name" != "$(printf '\r')" ]; do
  case $name in [Cc]ontent-[Ll]ength:) length=${value%?} ;; esac
done
head -c "$length" >/dev/null
printf 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n'
printf 'event: response.created\ndata: {"type":"response.created","response":{"id":"r"}}\n\n'
while [ -e /run/speak ]; do
  printf 'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"x"}\n\n'
  usleep 100000
done
printf 'event: response.completed\ndata: {"type":"response.completed","response":{"id":"r","usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}}\n\n'
SCRIPT
  chmod +x /run/speak.sh
  in_netns gateway busybox nc -ll -p 9000 -e /run/speak.sh >/run/nc.log 2>&1 &
  echo $! >/run/nc.pid
}

# peers TOML_LINES: the [[peer]]s from here on, by a reload.
peers() {
  sed -i 's|^base_url.*|base_url = "http://127.0.0.1:9000/v1"|; /^connect_to/d
    s|^members.*|members = ["alice@example.com", "bob@example.com"]|
    /^\[\[peer\]\]/,/^user/d' $toml
  printf '%s\n' "$1" >>$toml
  control reload
}

by_key() {
  printf '[[peer]]\npublic_key = "%s"\n%s\nuser = "%s@example.com"\n' "$(key_of "$1")" "$2" "$1"
}

alice_by_address='[[peer]]
address = "10.99.0.2"
user = "alice@example.com"'

# The key of an address alone is the tunnel's word, and shown.
key_is_shown() {
  rows | grep -F '"address":"10.99.0.2"' | grep -qF "\"public_key\":\"$(key_of alice)\""
}

nobody_yet() {
  gateway_wg peer "$(key_of bob)" remove
  peers "$alice_by_address
$(by_key bob)" && within 10 told 'wg0 has no peer with that key'
}

added() {
  gateway_wg peer "$(key_of bob)" allowed-ips 10.99.0.3/32 endpoint 10.97.3.2:"$(
    in_netns bob wg show wg0 listen-port)"
  within 10 known 10.99.0.3
}

# A stream is open while the client's outer address changes, and ends as if nothing had been.
roams() {
  before=$(id_at 10.99.0.2)
  : >/run/speak
  in_netns alice curl -sSN --max-time 120 --cacert /run/gw/ca.pem -H 'content-type: application/json' \
    -d '{"model":"gpt-5.5","stream":true,"input":"hello"}' https://10.99.0.1/v1/responses \
    >/run/stream 2>&1 &
  stream=$!
  within 30 grep -q delta /run/stream || return 1
  ip -n alice address add 10.97.2.9/24 dev under0
  ip -n alice address del 10.97.2.2/24 dev under0
  ip -n alice address add 10.97.2.9/24 dev under0 2>/dev/null
  in_netns alice ip route get 10.97.2.1
  # Something of the client's must come from there: an acknowledgement does.
  within 30 roamed || return 1
  rm /run/speak
  wait $stream || { tail -n 3 /run/stream; return 1; }
  grep -q response.completed /run/stream && [ "$(id_at 10.99.0.2)" = "$before" ] || {
    echo "was $before, is $(id_at 10.99.0.2)"
    return 1
  }
}
roamed() { rows | grep -qF '"endpoint":"10.97.2.9:'; }

# The address by itself is still alice's, the machine behind it is another one.
rekeyed() {
  before=$(id_at 10.99.0.2)
  gateway_wg peer "$(key_of mallory)" allowed-ips 10.99.0.2/32,10.99.0.66/32
  within 10 other_than 10.99.0.2 "$before" || return 1
  before=$(id_at 10.99.0.2)
  gateway_wg peer "$(key_of alice)" allowed-ips 10.99.0.2/32
  within 10 other_than 10.99.0.2 "$before"
}

# An address that goes to another key is not bob's, whoever sends from it.
taken_over() {
  gateway_wg peer "$(key_of mallory)" allowed-ips 10.99.0.3/32
  ip -n mallory address add 10.99.0.3/32 dev wg0
  within 10 unknown 10.99.0.3 || return 1
  answers mallory 10.99.0.3 400 10.99.0.3
}

removed() {
  gateway_wg peer "$(key_of bob)" remove
  within 10 told 'wg0 has no peer with that key' && unknown 10.99.0.3
}

down_and_up() {
  ip -n gateway link set wg0 down
  within 10 told 'wg0 is down' && unknown 10.99.0.2 || return 1
  ip -n gateway link set wg0 up
  ip -n gateway route add 10.99.0.2/32 dev wg0
  within 10 known 10.99.0.2 && answers alice 10.99.0.2 200 gpt-5.5
}

made_again() {
  in_netns gateway wg showconf wg0 >/run/wg0.conf
  ip -n gateway link del wg0
  within 10 told 'wg0 does not exist' && unknown 10.99.0.2 || return 1
  ip -n gateway link add wg0 type wireguard
  in_netns gateway wg setconf wg0 /run/wg0.conf
  ip -n gateway address add 10.99.0.1/32 dev wg0
  ip -n gateway link set wg0 up
  ip -n gateway route add 10.99.0.2/32 dev wg0
  within 10 known 10.99.0.2 && answers alice 10.99.0.2 200 gpt-5.5
}

prefix() {
  gateway_wg peer "$(key_of mallory)" allowed-ips 10.99.7.0/24
  ip -n gateway route add 10.99.7.0/24 dev wg0
  ip -n mallory address add 10.99.7.7/32 dev wg0
  ip -n mallory address add 10.99.7.8/32 dev wg0
  peers "$alice_by_address
$(by_key mallory | sed s/mallory@/bob@/)" && within 10 told 'prefix_is_one_user = true' || return 1
  answers mallory 10.99.7.7 400 10.99.7.7 || return 1
  peers "$alice_by_address
$(by_key mallory 'prefix_is_one_user = true' | sed s/mallory@/bob@/)" || return 1
  within 10 known 10.99.7.0/24 && answers mallory 10.99.7.7 200 gpt-5.5 &&
    answers mallory 10.99.7.8 200 gpt-5.5
}

# /run/gw/pid is the shell's that began it.
gateway_pid() { status_line | sed 's/.*"pid": *\([0-9]*\).*/\1/'; }

watch_pid() {
  parent=$(gateway_pid)
  for status in /proc/[0-9]*/status; do
    grep -q "^PPid:.$parent\$" "$status" 2>/dev/null || continue
    status=${status%/status}
    echo "${status#/proc/}"
  done
}

# Who can read WireGuard has nothing else; who talks to strangers has not even that.
privileges() {
  watch=$(watch_pid)
  grep -E '^(Uid|Cap(Prm|Eff|Inh|Amb)|NoNewPrivs)' "/proc/$watch/status"
  grep -q '^CapEff:.0000000000001000$' "/proc/$watch/status" &&
    grep -q '^CapPrm:.0000000000001000$' "/proc/$watch/status" &&
    grep -q '^Uid:.65534' "/proc/$watch/status" && grep -q '^NoNewPrivs:.1' "/proc/$watch/status" &&
    grep -q '^CapEff:.0000000000000000$' "/proc/$(gateway_pid)/status"
}

# Without the one that reads, nobody is known for long, and the status says what to do.
watch_dies() {
  kill -9 "$(watch_pid)"
  within 10 told 'restart tollgated' && known 10.99.0.2 || return 1
  within 60 unknown 10.99.0.2 && answers alice 10.99.0.2 400 10.99.0.2
}

down() {
  kill "$(cat /run/nc.pid)"
  stops
}

modprobe wireguard
check wireguard_live.tunnel tunnel 2 alice 3 bob 66 mallory
check wireguard_live.daemon_starts starts 'connect_to = "127.0.0.1:9"'
check wireguard_live.provider_starts provider
check wireguard_live.key_of_an_address_is_shown within 30 key_is_shown
check wireguard_live.least_privilege privileges
check wireguard_live.key_without_peer_is_told nobody_yet
check wireguard_live.peer_added_is_known added
check wireguard_live.peer_added_is_served answers bob 10.99.0.3 200 gpt-5.5
check wireguard_live.roaming_changes_nothing roams
check wireguard_live.another_key_is_somebody_new rekeyed
check wireguard_live.address_taken_over_is_nobody taken_over
check wireguard_live.peer_removed_is_nobody removed
check wireguard_live.down_and_up down_and_up
check wireguard_live.made_again made_again
check wireguard_live.prefix_is_nobody_or_one_user prefix
check wireguard_live.without_its_watch watch_dies
check wireguard_live.daemon_stops down
no_tunnel alice bob mallory
