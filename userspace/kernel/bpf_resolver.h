// Identity by what the kernel wrote into the socket, checked against the peer's address.
#pragma once

#include <memory>

#include "userspace/identity/peer_table.h"
#include "userspace/kernel/steering.h"

namespace tollgate::kernel {

// `steering` must outlive the resolver.
std::unique_ptr<identity::Resolver> make_bpf_resolver(const Steering& steering);

}  // namespace tollgate::kernel
