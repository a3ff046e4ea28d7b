/* The one header that BPF programs and userspace share. Fixed-width fields, no pointers, no
 * implicit padding; sizes and offsets are asserted below in both worlds. */
#ifndef TOLLGATE_BPF_ABI_H
#define TOLLGATE_BPF_ABI_H

#ifdef __bpf__
#include "vmlinux.h"
#define TG_STATIC_ASSERT(condition) _Static_assert(condition, #condition)
#define TG_OFFSET_OF(type, member)  __builtin_offsetof(struct type, member)
#else
#include <linux/types.h>
#include <stddef.h>
#define TG_STATIC_ASSERT(condition) static_assert(condition, #condition)
#define TG_OFFSET_OF(type, member)  offsetof(type, member)
#endif

/* Addresses are 16 bytes in network order; IPv4 is kept as ::ffff:a.b.c.d. */
#define TG_ADDRESS_BYTES 16

/* HTTPS, the one port that is intercepted at addresses that are not ours. */
#define TG_INTERCEPT_PORT 443

/* The kernel's AF_ values, which neither vmlinux.h nor linux/types.h carries. */
enum tg_family {
	TG_FAMILY_V4 = 2,
	TG_FAMILY_V6 = 10,
};

enum tg_limits {
	TG_ENDPOINTS_MAX = 1024,
	TG_TUNNELS_MAX = 64,
	TG_INTERCEPTS_MAX = 4096,
	TG_PEERS_MAX = 65536,
	TG_EVENT_RING_BYTES = 1 << 20,
};

/* The layout below. A daemon takes over the maps of another one only when both say the same. */
#define TG_ABI_VERSION 2

/* Slots of the listeners map. */
enum tg_listener {
	TG_LISTENER_V4,
	TG_LISTENER_V6,
	TG_LISTENER_MAX,
};

struct tg_endpoint_key {
	__u8 addr[TG_ADDRESS_BYTES];
	__u32 family; /* of the packet: a mapped address in an IPv6 header is not the IPv4 one */
	__u16 port;   /* host order */
	__u8 pad[2];
};

/* Destinations that are none of the gateway's addresses: longest prefix match, port 443 only. */
struct tg_intercept_key {
	__u32 prefix_bits; /* of addr: 96 and more for IPv4 */
	__u8 addr[TG_ADDRESS_BYTES];
};

/* Longest prefix match. Interface and family always match whole. */
struct tg_peer_key {
	__u32 prefix_bits; /* of what follows: TG_PEER_PREFIX_BITS + those of addr */
	__u32 ifindex;	   /* where the packets came in; never 0 */
	__u32 family;	   /* IPv4 also for a v4-mapped IPv6 socket */
	__u8 addr[TG_ADDRESS_BYTES];
};

#define TG_PEER_PREFIX_BITS 64

struct tg_peer_tag {
	__u32 peer_id; /* 0 is nobody */
	__u32 generation;
};

/* What sock_ops keeps in a socket. */
struct tg_flow {
	struct tg_peer_tag tag;
	__u32 ifindex;
	__u8 upstream; /* 1: the daemon's own connection to somebody else */
	__u8 pad[3];
};

enum tg_event {
	TG_EVENT_OPEN = 1,
	TG_EVENT_CLOSE,
	TG_EVENT_PEER_UNKNOWN,
	TG_EVENT_UPSTREAM_OPEN, /* made by the daemon: no tag, ifindex 0 */
	TG_EVENT_UPSTREAM_CLOSE,
};

struct tg_flow_event {
	__u64 flow_id; /* socket cookie */
	__u64 monotonic_ns;
	__u64 bytes_received; /* of a close only: payload, each byte once, without SYN and FIN */
	__u64 bytes_sent;
	struct tg_peer_tag tag;
	__u32 ifindex;
	__u32 srtt_us;
	__u8 remote_addr[TG_ADDRESS_BYTES];
	__u8 local_addr[TG_ADDRESS_BYTES];
	__u16 remote_port; /* host order */
	__u16 local_port;
	__u8 event; /* enum tg_event */
	__u8 pad[3];
};

/* Every way out of a program, once: the enum and the names are both made from this list. */
#define TG_COUNTERS(X)                                                                             \
	X(TG_STEER_NOT_TCP, "steer.not_tcp")                                                       \
	X(TG_STEER_NOT_TUNNEL, "steer.not_tunnel")                                                 \
	X(TG_STEER_NOT_ENDPOINT, "steer.not_endpoint")                                             \
	X(TG_STEER_UNKNOWN_FAMILY, "steer.unknown_family")                                         \
	X(TG_STEER_NO_LISTENER, "steer.no_listener")                                               \
	X(TG_STEER_ASSIGN_FAILED, "steer.assign_failed")                                           \
	X(TG_STEER_INTERCEPTED, "steer.intercepted")                                               \
	X(TG_STEER_ASSIGNED, "steer.assigned")                                                     \
	X(TG_IDENTIFY_OTHER_OP, "identify.other_op")                                               \
	X(TG_IDENTIFY_OTHER_NETNS, "identify.other_netns")                                         \
	X(TG_IDENTIFY_NO_SOCKET, "identify.no_socket")                                             \
	X(TG_IDENTIFY_UNKNOWN_FAMILY, "identify.unknown_family")                                   \
	X(TG_IDENTIFY_NOT_ENDPOINT, "identify.not_endpoint")                                       \
	X(TG_IDENTIFY_NO_IFINDEX, "identify.no_ifindex")                                           \
	X(TG_IDENTIFY_NO_PEER_SET, "identify.no_peer_set")                                         \
	X(TG_IDENTIFY_PEER_UNKNOWN, "identify.peer_unknown")                                       \
	X(TG_IDENTIFY_NO_STORAGE, "identify.no_storage")                                           \
	X(TG_IDENTIFY_NO_CALLBACK, "identify.no_callback")                                         \
	X(TG_IDENTIFY_TAGGED, "identify.tagged")                                                   \
	X(TG_IDENTIFY_UPSTREAM, "identify.upstream")                                               \
	X(TG_FLOW_OTHER_STATE, "flow.other_state")                                                 \
	X(TG_FLOW_NOT_OURS, "flow.not_ours")                                                       \
	X(TG_FLOW_RESERVE_FAILED, "flow.reserve_failed")                                           \
	X(TG_FLOW_CLOSED, "flow.closed")

#define TG_COUNTER_ID(id, name) id,
enum tg_counter { TG_COUNTERS(TG_COUNTER_ID) TG_COUNTER_MAX };
#undef TG_COUNTER_ID

TG_STATIC_ASSERT(sizeof(struct tg_endpoint_key) == 24);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_endpoint_key, family) == 16);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_endpoint_key, port) == 20);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_endpoint_key, pad) == 22);

TG_STATIC_ASSERT(sizeof(struct tg_intercept_key) == 20);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_intercept_key, addr) == 4);

TG_STATIC_ASSERT(sizeof(struct tg_peer_key) == 28);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_peer_key, ifindex) == 4);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_peer_key, family) == 8);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_peer_key, addr) == 12);

TG_STATIC_ASSERT(sizeof(struct tg_peer_tag) == 8);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_peer_tag, generation) == 4);

TG_STATIC_ASSERT(sizeof(struct tg_flow) == 16);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow, ifindex) == 8);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow, upstream) == 12);

TG_STATIC_ASSERT(sizeof(struct tg_flow_event) == 88);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow_event, monotonic_ns) == 8);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow_event, bytes_received) == 16);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow_event, bytes_sent) == 24);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow_event, tag) == 32);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow_event, ifindex) == 40);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow_event, srtt_us) == 44);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow_event, remote_addr) == 48);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow_event, local_addr) == 64);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow_event, remote_port) == 80);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow_event, local_port) == 82);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow_event, event) == 84);
TG_STATIC_ASSERT(TG_OFFSET_OF(tg_flow_event, pad) == 85);

#endif
