// The other end of a TLS 1.3 connection, over a real socket, blocking: OpenSSL does the handshake
// as client or as server, and from then on records are sealed and opened by hand (raw_records.h).
// One thread may send while another reads.
#pragma once

#include <openssl/ssl.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/tls/certificates.h"
#include "tests/unit/tls/raw_records.h"
#include "userspace/base/fd.h"

namespace tollgate::tls {

enum class RawRole : uint8_t { client, server };

// Everything that came until the connection's end.
struct RawAnswer {
  std::string data;
  std::vector<RawRecord> others;  // alerts and handshake messages, in order
  std::string ended;              // "fin", "reset", "bad record", "silence"

  // The description of the last alert, or -1. 0 is close_notify.
  int alert() const;
};

class RawPeer {
 public:
  struct Options {
    std::string suite = "TLS_AES_128_GCM_SHA256";
    bool tls12 = false;  // then by_library() is all that works
    // Queues what leaves in one write with our Finished, behind it.
    std::function<void(RawPeer&)> with_finished;
  };
  RawPeer(RawRole role, UniqueFd connected, const Certificates& certificates, Options options);
  ~RawPeer();
  RawPeer(const RawPeer&) = delete;

  // Reads whole records only: nothing behind the handshake is taken in by OpenSSL.
  bool handshake();

  // The next record; it must reach the other end in its turn, changed or not.
  std::string seal(uint8_t type, std::string_view content, size_t padding = 0);
  // These queue: what leaves by one send() can be in one segment.
  RawPeer& put(std::string_view wire);
  RawPeer& data(std::string_view content, size_t padding = 0);
  RawPeer& handshake_message(std::string_view content);
  RawPeer& alert(uint8_t description);
  RawPeer& close_notify() { return alert(0); }
  // Under the present key; what is sealed after it has the next one.
  RawPeer& key_update(bool request);
  // Sends what is queued, `step` bytes for each segment.
  bool send(size_t step = SIZE_MAX);
  void send_fin();
  void reset();

  // The next record, or nothing at the end, which ended() names. Follows KeyUpdates.
  std::optional<RawRecord> read();
  // Reads data until there are as many bytes, or the end; an alert before is kept for the answer.
  std::string read_data(size_t bytes);
  RawAnswer read_to_end();
  const std::string& ended() const { return ended_; }

  // Sends `text` and reads as many bytes, with the library's own records.
  std::string echoed_by_library(std::string_view text);

 private:
  static void on_secret(const SSL* ssl, const char* line);
  std::optional<std::string> read_record();
  bool read_exactly(char* to, size_t bytes);
  bool send_flight();

  const RawRole role_;
  const Options options_;
  UniqueFd fd_;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  RawKeys in_;
  RawKeys out_;
  std::string queued_;
  std::vector<RawRecord> alerts_;
  std::string ended_;
  bool finished_sent_ = false;
};

// A NewSessionTicket message that any client takes in, with a ticket of so many bytes.
std::string raw_ticket(size_t bytes);

}  // namespace tollgate::tls
