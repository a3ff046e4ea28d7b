# shellcheck shell=sh
# Packets for a provider's own addresses, routed into the kernel's WireGuard: intercepted while
# tollgated runs, refused while it does not, and never at the provider until all is uninstalled.

. /gateway.sh
host=api.openai.com
v4=198.51.100.7
v6=2001:db8:7::7
folder=/run/intercept
wait_seconds=60

# A provider behind the gateway, which forwards to it, and counts there of what comes from peers.
provider() {
  ip netns add up
  ip link add up0 netns gw type veth peer name up0 netns up
  ip -n gw address add 10.98.0.1/24 dev up0
  ip -n gw address add fd98::1/64 dev up0 nodad
  ip -n gw link set up0 up
  ip -n up link set lo up
  ip -n up address add 10.98.0.2/24 dev up0
  ip -n up address add fd98::2/64 dev up0 nodad
  ip -n up link set up0 up
  ip -n up address add $v4/32 dev lo
  ip -n up address add $v6/128 dev lo
  ip -n up route add default via 10.98.0.1
  ip -n up -6 route add default via fd98::1
  ip -n gw route add 198.51.100.0/24 via 10.98.0.2
  ip -n gw -6 route add 2001:db8:7::/48 via fd98::2
  in_netns gw sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
  in_netns up nft -f - <<NFT
table inet arrivals {
 counter tcp4 { }
 counter tcp6 { }
 counter udp4 { }
 counter udp6 { }
 chain prerouting {
  type filter hook prerouting priority filter; policy accept;
  ip saddr 10.99.0.0/24 ip protocol tcp counter name tcp4
  ip saddr 10.99.0.0/24 ip protocol udp counter name udp4
  ip6 saddr fd99::/64 meta l4proto tcp counter name tcp6
  ip6 saddr fd99::/64 meta l4proto udp counter name udp6
 }
}
NFT
}

tunnel() {
  set -e
  umask 077
  mkdir -p $folder
  ip netns add gw
  ip netns add dev
  ip -n gw link set lo up
  ip link add under0 netns gw type veth peer name under0 netns dev
  ip -n gw address add 10.97.2.1/24 dev under0
  ip -n gw link set under0 up
  ip -n dev address add 10.97.2.2/24 dev under0
  ip -n dev link set under0 up
  wg genkey >$folder/gw.key
  wg genkey >$folder/dev.key
  ip -n gw link add wg0 type wireguard
  in_netns gw wg set wg0 listen-port 51820 private-key $folder/gw.key \
    peer "$(wg pubkey <$folder/dev.key)" allowed-ips 10.99.0.2/32,fd99::2/128
  ip -n gw address add 10.99.0.1/32 dev wg0
  ip -n gw address add fd99::1/128 dev wg0 nodad
  ip -n gw link set wg0 up
  ip -n gw route add 10.99.0.2/32 dev wg0
  ip -n gw route add fd99::2/128 dev wg0
  ip -n dev link add wg0 type wireguard
  in_netns dev wg set wg0 private-key $folder/dev.key peer "$(wg pubkey <$folder/gw.key)" \
    endpoint 10.97.2.1:51820 allowed-ips 10.99.0.1/32,fd99::1/128,198.51.100.0/24,2001:db8:7::/48
  ip -n dev address add 10.99.0.2/32 dev wg0
  ip -n dev address add fd99::2/128 dev wg0 nodad
  ip -n dev link set wg0 up
  for to in 10.99.0.1/32 fd99::1/128 198.51.100.0/24 2001:db8:7::/48; do
    ip -n dev route add $to dev wg0
  done
  provider
}

# certificate NAME SUBJECTS
certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
    -addext "subjectAltName=$2" -keyout "$folder/$1-tls.key" -out "$folder/$1.pem"
  chmod 0640 "$folder/$1-tls.key"
}

configure() {
  set -e
  umask 027
  mkdir -p $folder/state $folder/run
  certificate own IP:10.99.0.1,IP:fd99::1
  certificate host DNS:$host
  echo sk-vm-test >$folder/provider.key
  cat >$folder/tollgate.toml <<TOML
[gateway]
listen = ["10.99.0.1:443"]
tunnels = ["wg0"]
certificate = "$folder/own.pem"
private_key = "$folder/own-tls.key"
contact = "ask #ai-platform"
state_dir = "$folder/state"
run_dir = "$folder/run"
price_file = "/tollgate/prices.json"
user = "nobody"
bpffs = "/sys/fs/bpf"
steering = "bpf"
workers = 2
[[provider]]
name = "openai"
base_url = "https://$host/v1"
connect_to = "$v4:443"
keys = [{ name = "main", file = "$folder/provider.key" }]
[[intercept]]
host = "$host"
destinations = ["198.51.100.0/24", "2001:db8:7::/48"]
certificate = "$folder/host.pem"
private_key = "$folder/host-tls.key"
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
  chmod 0755 $folder
  chown nobody $folder/state $folder/run
  chgrp -R nogroup $folder
}

tollgated() { in_netns gw /tollgate/tollgated "$@"; }

starts() {
  # Not in_netns: the shell would be what is killed later.
  nsenter --net=/run/netns/gw /tollgate/tollgated --config $folder/tollgate.toml >$folder/log 2>&1 &
  pid=$!
  echo $pid >$folder/pid
  tries=$((wait_seconds * 5))
  until /tollgate/tollgate --socket $folder/run/admin.sock status --json >/dev/null 2>&1; do
    tries=$((tries - 1))
    if ! kill -0 $pid || [ $tries -eq 0 ]; then
      tail -n 5 $folder/log
      return 1
    fi
    usleep 200000
  done
}

# ends SIGNAL
ends() {
  kill "-$1" "$(cat $folder/pid)" || return 1
  tries=$((wait_seconds * 5))
  while kill -0 "$(cat $folder/pid)" 2>/dev/null; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { echo "still runs"; return 1; }
    usleep 200000
  done
}

# intercepted ADDRESS: a plain request to the provider's name is answered by us.
intercepted() {
  in_netns dev curl -sS --max-time 60 --cacert $folder/host.pem --resolve "$host:443:$1" \
    -w '\n%{http_code}\n' "https://$host/v1/models" >/run/answer || return 1
  tr '\n' ' ' </run/answer
  [ "$(tail -n 1 /run/answer)" = 200 ] && grep -qF gpt-5.5 /run/answer
}

arrivals() { in_netns up nft list counters | awk '/packets/ { printf "%s ", $2 }'; }

# knocks: one TCP connection and one datagram (DTLS) to port 443 in each family.
knocks() {
  for at in $v4 "[$v6]"; do
    in_netns dev curl -sk --max-time 5 "https://$at/"
    echo "tcp $at: $?"
    in_netns dev timeout 3 openssl s_client -dtls1_2 -connect "$at:443" >/dev/null 2>&1
  done
  return 0
}

# closed: as holds, once the kernel has taken down a killed process's ring and listeners.
closed() {
  tries=20
  until holds; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || return 1
    usleep 200000
  done
}

# holds: nothing arrives (or the test ends), and a connection is refused at once (curl's 7), not by a hang (28).
holds() {
  before=$(arrivals)
  knocks >/run/knocks
  cat /run/knocks
  after=$(arrivals)
  [ "$before" = "$after" ] || { echo "arrived: $after, before: $before"; exit 1; }
  [ "$(grep -c ': 7$' /run/knocks)" -eq 2 ] || { echo "not refused: $(tr '\n' ' ' </run/knocks)"; return 1; }
}

# passes: the control. All four kinds arrive.
passes() {
  before=$(arrivals)
  knocks
  after=$(arrivals)
  echo "arrived: $after, before: $before"
  # shellcheck disable=SC2086
  set -- $before
  for count in $after; do
    [ "$count" -gt "$1" ] || return 1
    shift
  done
}

# gone: nothing is left in the kernel.
gone() {
  tollgated --uninstall $folder/tollgate.toml || return 1
  left=$(in_netns gw nft list ruleset
    ip -n gw rule | grep 29799
    ip -n gw -6 rule | grep 29799
    ip -n gw route show table 29799 2>/dev/null
    ip -n gw -6 route show table 29799 2>/dev/null
    ls -d "/sys/fs/bpf/tollgate/$(stat -Lc %i /run/netns/gw)" 2>/dev/null)
  [ -z "$left" ] || { echo "left: $left"; return 1; }
}

modprobe wireguard
check intercept.tunnel tunnel
check intercept.configured configure
check intercept.control_before passes
check intercept.installed tollgated --install $folder/tollgate.toml
check intercept.not_yet_started holds
check intercept.starts starts
check intercept.v4 intercepted $v4
check intercept.v6 intercepted "[$v6]"
check intercept.stops ends TERM
check intercept.stopped closed
check intercept.starts_again starts
check intercept.v4_again intercepted $v4
check intercept.is_killed ends KILL
check intercept.killed closed
check intercept.uninstalled gone
check intercept.control_after passes
