/* Writes who is at the other end into the socket, when the handshake ends and before the proxy can
 * accept it, and reports each flow's begin and end.
 *
 * Attached to the proxy's own cgroup: other services are untouched. A sock_ops verdict cannot close
 * a connection, so every doubt leaves the socket without a tag: nobody, whom the proxy refuses. */
#include "count.bpf.h"

#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

/* Two daemons of different namespaces can share a cgroup, and interface numbers mean nothing
 * outside their namespace. Set by the loader. */
const volatile __u64 netns_cookie = 0;

/* Peers of one moment. Two of these take turns: userspace fills the idle one, then stores it in
 * the single slot of `peers`. That store returns only when no program uses the former one. */
struct peer_set {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, TG_PEERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tg_peer_key);
	__type(value, struct tg_peer_tag);
} peers_a SEC(".maps"), peers_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct peer_set);
} peers SEC(".maps") = {
    .values = {&peers_a},
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct tg_flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, TG_EVENT_RING_BYTES);
} events SEC(".maps");

struct flow_ends {
	struct tg_peer_key remote; /* a whole address; ifindex still 0 */
	struct tg_endpoint_key local;
	__u16 remote_port;
};

/* Both ends as keys; false for a family that we do not know. A v4-mapped IPv6 socket is IPv4: the
 * kernel drops packets that carry a mapped source, so nobody can forge one. */
static __always_inline bool ends_of(const struct tcp_sock *tcp, struct flow_ends *ends)
{
	const struct sock_common *sk = &tcp->inet_conn.icsk_inet.sk.__sk_common;
	__u32 *remote = (__u32 *)ends->remote.addr;
	__u32 *local = (__u32 *)ends->local.addr;
	__u32 family = sk->skc_family;
	int i;

	ends->remote.prefix_bits = TG_PEER_PREFIX_BITS + TG_ADDRESS_BYTES * 8;
	ends->local.port = sk->skc_num;
	ends->remote_port = bpf_ntohs(sk->skc_dport);
	if (family == TG_FAMILY_V4) {
		tg_map_v4(ends->remote.addr, sk->skc_daddr);
		tg_map_v4(ends->local.addr, sk->skc_rcv_saddr);
	} else if (family == TG_FAMILY_V6) {
		for (i = 0; i < 4; i++) {
			remote[i] = sk->skc_v6_daddr.in6_u.u6_addr32[i];
			local[i] = sk->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
		}
		if (!remote[0] && !remote[1] && remote[2] == bpf_htonl(0xffff))
			family = TG_FAMILY_V4;
	} else {
		return false;
	}
	ends->remote.family = family;
	ends->local.family = family;
	return true;
}

static __always_inline void emit(struct bpf_sock_ops *ctx, enum tg_event kind,
				 const struct tcp_sock *tcp, const struct flow_ends *ends,
				 const struct tg_flow *flow)
{
	struct tg_flow_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		tg_count(TG_FLOW_RESERVE_FAILED);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->flow_id = bpf_get_socket_cookie(ctx);
	event->monotonic_ns = bpf_ktime_get_ns();
	event->tag = flow->tag;
	event->ifindex = flow->ifindex;
	__builtin_memcpy(event->remote_addr, ends->remote.addr, TG_ADDRESS_BYTES);
	__builtin_memcpy(event->local_addr, ends->local.addr, TG_ADDRESS_BYTES);
	event->remote_port = ends->remote_port;
	event->local_port = ends->local.port;
	event->event = kind;
	if (kind == TG_EVENT_CLOSE || kind == TG_EVENT_UPSTREAM_CLOSE) {
		/* The kernel counts a received FIN as one byte, and repeats in bytes_sent. */
		bool fin = tcp->inet_conn.icsk_inet.sk.__sk_common.skc_flags & (1UL << SOCK_DONE);

		event->bytes_received = tcp->bytes_received - (fin ? 1 : 0);
		event->bytes_sent = tcp->bytes_sent - tcp->bytes_retrans;
		event->srtt_us = tcp->srtt_us >> 3;
	}
	bpf_ringbuf_submit(event, 0);
}

/* The peer behind {ingress interface, family, address}; all zero for nobody. */
static __always_inline struct tg_peer_tag find_peer(const struct tg_peer_key *key)
{
	struct tg_peer_tag nobody = {};
	struct tg_peer_tag *found;
	__u32 slot = 0;
	void *set;

	if (!key->ifindex) {
		tg_count(TG_IDENTIFY_NO_IFINDEX);
		return nobody;
	}
	set = bpf_map_lookup_elem(&peers, &slot);
	if (!set) {
		tg_count(TG_IDENTIFY_NO_PEER_SET);
		return nobody;
	}
	found = bpf_map_lookup_elem(set, key);
	if (!found) {
		tg_count(TG_IDENTIFY_PEER_UNKNOWN);
		return nobody;
	}
	return *found;
}

static __always_inline void on_established(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
					   struct tcp_sock *tcp)
{
	struct flow_ends ends = {};
	struct tg_flow fresh = {};
	struct tg_flow *flow;

	if (!ends_of(tcp, &ends)) {
		tg_count(TG_IDENTIFY_UNKNOWN_FAMILY);
		return;
	}
	if (!bpf_map_lookup_elem(&endpoints, &ends.local) && !tg_is_intercepted(&ends.local)) {
		tg_count(TG_IDENTIFY_NOT_ENDPOINT);
		return;
	}
	ends.remote.ifindex = tcp->inet_conn.icsk_inet.sk.sk_rx_dst_ifindex;
	fresh.ifindex = ends.remote.ifindex;
	fresh.tag = find_peer(&ends.remote);

	flow = bpf_sk_storage_get(&flows, sk, &fresh, BPF_SK_STORAGE_GET_F_CREATE);
	if (!flow) {
		tg_count(TG_IDENTIFY_NO_STORAGE);
		return;
	}
	if (bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG))
		tg_count(TG_IDENTIFY_NO_CALLBACK); /* tagged all the same, but no close event */
	if (fresh.tag.peer_id)
		tg_count(TG_IDENTIFY_TAGGED);
	emit(ctx, fresh.tag.peer_id ? TG_EVENT_OPEN : TG_EVENT_PEER_UNKNOWN, tcp, &ends, &fresh);
}

/* What the daemon connects to: its bytes are matched with what was metered. */
static __always_inline void on_connected(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
					 struct tcp_sock *tcp)
{
	struct tg_flow fresh = {.upstream = 1};
	struct flow_ends ends = {};

	if (!ends_of(tcp, &ends)) {
		tg_count(TG_IDENTIFY_UNKNOWN_FAMILY);
		return;
	}
	if (!bpf_sk_storage_get(&flows, sk, &fresh, BPF_SK_STORAGE_GET_F_CREATE)) {
		tg_count(TG_IDENTIFY_NO_STORAGE);
		return;
	}
	if (bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG))
		tg_count(TG_IDENTIFY_NO_CALLBACK);
	tg_count(TG_IDENTIFY_UPSTREAM);
	emit(ctx, TG_EVENT_UPSTREAM_OPEN, tcp, &ends, &fresh);
}

static __always_inline void on_state(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
				     struct tcp_sock *tcp)
{
	struct flow_ends ends = {};
	struct tg_flow *flow;

	if (ctx->args[1] != BPF_TCP_CLOSE) {
		tg_count(TG_FLOW_OTHER_STATE);
		return;
	}
	flow = bpf_sk_storage_get(&flows, sk, NULL, 0);
	if (!flow || !ends_of(tcp, &ends)) {
		tg_count(TG_FLOW_NOT_OURS);
		return;
	}
	tg_count(TG_FLOW_CLOSED);
	emit(ctx, flow->upstream ? TG_EVENT_UPSTREAM_CLOSE : TG_EVENT_CLOSE, tcp, &ends, flow);
}

SEC("sockops")
int tg_identify(struct bpf_sock_ops *ctx)
{
	__u32 op = ctx->op;
	struct bpf_sock *sk;
	struct tcp_sock *tcp;

	if (op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB && op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
	    op != BPF_SOCK_OPS_STATE_CB)
		return tg_counted(TG_IDENTIFY_OTHER_OP, 1);
	if (bpf_get_netns_cookie(ctx) != netns_cookie)
		return tg_counted(TG_IDENTIFY_OTHER_NETNS, 1);
	sk = ctx->sk;
	if (!sk)
		return tg_counted(TG_IDENTIFY_NO_SOCKET, 1);
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!tcp)
		return tg_counted(TG_IDENTIFY_NO_SOCKET, 1);
	if (op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		on_established(ctx, sk, tcp);
	else if (op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		on_connected(ctx, sk, tcp);
	else
		on_state(ctx, sk, tcp);
	return 1;
}
