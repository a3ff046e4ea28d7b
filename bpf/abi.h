/* The one header that BPF programs and userspace share. Fixed-width fields, no pointers, no
 * implicit padding; sizes and offsets are asserted below in both worlds. */
#ifndef TOLLGATE_BPF_ABI_H
#define TOLLGATE_BPF_ABI_H

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <linux/types.h>
#endif

/* filled in by bpf/: tg_peer_key {ifindex, family, addr[16]} -> tg_peer_tag {peer_id, generation};
 * tg_flow_event; enum tg_counter */

#endif
