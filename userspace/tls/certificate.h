// What a certificate says of itself, for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "userspace/base/result.h"

namespace tollgate::tls {

struct CertificateFacts {
  std::vector<std::string> names;  // subjectAltName: DNS names and addresses
  int64_t expires_unix_s = 0;
  std::string sha256;  // "AB:CD:...", as openssl x509 -fingerprint -sha256 shows it
};
// Of the first certificate in a PEM file.
Result<CertificateFacts> read_certificate(const std::string& file);

}  // namespace tollgate::tls
