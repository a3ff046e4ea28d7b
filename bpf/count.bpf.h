/* A reason at every way out. Per CPU, so that counting costs no shared cache line. */
#ifndef TOLLGATE_BPF_COUNT_H
#define TOLLGATE_BPF_COUNT_H

#include "maps.bpf.h"

static __always_inline void tg_count(enum tg_counter which)
{
	__u32 key = which;
	__u64 *value = bpf_map_lookup_elem(&counters, &key);

	/* A program can be preempted by another one on its CPU (process context, then softirq). */
	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline int tg_counted(enum tg_counter which, int verdict)
{
	tg_count(which);
	return verdict;
}

#endif
