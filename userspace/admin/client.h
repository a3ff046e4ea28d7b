// One connection to the admin socket: a bounded buffer in, a bounded queue out, never a wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/admin/lines.h"
#include "userspace/admin/protocol.h"
#include "userspace/admin/role.h"
#include "userspace/base/fd.h"
#include "userspace/base/ids.h"
#include "userspace/ledger/store.h"

namespace tollgate::admin {

class Client {
 public:
  enum class Mode : uint8_t {
    requests,  // waits for a line, or for its answer to be taken
    records,   // streams records, a page whenever the last one has been taken
    tail,      // streams what is published
    closing,   // only what is queued still goes out
    gone,
  };
  // How far a `records` answer has come. The next page starts at the start time of the last record
  // and passes over those of that millisecond which were already written.
  struct Cursor {
    ledger::UsageQuery query;
    std::vector<RequestId> written_at_since;
    uint64_t written = 0;
  };

  Client(UniqueFd socket, Caller caller, int64_t now_ms)
      : socket_(std::move(socket)), caller_(caller), progress_ms_(now_ms) {}

  int fd() const { return socket_.get(); }
  const Caller& caller() const { return caller_; }
  // What poll shall wait for. A client with work left asks for POLLOUT: the next step goes on.
  short events() const;

  // One read. Ends in mode `gone` when the connection broke or nothing more can come of it.
  void receive(int64_t now_ms);
  // A request, only while the last answer is out: a caller that does not read is not read either.
  std::optional<std::string> next_request();
  bool request_too_long() const { return input_.overflowed(); }

  void queue(std::string_view lines) { output_ += lines; }
  size_t queued_bytes() const { return output_.size() - sent_; }
  void flush(int64_t now_ms);

  bool idle() const { return mode == Mode::requests && queued_bytes() == 0; }
  int64_t progress_ms() const { return progress_ms_; }

  Mode mode = Mode::requests;
  std::optional<int64_t> request_id;  // of the request being answered
  Cursor cursor;                      // of mode records

 private:
  UniqueFd socket_;
  Caller caller_;
  LineBuffer input_{kRequestBytesMax};
  bool input_ended_ = false;  // the caller sends no more; it may still read
  std::string output_;
  size_t sent_ = 0;
  int64_t progress_ms_;  // last time that bytes moved
};

}  // namespace tollgate::admin
