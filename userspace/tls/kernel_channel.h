// The record layer of a connection whose keys the kernel holds: data passes as it is; alerts,
// KeyUpdates and tickets come and go as records of their own. Made by Channel::move_to_kernel.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>

#include "userspace/tls/channel.h"
#include "userspace/tls/ktls.h"

namespace tollgate::tls {

// A record that is not data, on its way out.
struct ControlRecord {
  uint8_t type = 0;
  std::span<const std::byte> bytes;  // constant: no need to keep them
};

class KernelChannel final : public Channel {
 public:
  enum class Side : uint8_t { client, server };
  // Sets a direction's keys in the kernel; ktls.h's, or a test's.
  using SetKeys = std::function<Status(Direction, const TrafficSecret&, uint64_t sequence)>;
  // Of both directions, for the present keys.
  using CountRecords = std::function<uint64_t(Direction)>;

  // Hands over the keys and keeps the next generation's, where the kernel can use them; else none.
  static Result<std::unique_ptr<KernelChannel>> make(Side side, KernelKeys keys,
                                                     const KernelUse& use, SetKeys set_keys,
                                                     CountRecords count);

  void start(Bytes&) override {}
  Status receive(std::span<const std::byte> wire,
                 const std::function<void(std::span<const std::byte>)>& plain, Bytes&) override;
  Status send(std::span<const std::byte> plain, Bytes& wire_out) override;
  void close(Bytes& wire_out) override;  // the alert is a control record
  State state() const override { return state_; }
  bool peer_closed() const override { return peer_closed_; }
  std::string_view protocol() const override { return "TLSv1.3"; }
  std::string_view path() const override { return "ktls"; }
  std::string_view server_name() const override { return server_name_; }
  void keep_server_name(std::string_view name) { server_name_ = name; }  // of the handshake

  // A record of another type than data came in. Before the socket is read again: the kernel refuses
  // reads between a KeyUpdate and its key. An Error ends the connection; its alert is due.
  Status receive_control(uint8_t type, std::span<const std::byte> bytes);
  // The socket refused a record (EBADMSG: it was not the peer's): the alert for it is due.
  void receive_failed(int sys_errno);
  // What must be sent before any further data; an alert only when no data waits. It is on its way
  // until control_sent().
  std::optional<ControlRecord> take_control(bool data_waits);
  // The kernel has it. After a KeyUpdate of ours the sending key changes here.
  Status control_sent();
  // Data goes to the kernel in one send. An Error: the key is used up and the kernel cannot rekey;
  // close_notify is due, and nothing may be sent.
  Status count_sent(size_t bytes);
  // Records in that direction since the kernel does them; asks it.
  uint64_t records(Direction direction) const;

 private:
  struct Way {                    // one direction
    TrafficSecret next;           // of the next generation; empty where the kernel cannot rekey
    uint64_t sequence = 0;        // where the present key began
    uint64_t records_before = 0;  // with the keys before it
  };
  KernelChannel(Side side, Suite suite, const KernelUse& use, SetKeys set_keys, CountRecords count);
  bool in_message() const { return message_bytes_ != 0 || skip_ != 0; }
  Way& way(Direction direction) { return ways_[static_cast<size_t>(direction)]; }
  Status rekey(Direction direction);
  Status read_alert(std::span<const std::byte> bytes);
  Status read_handshake(std::span<const std::byte> bytes);
  Status read_message(bool ends_record);
  Status read_key_update(bool ends_record);
  void close_for(uint8_t alert);
  Status fail(uint8_t alert, std::string text);

  std::string server_name_;
  Side side_;
  Suite suite_;
  KernelUse use_;
  SetKeys set_keys_;
  CountRecords count_;
  std::array<Way, 2> ways_{};
  State state_ = State::open;
  bool peer_closed_ = false;
  bool key_update_due_ = false;
  bool key_update_sent_ = false;  // on its way: the key changes when the kernel has it
  std::optional<uint8_t> alert_due_;
  uint32_t key_updates_ = 0;            // of the peer
  uint64_t records_with_key_ = 0;       // sent with the present key, about
  std::array<std::byte, 5> message_{};  // the beginning of a handshake message
  size_t message_bytes_ = 0;
  size_t skip_ = 0;  // bytes of a ticket that are still to come
};

}  // namespace tollgate::tls
