// Named places where a test kills the process, or makes it do something wrong. tollgated links the
// version that does nothing; tollgated-faults, for tests only, the one that ends the process by
// SIGKILL the nth time it comes by the place that TOLLGATE_FAULT names ("hold_durable:3"; without a
// number the first time).
#pragma once

namespace tollgate {

// hold_pushed, hold_durable, request_sent, answer_begun, event_relayed, terminal_held,
// settle_pushed, settle_durable, released (workers); commit_before, commit_after (ledger thread)
void fault_point(const char* place);
// True there instead, so that the code beside it goes wrong: forget_record (workers).
bool fault_asked(const char* place);

}  // namespace tollgate
