/* Maps that both programs use, and how an address becomes a key. The loader gives the second object
 * the first one's maps by name. */
#ifndef TOLLGATE_BPF_MAPS_H
#define TOLLGATE_BPF_MAPS_H

#include "abi.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* What clients connect to. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TG_ENDPOINTS_MAX);
	__type(key, struct tg_endpoint_key);
	__type(value, __u8);
} endpoints SEC(".maps");

/* What clients connect to that is not ours: a provider's addresses, routed into the tunnel. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, TG_INTERCEPTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tg_intercept_key);
	__type(value, __u8);
} intercepts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TG_COUNTER_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void tg_map_v4(__u8 addr[TG_ADDRESS_BYTES], __be32 v4)
{
	__u32 *words = (__u32 *)addr;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = v4;
}

static __always_inline bool tg_is_intercepted(const struct tg_endpoint_key *local)
{
	struct tg_intercept_key key = {.prefix_bits = TG_ADDRESS_BYTES * 8};

	if (local->port != TG_INTERCEPT_PORT)
		return false;
	__builtin_memcpy(key.addr, local->addr, TG_ADDRESS_BYTES);
	return bpf_map_lookup_elem(&intercepts, &key) != NULL;
}

#endif
