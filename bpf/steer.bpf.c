/* Hands a client's SYN to the proxy's listener, wherever that one is bound.
 *
 * Runs when no established socket matched, after IP reassembly, once per connection. Whatever is
 * not TCP from a tunnel to an endpoint, or to an intercepted address, is none of our business:
 * SK_PASS, the ordinary lookup goes on. What is, goes to the proxy or nowhere: without a listener
 * the SYN is dropped, so a dead daemon means closed, never somebody else's socket. */
#include "count.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* Ingress interfaces that clients may come through. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TG_TUNNELS_MAX);
	__type(key, __u32);
	__type(value, __u8);
} tunnels SEC(".maps");

/* One member of each family's SO_REUSEPORT group; the kernel spreads over the group. A socket that
 * is closed leaves its slot by itself. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, TG_LISTENER_MAX);
	__type(key, __u32);
	__type(value, __u64);
} listeners SEC(".maps");

static __always_inline int assign_listener(struct bpf_sk_lookup *ctx, __u32 slot)
{
	struct bpf_sock *listener = bpf_map_lookup_elem(&listeners, &slot);
	long failure;

	if (!listener)
		return tg_counted(TG_STEER_NO_LISTENER, SK_DROP);
	failure = bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	if (failure)
		return tg_counted(TG_STEER_ASSIGN_FAILED, SK_DROP);
	return tg_counted(TG_STEER_ASSIGNED, SK_PASS);
}

SEC("sk_lookup")
int tg_steer(struct bpf_sk_lookup *ctx)
{
	struct tg_endpoint_key key = {};
	__u32 ifindex = ctx->ingress_ifindex;
	__u32 *words = (__u32 *)key.addr;
	__u32 slot;

	/* First, because this also runs for every datagram to an unconnected UDP socket of the
	 * namespace, the tunnel's own outer packets included. */
	if (ctx->protocol != IPPROTO_TCP)
		return tg_counted(TG_STEER_NOT_TCP, SK_PASS);
	if (!bpf_map_lookup_elem(&tunnels, &ifindex))
		return tg_counted(TG_STEER_NOT_TUNNEL, SK_PASS);

	if (ctx->family == TG_FAMILY_V4) {
		tg_map_v4(key.addr, ctx->local_ip4);
		slot = TG_LISTENER_V4;
	} else if (ctx->family == TG_FAMILY_V6) {
		words[0] = ctx->local_ip6[0];
		words[1] = ctx->local_ip6[1];
		words[2] = ctx->local_ip6[2];
		words[3] = ctx->local_ip6[3];
		slot = TG_LISTENER_V6;
	} else {
		return tg_counted(TG_STEER_UNKNOWN_FAMILY, SK_PASS);
	}
	key.family = ctx->family;
	key.port = ctx->local_port;
	if (!bpf_map_lookup_elem(&endpoints, &key)) {
		if (!tg_is_intercepted(&key))
			return tg_counted(TG_STEER_NOT_ENDPOINT, SK_PASS);
		tg_count(TG_STEER_INTERCEPTED);
	}
	return assign_listener(ctx, slot);
}
