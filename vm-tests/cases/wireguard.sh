# shellcheck shell=sh
# tollgated behind the kernel's own WireGuard: peers it knows are served, others are told.

models=/v1/models
wait_seconds=60

# in_netns NAME COMMAND...: `ip netns exec` would mount a fresh /sys over the bpffs.
in_netns() {
  netns=$1
  shift
  nsenter --net="/run/netns/$netns" "$@"
}

# peer NUMBER NAME: a namespace with a tunnel to the gateway's wg0.
peer() {
  ip netns add "$2"
  ip link add "under$1" netns gateway type veth peer name under0 netns "$2"
  ip -n gateway address add "10.97.$1.1/24" dev "under$1"
  ip -n gateway link set "under$1" up
  ip -n "$2" address add "10.97.$1.2/24" dev under0
  ip -n "$2" link set under0 up
  wg genkey >"/run/$2.key"
  ip -n "$2" link add wg0 type wireguard
  in_netns "$2" wg set wg0 private-key "/run/$2.key" peer "$(wg pubkey </run/gateway.key)" \
    endpoint "10.97.$1.1:51820" allowed-ips 10.99.0.1/32,fd99::1/128
  ip -n "$2" address add "10.99.0.$1/32" dev wg0
  ip -n "$2" address add "fd99::$1/128" dev wg0 nodad
  ip -n "$2" link set wg0 up
  ip -n "$2" route add 10.99.0.1/32 dev wg0
  ip -n "$2" route add fd99::1/128 dev wg0
  in_netns gateway wg set wg0 peer "$(wg pubkey <"/run/$2.key")" \
    allowed-ips "10.99.0.$1/32,fd99::$1/128"
  ip -n gateway route add "10.99.0.$1/32" dev wg0
  ip -n gateway route add "fd99::$1/128" dev wg0
}

tunnel() {
  set -e
  umask 077
  ip netns add gateway
  ip -n gateway link set lo up
  wg genkey >/run/gateway.key
  ip -n gateway link add wg0 type wireguard
  in_netns gateway wg set wg0 listen-port 51820 private-key /run/gateway.key
  ip -n gateway address add 10.99.0.1/32 dev wg0
  ip -n gateway address add fd99::1/128 dev wg0 nodad
  ip -n gateway link set wg0 up
  peer 2 alice
  peer 66 mallory
}

configure() {
  set -e
  umask 027
  mkdir -p /run/gw/state /run/gw/run
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=gateway \
    -addext subjectAltName=IP:10.99.0.1,IP:fd99::1 -keyout /run/gw/key.pem -out /run/gw/cert.pem
  echo sk-vm-test >/run/gw/provider.key
  cat >/run/gw/tollgate.toml <<TOML
[gateway]
listen = ["10.99.0.1:443", "[fd99::1]:443"]
tunnels = ["wg0"]
certificate = "/run/gw/cert.pem"
private_key = "/run/gw/key.pem"
contact = "ask #ai-platform"
state_dir = "/run/gw/state"
run_dir = "/run/gw/run"
price_file = "/tollgate/prices.json"
user = "nobody"
bpffs = "/sys/fs/bpf"
steering = "bpf"
io = "io_uring"
workers = 2
[[provider]]
name = "openai"
base_url = "https://api.provider.test/v1"
connect_to = "127.0.0.1:9"
keys = [{ name = "main", file = "/run/gw/provider.key" }]
[[group]]
name = "engineering"
members = ["alice@example.com"]
[[peer]]
address = "10.99.0.2"
user = "alice@example.com"
[[peer]]
address = "fd99::2"
user = "alice@example.com"
[[policy]]
name = "engineering-codex"
groups = ["engineering"]
provider = "openai"
models = ["gpt-5.5"]
TOML
  chown nobody /run/gw/state /run/gw/run
  chgrp -R nogroup /run/gw
  chmod 0640 /run/gw/key.pem
}

control() { /tollgate/tollgate --socket /run/gw/run/admin.sock "$@"; }

status_line() { control status --json | tr -d '\n'; }

starts() {
  configure
  in_netns gateway /tollgate/tollgated --config /run/gw/tollgate.toml >/run/gw/log 2>&1 &
  pid=$!
  echo $pid >/run/gw/pid
  tries=$((wait_seconds * 5))
  until control status >/dev/null 2>&1; do
    tries=$((tries - 1))
    if ! kill -0 $pid || [ $tries -eq 0 ]; then
      tail -n 5 /run/gw/log
      return 1
    fi
    usleep 200000
  done
  status_line | grep -q '"mode": *"bpf"' || {
    status_line
    return 1
  }
}

# ask NAME HOST: the answer's body and, in a line of its own, its status.
ask() {
  in_netns "$1" curl -sS --max-time 60 --cacert /run/gw/cert.pem -w '\n%{http_code}\n' \
    "https://$2$models"
}

# answers NAME HOST STATUS TEXT: what a request gets, as said.
answers() {
  ask "$1" "$2" >/run/answer || return 1
  tr '\n' ' ' </run/answer
  [ "$(tail -n 1 /run/answer)" = "$3" ] && grep -qF "$4" /run/answer
}

# Nothing but the kernel's programs can have counted these.
steered() {
  status_line >/run/status
  cat /run/status
  for counter in steer.assigned identify.tagged; do
    grep -Eq "\"$counter\": *[1-9]" /run/status || {
      echo "; $counter is zero"
      return 1
    }
  done
}

# Another source than the peer's own does not come out of the tunnel at all: a silence, while the
# peer's own address is still answered.
forged() {
  ip -n mallory address add 10.99.0.2/32 dev wg0
  in_netns mallory curl -sS --max-time 3 --interface 10.99.0.2 --cacert /run/gw/cert.pem \
    "https://10.99.0.1$models"
  status=$?
  [ $status -eq 28 ] || {
    echo "curl as 10.99.0.2 ended with $status, not with a timeout"
    return 1
  }
  answers mallory 10.99.0.1 400 10.99.0.66
}

stops() {
  kill -TERM "$(cat /run/gw/pid)" || return 1
  tries=$((wait_seconds * 5))
  while kill -0 "$(cat /run/gw/pid)" 2>/dev/null; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { echo "still runs"; return 1; }
    usleep 200000
  done
  cat /run/gw/log
  /tollgate/tollgated --uninstall /run/gw/tollgate.toml
}

modprobe wireguard
check wireguard.tunnel tunnel
check wireguard.daemon_starts starts
check wireguard.known_peer_v4 answers alice 10.99.0.1 200 gpt-5.5
check wireguard.known_peer_v6 answers alice '[fd99::1]' 200 gpt-5.5
check wireguard.unknown_peer_v4 answers mallory 10.99.0.1 400 10.99.0.66
check wireguard.unknown_peer_v6 answers mallory '[fd99::1]' 400 fd99::66
check wireguard.steered_by_bpf steered
check wireguard.forged_source forged
check wireguard.daemon_stops stops
