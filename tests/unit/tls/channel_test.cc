#include "userspace/tls/channel.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <deque>
#include <string>

#include "tests/unit/tls/certificates.h"

namespace tollgate::tls {
namespace {

using State = Channel::State;

struct End {
  std::unique_ptr<Channel> channel;
  Bytes out;          // wire bytes on their way to the other end
  std::string plain;  // what came in
  Status status;
};

// Carries wire bytes both ways, at most `step` at a time, until nothing is left to carry.
void carry(End& a, End& b, size_t step = SIZE_MAX) {
  const auto pour = [step](End& from, End& to) {
    const Bytes wire = std::exchange(from.out, {});
    for (size_t at = 0; at < wire.size() && to.status; at += std::min(step, wire.size() - at)) {
      const auto piece = std::span(wire).subspan(at, std::min(step, wire.size() - at));
      to.status = to.channel->receive(
          piece,
          [&to](std::span<const std::byte> plain) {
            to.plain.append(reinterpret_cast<const char*>(plain.data()), plain.size());
          },
          to.out);
    }
    return !wire.empty();
  };
  while (pour(a, b) || pour(b, a)) {
  }
}

Status say(End& end, std::string_view text) {
  return end.channel->send(std::as_bytes(std::span(text)), end.out);
}

class TlsTest : public testing::Test {
 protected:
  // A server of ours and a client of ours, handshake not yet begun.
  void pair(const std::string& host = "gw.test", const std::string& leaf = "server",
            const std::string& ca = "") {
    auto server = make_server_context(certificates_.certificate(leaf), certificates_.key(leaf));
    ASSERT_TRUE(server) << server.error().text;
    auto client = make_client_context(host, ca.empty() ? certificates_.ca() : ca);
    ASSERT_TRUE(client) << client.error().text;
    server_context_ = *server;
    client_context_ = *client;
    server_ = End{server_context_->make_channel(), {}, {}, {}};
    client_ = End{client_context_->make_channel(), {}, {}, {}};
    client_.channel->start(client_.out);
  }
  // The other side is OpenSSL itself, for what our contexts do not offer.
  struct Foreign {
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    SSL* ssl = SSL_new(context);
    BIO* in = BIO_new(BIO_s_mem());
    BIO* out = BIO_new(BIO_s_mem());
    Foreign() {
      SSL_set_bio(ssl, in, out);
      SSL_set_connect_state(ssl);
    }
    ~Foreign() {
      SSL_free(ssl);
      SSL_CTX_free(context);
    }
  };
  void carry(Foreign& foreign, End& ours) {
    for (int turn = 0; turn < 10; ++turn) {
      SSL_do_handshake(foreign.ssl);
      char block[16384];
      const int n = BIO_read(foreign.out, block, sizeof block);
      if (n > 0 && ours.status) {
        ours.status = ours.channel->receive(
            std::as_bytes(std::span(block, static_cast<size_t>(n))),
            [&ours](std::span<const std::byte> plain) {
              ours.plain.append(reinterpret_cast<const char*>(plain.data()), plain.size());
            },
            ours.out);
      }
      const Bytes wire = std::exchange(ours.out, {});
      if (!wire.empty()) BIO_write(foreign.in, wire.data(), static_cast<int>(wire.size()));
    }
  }

  Certificates certificates_;
  std::shared_ptr<const ServerContext> server_context_;
  std::shared_ptr<const ClientContext> client_context_;
  End server_;
  End client_;
};

TEST_F(TlsTest, HandshakesAndCarriesBothWays) {
  pair();
  tls::carry(client_, server_);
  ASSERT_EQ(server_.channel->state(), State::open);
  ASSERT_EQ(client_.channel->state(), State::open);
  EXPECT_EQ(server_.channel->protocol(), "TLSv1.3");
  ASSERT_TRUE(say(client_, "question"));
  ASSERT_TRUE(say(server_, "answer"));
  tls::carry(client_, server_);
  EXPECT_EQ(server_.plain, "question");
  EXPECT_EQ(client_.plain, "answer");
}

TEST_F(TlsTest, AnySplitOfTheWireGivesTheSame) {
  for (const size_t step :
       {size_t{1}, size_t{2}, size_t{5}, size_t{7}, size_t{100}, size_t{1420}}) {
    pair();
    tls::carry(client_, server_, step);
    ASSERT_EQ(server_.channel->state(), State::open) << step;
    ASSERT_TRUE(say(client_, "question"));
    tls::carry(client_, server_, step);
    EXPECT_EQ(server_.plain, "question") << step;
  }
}

TEST_F(TlsTest, CarriesAMegabyteInWholeRecords) {
  pair();
  tls::carry(client_, server_);
  const std::string big(1 << 20, 'b');
  ASSERT_TRUE(say(server_, big));
  tls::carry(server_, client_, 10'000);
  EXPECT_EQ(client_.plain, big);
}

TEST_F(TlsTest, FinishedAndFirstRequestMayShareASegment) {
  pair();
  // The server's flight goes to the client; the client's Finished and its first record go together.
  server_.status = server_.channel->receive(
      client_.out, [](auto) {}, server_.out);
  client_.out.clear();
  client_.status = client_.channel->receive(
      server_.out, [](auto) {}, client_.out);
  server_.out.clear();
  ASSERT_EQ(client_.channel->state(), State::open);
  ASSERT_TRUE(say(client_, "at once"));
  tls::carry(client_, server_);
  EXPECT_EQ(server_.plain, "at once");
}

TEST_F(TlsTest, CloseNotifyIsToldFromTruncation) {
  pair();
  tls::carry(client_, server_);
  EXPECT_FALSE(server_.channel->peer_closed());
  client_.channel->close(client_.out);
  tls::carry(client_, server_);
  EXPECT_TRUE(server_.channel->peer_closed());
  EXPECT_FALSE(client_.channel->peer_closed());
}

TEST_F(TlsTest, NothingIsHeardAfterCloseNotify) {
  pair();
  tls::carry(client_, server_);
  client_.channel->close(client_.out);
  Bytes more(50, std::byte{0x17});
  client_.out.insert(client_.out.end(), more.begin(), more.end());
  tls::carry(client_, server_);
  EXPECT_TRUE(server_.status);
  EXPECT_TRUE(server_.plain.empty());
}

TEST_F(TlsTest, AWrongHostAnUnknownAuthorityAndAnOldCertificateAreCertificateErrors) {
  struct {
    const char* what;
    const char* host;
    const char* leaf;
    const char* ca;
  } const cases[] = {
      {"another host", "other.test", "server", ""},
      {"an authority that is not trusted", "gw.test", "server",
       "/etc/ssl/certs/ca-certificates.crt"},
      {"expired", "gw.test", "expired", ""},
  };
  for (const auto& each : cases) {
    if (*each.ca != '\0' && !std::filesystem::exists(each.ca)) continue;
    pair(each.host, each.leaf, each.ca);
    tls::carry(client_, server_);
    ASSERT_FALSE(client_.status) << each.what;
    EXPECT_TRUE(is_certificate_error(client_.status.error())) << client_.status.error().text;
    EXPECT_FALSE(server_.status) << "the alert must reach the server";
    EXPECT_FALSE(is_certificate_error(server_.status.error()));
  }
}

TEST_F(TlsTest, PlainHttpOnTheTlsPortIsNamed) {
  pair();
  client_.out.clear();
  const std::string request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
  server_.status = server_.channel->receive(
      std::as_bytes(std::span(request)), [](auto) {}, server_.out);
  ASSERT_FALSE(server_.status);
  EXPECT_NE(server_.status.error().hint.find("https"), std::string::npos);
  EXPECT_EQ(server_.channel->state(), State::failed);
  EXPECT_FALSE(server_.channel->receive(
      std::as_bytes(std::span(request)), [](auto) {}, server_.out));
}

TEST_F(TlsTest, GarbageFailsAndSendBeforeTheHandshakeIsRefused) {
  pair();
  EXPECT_FALSE(say(server_, "too early"));
  const Bytes garbage(300, std::byte{0x5a});
  EXPECT_FALSE(server_.channel->receive(
      garbage, [](auto) {}, server_.out));
}

TEST_F(TlsTest, AlpnIsHttp11OrNothing) {
  struct {
    std::string offer;  // wire form
    bool accepted;
  } const cases[] = {
      {"", true},
      {"\x08http/1.1", true},
      {"\x02h2\x08http/1.1", true},
      {"\x02h2", false},
  };
  for (const auto& each : cases) {
    pair();
    Foreign foreign;
    if (!each.offer.empty()) {
      SSL_set_alpn_protos(foreign.ssl, reinterpret_cast<const unsigned char*>(each.offer.data()),
                          static_cast<unsigned>(each.offer.size()));
    }
    carry(foreign, server_);
    EXPECT_EQ(static_cast<bool>(server_.status), each.accepted) << each.offer;
    EXPECT_EQ(SSL_is_init_finished(foreign.ssl) == 1, each.accepted) << each.offer;
  }
}

TEST_F(TlsTest, OldVersionsAndWeakSuitesAreRefused) {
  pair();
  Foreign old;
  SSL_set_security_level(old.ssl, 0);
  SSL_set_max_proto_version(old.ssl, TLS1_1_VERSION);
  carry(old, server_);
  EXPECT_FALSE(server_.status);
  pair();
  Foreign weak;
  SSL_set_max_proto_version(weak.ssl, TLS1_2_VERSION);
  SSL_set_cipher_list(weak.ssl, "ECDHE-ECDSA-AES128-SHA");
  carry(weak, server_);
  EXPECT_FALSE(server_.status);
  pair();
  Foreign good;
  SSL_set_max_proto_version(good.ssl, TLS1_2_VERSION);
  carry(good, server_);
  EXPECT_TRUE(server_.status);
  EXPECT_EQ(server_.channel->protocol(), "TLSv1.2");
}

TEST_F(TlsTest, NoSessionTicketIsSent) {
  pair();
  Foreign foreign;
  carry(foreign, server_);
  char byte = 0;
  SSL_read(foreign.ssl, &byte, 1);  // would take tickets in
  EXPECT_EQ(SSL_SESSION_is_resumable(SSL_get_session(foreign.ssl)), 0);
}

TEST_F(TlsTest, KeyUpdatesOfThePeerAreFollowed) {
  for (const int kind : {SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED}) {
    pair();
    Foreign foreign;
    carry(foreign, server_);
    ASSERT_EQ(SSL_key_update(foreign.ssl, kind), 1);
    ASSERT_EQ(SSL_write(foreign.ssl, "after", 5), 5);
    carry(foreign, server_);
    EXPECT_TRUE(server_.status);
    EXPECT_EQ(server_.plain, "after");
    ASSERT_TRUE(say(server_, "reply"));
    const Bytes wire = std::exchange(server_.out, {});
    BIO_write(foreign.in, wire.data(), static_cast<int>(wire.size()));
    char reply[8] = {};
    EXPECT_EQ(SSL_read(foreign.ssl, reply, sizeof reply), 5);
  }
}

TEST_F(TlsTest, ContextsSayWhatIsWrongWithTheirFiles) {
  const auto missing = make_server_context("/nowhere/cert.pem", certificates_.key());
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().text.find("/nowhere/cert.pem"), std::string::npos);
  const auto mismatch =
      make_server_context(certificates_.certificate("server"), certificates_.key("expired"));
  ASSERT_FALSE(mismatch);
  EXPECT_FALSE(make_client_context("gw.test", "/nowhere/ca.pem"));
  const auto expired =
      make_server_context(certificates_.certificate("expired"), certificates_.key("expired"));
  ASSERT_TRUE(expired);
  EXPECT_LT((*expired)->certificate_expires_unix_s(), time(nullptr));
}

// What a foreign client is shown, by the name it asks for.
TEST_F(TlsTest, SniChoosesTheCertificateAndOnlyOurOwnAddressHasADefault) {
  struct Row {
    const char* description;
    const char* sni;
    bool intercepted;
    const char* shown;  // nullptr: refused
  };
  const Row rows[] = {
      {"our own address without a name", nullptr, false, "gw.test"},
      {"our own address by another name", "other.test", false, "gw.test"},
      {"our own address by the provider's name", "api.provider.test", false, "api.provider.test"},
      {"the provider's address by its name", "api.provider.test", true, "api.provider.test"},
      {"case does not matter", "API.Provider.TEST", true, "api.provider.test"},
      {"the provider's address without a name", nullptr, true, nullptr},
      {"the provider's address by our name", "gw.test", true, nullptr},
      {"the provider's address by a name below", "x.api.provider.test", true, nullptr},
  };
  const auto made =
      make_server_context(certificates_.certificate(), certificates_.key(), {},
                          {{"api.provider.test", certificates_.certificate("provider"),
                            certificates_.key("provider")}});
  ASSERT_TRUE(made) << made.error().text;
  server_context_ = *made;
  EXPECT_LT((*made)->certificate_expires_unix_s(), time(nullptr) + 2000) << "the first to expire";
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (const Row& row : rows) {
      Foreign foreign;
      SSL_set_max_proto_version(foreign.ssl, version);
      if (row.sni != nullptr) SSL_set_tlsext_host_name(foreign.ssl, row.sni);
      server_ = End{row.intercepted ? server_context_->make_intercepted_channel()
                                    : server_context_->make_channel(),
                    {},
                    {},
                    {}};
      carry(foreign, server_);
      if (row.shown == nullptr) {
        EXPECT_FALSE(server_.status) << row.description;
        EXPECT_TRUE(is_name_error(server_.status.error())) << row.description;
        continue;
      }
      ASSERT_TRUE(server_.status) << row.description << ": " << server_.status.error().text;
      ASSERT_EQ(server_.channel->state(), State::open) << row.description;
      EXPECT_EQ(server_.channel->server_name(), row.sni == nullptr ? "" : row.sni);
      X509* shown = SSL_get_peer_certificate(foreign.ssl);
      EXPECT_EQ(X509_check_host(shown, row.shown, 0, 0, nullptr), 1) << row.description;
      X509_free(shown);
      ASSERT_TRUE(say(server_, "answer")) << row.description;
    }
  }
}

TEST_F(TlsTest, TheAlertForANameThatIsNotInterceptedSaysSo) {
  const auto made =
      make_server_context(certificates_.certificate(), certificates_.key(), {},
                          {{"api.provider.test", certificates_.certificate("provider"),
                            certificates_.key("provider")}});
  ASSERT_TRUE(made);
  Foreign foreign;
  SSL_set_tlsext_host_name(foreign.ssl, "other.test");
  server_ = End{(*made)->make_intercepted_channel(), {}, {}, {}};
  ERR_clear_error();
  carry(foreign, server_);
  EXPECT_NE(server_.status.error().text.find("other.test is no intercepted host"),
            std::string::npos);
  EXPECT_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_UNRECOGNIZED_NAME);
  ERR_clear_error();
}

TEST_F(TlsTest, AHostsCertificateMustBeForThatHost) {
  const auto wrong = make_server_context(
      certificates_.certificate(), certificates_.key(), {},
      {{"api.provider.test", certificates_.certificate(), certificates_.key()}});
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().text.find("is not for api.provider.test"), std::string::npos);
}

TEST(PlainChannel, PassesBytesAsTheyAre) {
  const auto channel = make_plain_channel();
  EXPECT_EQ(channel->state(), State::open);
  Bytes out;
  const std::string text = "as it is";
  ASSERT_TRUE(channel->send(std::as_bytes(std::span(text)), out));
  EXPECT_EQ(out.size(), text.size());
  std::string got;
  ASSERT_TRUE(channel->receive(
      out,
      [&got](std::span<const std::byte> plain) {
        got.append(reinterpret_cast<const char*>(plain.data()), plain.size());
      },
      out));
  EXPECT_EQ(got, text);
}

}  // namespace
}  // namespace tollgate::tls
