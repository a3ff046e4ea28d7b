// One stream of ours in a real loop, and a raw TLS peer at the other end of a TCP connection, in a
// thread of its own. Every combination of record path, loop backend and side that this machine has
// is a Way; the same tests run on all, and must see the same.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/tls/raw_peer.h"
#include "userspace/io/loop.h"
#include "userspace/proxy/stream.h"

namespace tollgate::proxy {

struct Way {
  bool kernel = false;  // records by kTLS
  io::Loop::Backend backend = io::Loop::Backend::io_uring;
  tls::RawRole peer = tls::RawRole::client;  // the stream is the other one

  std::string path() const { return kernel ? "ktls" : "openssl"; }
};

std::string name_of(const Way& way);
void PrintTo(const Way& way, std::ostream* out);
void PrintTo(StreamEnd end, std::ostream* out);
const std::vector<Way>& ways_here();
// False where the keys of a connection cannot change under way: kTLS before Linux 6.14.
bool follows_key_updates(const Way& way);

std::string sha256(const std::string& bytes);
// Bytes without a pattern, the same for the same seed.
std::string noise(size_t bytes, uint64_t seed);

// What a stream's owner saw.
struct Seen {
  bool opened = false;
  std::string received;
  std::optional<StreamEnd> end;
  std::string error;
  std::string path;            // of the channel, when the stream ended
  uint64_t wire_received = 0;  // likewise
  uint64_t wire_sent = 0;
  int drained = 0;
};

// How the stream's owner behaves. Whatever it does, it finishes when the peer has ended and all of
// `send` was written, and closes at once after a reset.
struct Conduct {
  std::string send;                  // from the opening on, in odd pieces
  bool lasting = false;              // by write_lasting
  bool finish_when_sent = false;     // not waiting for the peer, which must end after it
  bool echo = false;                 // writes what comes, from inside the delivery
  bool pauses = false;               // stops reading after each delivery, goes on in another turn
  size_t close_at = SIZE_MAX;        // closes, by a reset, when so many bytes came
  uint64_t records_per_key_max = 0;  // of a kernel's key; 0: as many as ever
};

class StreamTlsTest : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override;

  using Script = std::function<void(tls::RawPeer&)>;
  // `script` has the peer after its handshake; the connection ends with it.
  Seen run(const Script& script, const Conduct& conduct = {}, tls::RawPeer::Options options = {});

  // Whether this way's stream is the server's end.
  bool serves() const { return GetParam().peer == tls::RawRole::client; }

  std::unique_ptr<io::Loop> loop_;
  FlushList flush_list_;

 private:
  std::function<std::string()> describe_;
};

}  // namespace tollgate::proxy
