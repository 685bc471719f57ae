#include "common/auth/mac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cstdio>
#include <cstdlib>

namespace dfs {

std::string HmacSha256(std::string_view key, std::string_view message) {
  std::string out(kMacSize, '\0');
  unsigned int size = 0;
  if (key.empty() ||
      HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(message.data()), message.size(),
           reinterpret_cast<unsigned char*>(out.data()), &size) == nullptr ||
      size != kMacSize) {
    // Going on without authentication is not an option, and there is nobody to report to.
    std::fputs("HMAC-SHA256 is not available or the key is empty\n", stderr);
    std::abort();
  }
  return out;
}

std::string DeriveKey(std::string_view key, std::string_view purpose) {
  // One block of HKDF-Expand (RFC 5869): the cluster key is uniformly random, so no extract step.
  std::string info(purpose);
  info.push_back('\x01');
  return HmacSha256(key, info);
}

bool ConstantTimeEqual(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace dfs
