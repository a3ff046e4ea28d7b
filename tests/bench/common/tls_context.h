// TLS contexts for the bench tools. The same settings everywhere, so that a difference between two
// runs is the gateway's and not the tools'.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

namespace tollgate::bench {

struct FreeContext {
  void operator()(SSL_CTX* context) const { ::SSL_CTX_free(context); }
};
using TlsContext = std::unique_ptr<SSL_CTX, FreeContext>;

// Speaks http/1.1 only. A certificate that cannot be read ends the process.
TlsContext make_server_context(const std::string& certificate, const std::string& private_key);

// TLS 1.3, no resumption (Codex never resumes), and no verification: what is measured is the
// gateway, and the bench made the certificate itself.
TlsContext make_client_context();

}  // namespace tollgate::bench
