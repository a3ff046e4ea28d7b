"""The gateways that are compared, and how each is configured: one worker, TLS 1.3 in, the upstream
key injected, no buffering, connections to the upstream kept open and its certificate verified."""
from dataclasses import dataclass, field
from typing import Callable, List, Optional

from harness import tollgate
from harness.workplace import command_path

KEY = "sk-upstream-0123456789abcdef"

NGINX = """worker_processes 1;
worker_rlimit_nofile 20000;
pid {dir}/{name}.pid;
error_log {dir}/{name}.err warn;
daemon off;
events {{ worker_connections 18000; }}
http {{
  access_log off;
  client_body_temp_path {dir}/{name}-body; proxy_temp_path {dir}/{name}-proxy;
  fastcgi_temp_path {dir}/{name}-fastcgi; uwsgi_temp_path {dir}/{name}-uwsgi;
  scgi_temp_path {dir}/{name}-scgi;
  keepalive_requests 10000000; keepalive_timeout 300s;
  upstream provider {{
    server 127.0.0.1:{upstream}; keepalive 2048;
    keepalive_requests 10000000; keepalive_timeout 300s;
  }}
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096;
    ssl_certificate {certificate}; ssl_certificate_key {private_key}; ssl_protocols TLSv1.3;
    {tickets}
    ssl_buffer_size 16k;
    client_max_body_size 64m; client_body_buffer_size 128k;
    location / {{
      proxy_pass {scheme}://provider; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_ssl_server_name on; proxy_ssl_name localhost; proxy_ssl_protocols TLSv1.3;
      proxy_ssl_verify on; proxy_ssl_trusted_certificate {certificate};
      proxy_set_header Authorization "Bearer {key}";
      proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 300s;
    }}
  }}
}}
"""
TICKETS = "ssl_session_cache shared:S:10m;"
NO_TICKETS = "ssl_session_cache off; ssl_session_tickets off;"

HAPROXY = """global
  nbthread 1
  maxconn 8000
  ssl-default-bind-options ssl-min-ver TLSv1.3
  tune.ssl.cachesize 20000
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  option http-no-delay
  option http-keep-alive
  http-reuse always
frontend clients
  bind 127.0.0.1:{port} ssl crt {both} alpn http/1.1
  http-request set-header Authorization "Bearer {key}"
  default_backend provider
backend provider
  server mock 127.0.0.1:{upstream} pool-max-conn 4096 {server_tls}
"""
HAPROXY_TLS = "ssl verify required ca-file {certificate} verifyhost localhost sni str(localhost)"


@dataclass
class Peer:
    name: str
    command: Optional[Callable] = None  # (workplace, values) -> argument list; None: no gateway
    upstream_tls: bool = False
    sends_key: bool = False  # the client does: this peer injects nothing
    needs: List[str] = field(default_factory=list)
    ours: bool = False
    by_default: bool = True

    @property
    def family(self):
        """'-uptls' is compared with '-uptls', plain with plain."""
        return "-uptls" if self.upstream_tls else ""


def nginx(tickets):
    def command(place, values):
        values = dict(values, tickets=tickets,
                      scheme="https" if values["upstream_tls"] else "http")
        conf = place.write(values["name"] + ".conf", NGINX.format(**values), secret=True)
        errors = "%s/%s.err" % (place.folder, values["name"])
        return [command_path("nginx"), "-e", errors, "-c", conf]
    return command


def haproxy(place, values):
    tls = HAPROXY_TLS.format(**values) if values["upstream_tls"] else ""
    conf = place.write(values["name"] + ".conf", HAPROXY.format(server_tls=tls, **values),
                       secret=True)
    return [command_path("haproxy"), "-db", "-f", conf]


def floor(place, values):
    command = [place.tool("bench_floor"), "--listen", "127.0.0.1:%d" % values["port"],
               "--upstream", "127.0.0.1:%d" % values["upstream"],
               "--certificate", values["certificate"], "--private-key", values["private_key"]]
    return command + (["--upstream-tls"] if values["upstream_tls"] else [])


def both_ways(name, **kwargs):
    return [Peer(name, upstream_tls=False, **kwargs),
            Peer(name + "-uptls", upstream_tls=True, **kwargs)]


PEERS = {p.name: p for p in [
    Peer("direct", upstream_tls=True, sends_key=True),
    *both_ways("floor", command=floor, sends_key=True),
    *both_ways("nginx-1.22", command=nginx(TICKETS), needs=["nginx"]),
    *both_ways("haproxy-2.6", command=haproxy, needs=["haproxy"]),
    *both_ways("tollgate", command=tollgate.command, ours=True),
    Peer("nginx-1.22-notickets", command=nginx(NO_TICKETS), needs=["nginx"], by_default=False),
]}
