// Which method a number names: what was plugged in, a Diffie-Hellman group, or a KEM of the library.
#include "control/crypto/key_exchange.hpp"

#include <map>
#include <utility>

#include "control/crypto/dh.hpp"
#include "control/crypto/kem.hpp"

namespace culvert::crypto {

namespace {
std::map<DhGroup, Method>& plugged() {
  static std::map<DhGroup, Method> all;
  return all;
}
const Method* find_plugged(DhGroup method) {
  const auto& all = plugged();
  const auto found = all.find(method);
  return found == all.end() ? nullptr : &found->second;
}
bool is_kem(DhGroup method) {
  const DhInfo* info = find_ke(method);
  return info != nullptr && info->kem();
}
}  // namespace

std::string_view name(DhError e) {
  switch (e) {
    case DhError::UnknownGroup:
      return "the key exchange method is unknown";
    case DhError::BadLength:
      return "the public value has not the length that its group prescribes";
    case DhError::OutOfRange:
      return "the public value is not between 1 and p-1";
    case DhError::NotOnCurve:
      return "the public value is no point of the curve";
    case DhError::NoKey:
      return "the public value is no key";
    case DhError::Library:
      return "the cryptographic library failed";
  }
  return "unknown";
}

std::expected<std::shared_ptr<KeyExchange>, DhError> begin_exchange(DhGroup method) {
  if (const Method* other = find_plugged(method)) return other->begin();
  if (is_kem(method)) return begin_kem(method);
  auto made = DhKey::generate(method);
  if (!made) return std::unexpected(made.error());
  return std::shared_ptr<KeyExchange>(std::move(*made));
}

std::expected<KeyAnswer, DhError> answer_exchange(DhGroup method, ByteView public_value) {
  if (const Method* other = find_plugged(method)) return other->answer(public_value);
  if (is_kem(method)) return answer_kem(method, public_value);
  const auto own = DhKey::generate(method);
  if (!own) return std::unexpected(own.error());
  auto shared = (*own)->compute(public_value);
  if (!shared) return std::unexpected(shared.error());
  const ByteView value = (*own)->public_value();
  return KeyAnswer{Bytes(value.begin(), value.end()), std::move(*shared)};
}

bool has_method(DhGroup method) {
  return find_plugged(method) != nullptr || (is_kem(method) ? has_kem(method) : find_dh(method) != nullptr);
}

void plug_in(DhGroup number, Method method) { plugged()[number] = std::move(method); }

}  // namespace culvert::crypto
