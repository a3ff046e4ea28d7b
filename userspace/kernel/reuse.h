// Programs loaded anew onto maps that are pinned already, so that a new binary goes on where the
// one before it is: the same listeners, peers, flows, events and counters.
#pragma once

#include "userspace/base/result.h"
#include "userspace/kernel/pins.h"

struct bpf_object;

namespace tollgate::kernel {

// Between open and load: every map of the object is the pinned one of that name. Refuses a map that
// is not there or has another shape.
Status reuse_pinned_maps(bpf_object* object, const PinFolder& pins);

// Whether the first slot of a map of maps has this one.
Result<bool> is_in_force(int outer_map, int inner_map);

}  // namespace tollgate::kernel
