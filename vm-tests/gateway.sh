# shellcheck shell=sh
# tollgated behind the kernel's WireGuard, with clients in namespaces of their own: for cases.

# An emulated guest beside other work took 50 s for what takes two.
wait_seconds=180

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

# tunnel NUMBER NAME...: the gateway's namespace with wg0, and these clients.
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
  while [ $# -gt 0 ]; do
    peer "$1" "$2"
    shift 2
  done
}

make_certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -config /run/gw/openssl.cnf "$@"
}

authority() {
  printf '[req]\ndistinguished_name = name\n[name]\n' >/run/gw/openssl.cnf
  make_certificate -subj /CN=authority -addext basicConstraints=critical,CA:TRUE \
    -keyout /run/gw/ca.key -out /run/gw/ca.pem
}

# leaf NAME ALTERNATIVE_NAMES: an authority's own certificate is no server's, says Codex.
leaf() {
  make_certificate -subj "/CN=$1" -CA /run/gw/ca.pem -CAkey /run/gw/ca.key \
    -addext basicConstraints=critical,CA:FALSE -addext "subjectAltName=$2" \
    -keyout "/run/gw/$1.key" -out "/run/gw/$1.pem"
}

# configure PROVIDER_LINES [GATEWAY_LINES]: /run/gw, for alice alone.
configure() {
  set -e
  umask 027
  mkdir -p /run/gw/state /run/gw/run
  authority
  leaf gateway DNS:gateway.test,IP:10.99.0.1,IP:fd99::1
  echo sk-vm-test >/run/gw/key
  cat >/run/gw/tollgate.toml <<TOML
[gateway]
listen = ["10.99.0.1:443", "[fd99::1]:443"]
tunnels = ["wg0"]
certificate = "/run/gw/gateway.pem"
private_key = "/run/gw/gateway.key"
contact = "ask #ai-platform"
state_dir = "/run/gw/state"
run_dir = "/run/gw/run"
price_file = "/tollgate/prices.json"
user = "nobody"
bpffs = "/sys/fs/bpf"
steering = "bpf"
io = "io_uring"
workers = 2
$2
[[provider]]
name = "openai"
base_url = "https://api.provider.test/v1"
$1
keys = [{ name = "main", file = "/run/gw/key" }]
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
websocket = true
TOML
  chown nobody /run/gw/state /run/gw/run
  chgrp -R nogroup /run/gw
  chmod 0640 /run/gw/gateway.key
}

control() { /tollgate/tollgate --socket /run/gw/run/admin.sock "$@"; }

status_line() { control status --json | tr -d '\n'; }

# starts PROVIDER_LINES [GATEWAY_LINES]
starts() {
  configure "$@"
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

stops() {
  kill -TERM "$(cat /run/gw/pid)" || return 1
  tries=$((wait_seconds * 5))
  while kill -0 "$(cat /run/gw/pid)" 2>/dev/null; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { echo "still runs"; return 1; }
    usleep 200000
  done
  cat /run/gw/log
  /tollgate/tollgated --uninstall /run/gw/tollgate.toml && rm -r /run/gw
}

# no_tunnel NAME...: a later case makes its own.
no_tunnel() {
  for netns in gateway "$@"; do
    ip netns del "$netns"
  done
}
