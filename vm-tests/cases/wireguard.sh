# shellcheck shell=sh
# tollgated behind the kernel's own WireGuard: peers it knows are served, others are told.

. /gateway.sh
models=/v1/models

# ask NAME HOST: the answer's body and, in a line of its own, its status.
ask() {
  in_netns "$1" curl -sS --max-time 60 --cacert /run/gw/ca.pem -w '\n%{http_code}\n' \
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
  in_netns mallory curl -sS --max-time 3 --interface 10.99.0.2 --cacert /run/gw/ca.pem \
    "https://10.99.0.1$models"
  status=$?
  [ $status -eq 28 ] || {
    echo "curl as 10.99.0.2 ended with $status, not with a timeout"
    return 1
  }
  answers mallory 10.99.0.1 400 10.99.0.66
}

modprobe wireguard
check wireguard.tunnel tunnel 2 alice 66 mallory
check wireguard.daemon_starts starts 'connect_to = "127.0.0.1:9"'
check wireguard.known_peer_v4 answers alice 10.99.0.1 200 gpt-5.5
check wireguard.known_peer_v6 answers alice '[fd99::1]' 200 gpt-5.5
check wireguard.unknown_peer_v4 answers mallory 10.99.0.1 400 10.99.0.66
check wireguard.unknown_peer_v6 answers mallory '[fd99::1]' 400 fd99::66
check wireguard.steered_by_bpf steered
check wireguard.forged_source forged
check wireguard.daemon_stops stops
no_tunnel alice mallory
