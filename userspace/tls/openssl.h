// OpenSSL's objects with owners, and its error queue as text. Internal to this folder.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "userspace/base/result.h"
#include "userspace/tls/channel.h"

namespace tollgate::tls {

struct Free {
  void operator()(SSL* p) const { SSL_free(p); }
  void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
  void operator()(BIO_METHOD* p) const { BIO_meth_free(p); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

// The oldest reason in this thread's error queue ("tlsv1 alert unknown ca"), which is then empty.
std::string take_openssl_reason();

// To be called once for each context whose channels may enter the kernel: their traffic secrets
// reach the channel by it and go nowhere else.
void pass_secrets_to_channels(SSL_CTX* context);

// `owner` is kept as long as the channel: what the callbacks of its SSL_CTX look at.
std::unique_ptr<Channel> make_openssl_channel(Owned<SSL> ssl, const KernelUse& kernel,
                                              std::shared_ptr<const void> owner = nullptr);

}  // namespace tollgate::tls
