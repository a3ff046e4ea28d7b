// A socket with its record layer: plaintext in, plaintext out. Clients and upstreams are both
// streams. Writes are collected and leave together at the end of the turn (FlushList::Turn), so
// that a response head and its first event are one record train and one send.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/base/ip.h"
#include "userspace/base/result.h"
#include "userspace/io/loop.h"
#include "userspace/proxy/counters.h"
#include "userspace/tls/channel.h"
#include "userspace/tls/kernel_channel.h"

namespace tollgate::proxy {

class Stream;

// The streams of one worker that have something to send.
class FlushList {
 public:
  // Put one at the top of every entry from the loop; the outermost flushes when it ends.
  class Turn {
   public:
    explicit Turn(FlushList& list) : list_(list) { ++list_.depth_; }
    ~Turn() {
      if (--list_.depth_ == 0) list_.flush();
    }
    Turn(const Turn&) = delete;

   private:
    FlushList& list_;
  };

  void add(Stream& stream) { streams_.push_back(&stream); }
  void remove(const Stream& stream);

 private:
  void flush();

  std::vector<Stream*> streams_;
  int depth_ = 0;
};

enum class StreamEnd : uint8_t {
  clean,      // close_notify, or FIN on a plain connection
  truncated,  // FIN without close_notify
  failed,     // reset, TLS error, connect error
};

class StreamEvents {
 public:
  virtual void on_stream_open() = 0;                                  // handshake done
  virtual void on_stream_data(std::span<const std::byte> plain) = 0;  // valid in the call only
  virtual void on_stream_end(StreamEnd end, const Error& error) = 0;  // nothing more comes in
  virtual void on_stream_drained() = 0;  // everything written was handed to the kernel
  virtual void on_stream_closed() = 0;   // last call: the owner may free the stream

 protected:
  ~StreamEvents() = default;
};

class Stream final : io::SocketEvents {
 public:
  Stream(io::Loop& loop, FlushList& flush_list, StreamEvents& events,
         TlsCounters* counters = nullptr);
  ~Stream();
  Stream(const Stream&) = delete;

  void accept(UniqueFd fd, std::unique_ptr<tls::Channel> channel);
  Status connect(const Endpoint& remote, std::unique_ptr<tls::Channel> channel);

  // Queues plaintext; only between on_stream_open and close().
  void write(std::span<const std::byte> plain);
  void write(std::string_view plain) { write(std::as_bytes(std::span(plain))); }
  // As write(), for bytes that stay unchanged until on_stream_drained or on_stream_closed: a plain
  // connection, and one whose TLS is the kernel's, sends them from where they lie. Nothing else is
  // written before that.
  void write_lasting(std::span<const std::byte> plain);
  // close_notify and FIN behind what is queued; receiving goes on. Where the peer has ended
  // already, this closes.
  void finish();
  // Ends it now; what is queued is lost. on_stream_closed follows, and nothing else.
  void close(bool reset = false);

  void pause();  // stop reading: the other side of the relay is behind
  void resume();

  bool open() const { return opened_ && !closing_; }
  bool closing() const { return closing_; }
  size_t queued_bytes() const {
    return pending_.size() + in_flight_.size() + lasting_.size() + deferred_plain_.size();
  }
  // When the peer last took or gave bytes, on the loop's clock.
  int64_t last_progress_ms() const { return last_progress_ms_; }
  const tls::Channel& channel() const { return *channel_; }
  int fd() const { return socket_.fd(); }
  // Bytes of TCP payload so far; to be asked before close(). With TLS in the kernel: the plaintext
  // and what each record adds to it, by a system call; padding of the peer's is not seen.
  uint64_t wire_received() const;
  uint64_t wire_sent() const;

 private:
  friend class FlushList;
  void on_connected(int sys_errno) override;
  void on_received(std::span<const std::byte> bytes) override;
  void on_receive_end(int sys_errno) override;
  void on_sent(int sys_errno) override;
  void on_closed() override;
  void on_control_record(uint8_t type, std::span<const std::byte> bytes) override;
  void deliver(std::span<const std::byte> plain);
  void report_open();
  void report_end(StreamEnd end, const Error& error);
  void mark_dirty();
  bool ended_with_failure() const { return ended_ && failed_; }
  // The handshake is done, and the kernel gets the keys when what OpenSSL wrote has left.
  bool entering() const { return channel_->kernel_ready() && !ended_; }
  void enter_kernel();
  void go_on();
  void receive_more();
  void send_queued();
  bool send_control();
  void end_sending();
  void fail(const Error& error);
  void count_path(TlsCounters::Path path);
  void flush();

  io::Loop& loop_;
  FlushList& flush_list_;
  StreamEvents& events_;
  io::Socket socket_;
  TlsCounters* counters_;
  std::unique_ptr<tls::Channel> channel_;
  tls::KernelChannel* kernel_ = nullptr;  // channel_, once the kernel has its keys
  tls::Bytes pending_;                    // wire bytes for the next send
  tls::Bytes in_flight_;                  // wire bytes that the kernel reads from
  std::span<const std::byte> lasting_;    // the owner's, behind pending_
  // Written from inside this channel's own receive, or while it waits to enter the kernel.
  tls::Bytes deferred_plain_;
  int64_t last_progress_ms_ = 0;
  uint64_t bytes_received_ = 0;
  uint64_t bytes_sent_ = 0;
  bool opened_ = false;
  bool ended_ = false;
  bool failed_ = false;
  bool receiving_ = false;  // inside channel_->receive
  bool finishing_ = false;
  bool fin_sent_ = false;
  bool closing_ = false;
  bool dirty_ = false;
  bool paused_ = false;
  bool receives_many_ = false;  // the channel keeps its keys: no more single receives
  bool control_in_flight_ = false;
  TlsCounters::Path counted_ = TlsCounters::Path::none;
};

}  // namespace tollgate::proxy
