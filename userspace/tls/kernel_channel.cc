#include "userspace/tls/kernel_channel.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace tollgate::tls {
namespace {

// RFC 8446: content types (B.1), handshake types (B.3), alerts (B.2), KeyUpdate (4.6.3).
constexpr uint8_t kAlertRecord = 21;
constexpr uint8_t kHandshakeRecord = 22;
constexpr uint8_t kNewSessionTicket = 4;
constexpr uint8_t kKeyUpdate = 24;
constexpr uint8_t kCloseNotify = 0;
constexpr uint8_t kUnexpectedMessage = 10;
constexpr uint8_t kBadRecordMac = 20;
constexpr uint8_t kRecordOverflow = 22;
constexpr uint8_t kIllegalParameter = 47;
constexpr uint8_t kDecodeError = 50;
constexpr uint8_t kInternalError = 80;
constexpr uint8_t kUserCanceled = 90;

constexpr size_t kAlertBytes = 2;
constexpr size_t kMessageHeaderBytes = 4;  // type, length in three bytes
constexpr size_t kKeyUpdateBytes = kMessageHeaderBytes + 1;
constexpr size_t kTicketBytesMax = size_t{1} << 17;  // what its fields can come to
constexpr size_t kRecordBytesMax = 16 * 1024;

constexpr std::byte kKeyUpdateNotRequested[] = {std::byte{kKeyUpdate}, std::byte{0}, std::byte{0},
                                                std::byte{1}, std::byte{0}};

// Both bytes of each alert that we send, in static memory: the kernel may read them late.
std::span<const std::byte> alert_bytes(uint8_t description) {
  static const auto kTable = [] {
    std::array<std::array<std::byte, kAlertBytes>, 256> table{};
    for (size_t i = 0; i < table.size(); ++i)
      table[i] = {std::byte{i == kCloseNotify ? uint8_t{1} : uint8_t{2}}, std::byte(i)};
    return table;
  }();
  return kTable[description];
}

}  // namespace

KernelChannel::KernelChannel(Side side, Suite suite, const KernelUse& use, SetKeys set_keys,
                             CountRecords count)
    : side_(side),
      suite_(suite),
      use_(use),
      set_keys_(std::move(set_keys)),
      count_(std::move(count)) {}

Result<std::unique_ptr<KernelChannel>> KernelChannel::make(Side side, KernelKeys keys,
                                                           const KernelUse& use, SetKeys set_keys,
                                                           CountRecords count) {
  std::unique_ptr<KernelChannel> made(
      new KernelChannel(side, keys.suite, use, std::move(set_keys), std::move(count)));
  made->records_with_key_ = keys.records_sent;
  made->way(Direction::send).sequence = keys.records_sent;
  made->way(Direction::receive).sequence = keys.records_received;
  if (Status set = made->set_keys_(Direction::send, keys.send, keys.records_sent); !set) {
    return std::move(set).forward();
  }
  if (Status set = made->set_keys_(Direction::receive, keys.receive, keys.records_received); !set) {
    return std::move(set).forward();
  }
  if (use.rekey) {
    made->way(Direction::send).next = next_secret(keys.suite, keys.send);
    made->way(Direction::receive).next = next_secret(keys.suite, keys.receive);
  }
  return made;
}

Status KernelChannel::receive(std::span<const std::byte> wire,
                              const std::function<void(std::span<const std::byte>)>& plain,
                              Bytes&) {
  if (state_ == State::failed) return Error{Fault::peer, 0, "TLS connection has failed", {}};
  if (peer_closed_ || wire.empty()) return {};
  if (in_message()) return fail(kUnexpectedMessage, "TLS data inside a handshake message");
  plain(wire);
  return {};
}

Status KernelChannel::send(std::span<const std::byte> plain, Bytes& wire_out) {
  if (state_ != State::open) return Error{Fault::self, 0, "send after close", {}};
  wire_out.insert(wire_out.end(), plain.begin(), plain.end());
  return {};
}

void KernelChannel::close(Bytes&) {
  if (state_ != State::open) return;
  state_ = State::closed;
  alert_due_ = kCloseNotify;
}

std::optional<ControlRecord> KernelChannel::take_control(bool data_waits) {
  if (key_update_due_ && state_ == State::open) {
    key_update_due_ = false;
    key_update_sent_ = true;
    return ControlRecord{kHandshakeRecord, kKeyUpdateNotRequested};
  }
  if (!alert_due_ || data_waits) return std::nullopt;
  return ControlRecord{kAlertRecord, alert_bytes(*std::exchange(alert_due_, std::nullopt))};
}

Status KernelChannel::control_sent() {
  if (!std::exchange(key_update_sent_, false)) return {};
  records_with_key_ = 0;
  Status changed = rekey(Direction::send);
  if (!changed) alert_due_.reset();  // it would be the old key's
  return changed;
}

Status KernelChannel::count_sent(size_t bytes) {
  records_with_key_ += (bytes + kRecordBytesMax - 1) / kRecordBytesMax;
  if (records_with_key_ < use_.records_per_key_max) return {};
  if (use_.rekey) {
    key_update_due_ = true;
    return {};
  }
  close_for(kCloseNotify);
  return Error{Fault::self, 0, "TLS key is used up, and this kernel cannot change it", {}};
}

uint64_t KernelChannel::records(Direction direction) const {
  const Way& asked = ways_[static_cast<size_t>(direction)];
  return asked.records_before + std::max(count_(direction), asked.sequence) - asked.sequence;
}

// ---- what comes in -----------------------------------------------------------------------------

Status KernelChannel::receive_control(uint8_t type, std::span<const std::byte> bytes) {
  if (state_ == State::failed || peer_closed_) return {};
  switch (type) {
    case kAlertRecord:
      return read_alert(bytes);
    case kHandshakeRecord:
      return read_handshake(bytes);
    default:
      return fail(kUnexpectedMessage, "TLS record of type " + std::to_string(type));
  }
}

void KernelChannel::receive_failed(int sys_errno) {
  if (state_ == State::failed) return;
  if (sys_errno == EBADMSG) close_for(kBadRecordMac);
  if (sys_errno == EMSGSIZE) close_for(kRecordOverflow);
}

Status KernelChannel::read_alert(std::span<const std::byte> bytes) {
  if (bytes.size() != kAlertBytes) return fail(kDecodeError, "TLS alert of another size than two");
  const auto description = std::to_integer<uint8_t>(bytes[1]);
  if (description == kUserCanceled) return {};  // close_notify follows (RFC 8446, 6.1)
  if (description == kCloseNotify) {
    peer_closed_ = true;
    return {};
  }
  state_ = State::failed;  // in TLS 1.3 all others are fatal, whatever their level says
  alert_due_.reset();
  return Error{Fault::peer,
               0,
               std::string("TLS record: alert ") + SSL_alert_desc_string_long(description),
               {}};
}

// Messages may share a record or be spread over several; only a ticket can be long, and it is not
// kept.
Status KernelChannel::read_handshake(std::span<const std::byte> bytes) {
  if (bytes.empty()) return fail(kUnexpectedMessage, "empty TLS handshake record");
  while (!bytes.empty()) {
    if (const size_t skipped = std::min(skip_, bytes.size()); skipped != 0) {
      skip_ -= skipped;
      bytes = bytes.subspan(skipped);
      continue;
    }
    message_[message_bytes_++] = bytes.front();
    bytes = bytes.subspan(1);
    if (message_bytes_ < kMessageHeaderBytes) continue;
    if (const Status read = read_message(bytes.empty()); !read) return read;
  }
  return {};
}

// With the header complete, and again with each byte behind it.
Status KernelChannel::read_message(bool ends_record) {
  const auto type = std::to_integer<uint8_t>(message_[0]);
  const size_t length = std::to_integer<size_t>(message_[1]) << 16 |
                        std::to_integer<size_t>(message_[2]) << 8 |
                        std::to_integer<size_t>(message_[3]);
  if (type == kNewSessionTicket && side_ == Side::client) {
    if (length > kTicketBytesMax) return fail(kDecodeError, "TLS ticket is too long");
    skip_ = length;
    message_bytes_ = 0;
    return {};
  }
  if (type != kKeyUpdate) {
    return fail(kUnexpectedMessage, "TLS handshake message of type " + std::to_string(type));
  }
  if (length != kKeyUpdateBytes - kMessageHeaderBytes) {
    return fail(kDecodeError, "TLS KeyUpdate of another size than one");
  }
  if (message_bytes_ < kKeyUpdateBytes) return {};
  message_bytes_ = 0;
  return read_key_update(ends_record);
}

Status KernelChannel::read_key_update(bool ends_record) {
  const auto requested = std::to_integer<uint8_t>(message_[kMessageHeaderBytes]);
  if (requested > 1) return fail(kIllegalParameter, "TLS KeyUpdate asks for what there is not");
  // What follows has the new key and cannot be in the same record (RFC 8446, 5.1).
  if (!ends_record) return fail(kUnexpectedMessage, "TLS KeyUpdate is not the last of its record");
  if (++key_updates_ > kKeyUpdatesMax) {
    return fail(kUnexpectedMessage, "TLS peer changes its keys too often");
  }
  if (!use_.rekey) {
    // Under the old key, which still is the right one: an honest end, and nothing answered that
    // could not be kept.
    close_for(kCloseNotify);
    return Error{Fault::peer, 0, "TLS peer changes its key, and this kernel cannot", {}};
  }
  if (Status changed = rekey(Direction::receive); !changed) {
    return fail(kInternalError, changed.error().text);
  }
  if (requested == 1) key_update_due_ = true;
  return {};
}

Status KernelChannel::rekey(Direction direction) {
  Way& changed = way(direction);
  const uint64_t records = this->records(direction);
  if (Status set = set_keys_(direction, changed.next, 0); !set) {
    state_ = State::failed;
    return set;
  }
  changed.records_before = records;
  changed.sequence = 0;
  changed.next = next_secret(suite_, changed.next);
  return {};
}

void KernelChannel::close_for(uint8_t alert) {
  state_ = State::failed;
  alert_due_ = alert;
}

Status KernelChannel::fail(uint8_t alert, std::string text) {
  close_for(alert);
  return Error{Fault::peer, 0, std::move(text), {}};
}

}  // namespace tollgate::tls
