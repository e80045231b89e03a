// Fuzzes what reads certificates, alone and in PKCS #7, names, revocation lists and OCSP answers of strangers. The first byte says which;
// whatever is read keeps its promises, and no text made of it holds a raw byte that a terminal could mistake for a command.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "common/dn.hpp"
#include "control/auth/verify.hpp"
#include "control/crypto/revocation.hpp"

using namespace culvert;

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}
void require_printable(const std::string& text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "§") == 0) {  // of our own RFC references
      ++i;
    } else {
      require(text[i] >= 0x20 && text[i] < 0x7f);
    }
  }
}

constexpr crypto::WallTime kNow{std::chrono::seconds{1767225600}};

void certificate(ByteView data) {
  const auto c = crypto::Certificate::parse(data);
  if (!c) return require_printable(c.error());
  require(std::ranges::equal(c->der(), data));
  require_printable(crypto::described(*c));
  require_printable(control::auth::identities_of(*c));
  static_cast<void>(c->unfit_for_ike());
  static_cast<void>(crypto::outside_validity(*c, kNow));
  static_cast<void>(crypto::ocsp_places(*c));
  static_cast<void>(crypto::list_places(*c));
  ike::VerifyPeer job;
  job.octets = Bytes(20);
  job.signature = Bytes(64);
  job.method = ike::AuthMethod::EcdsaP256;
  job.certificates = {{4, Bytes(data.begin(), data.end())}};
  control::auth::Trust trust;
  trust.anchors = {*c};
  const auto verified = control::auth::verify(trust, job, kNow);
  require(!verified.result.ok);
  require_printable(verified.result.message);
  static_cast<void>(crypto::status_by_lists(*c, *c, {}, kNow, {}));
  require_printable(crypto::status_by_ocsp(*c, *c, Bytes(16), data, kNow, {}).detail);
}

/// A certificate of an authority, and what it has signed of itself: length (2 bytes) of the first, and the second.
void statement(ByteView data, bool is_list) {
  Reader in(data);
  const ByteView der = in.take(std::min<std::size_t>(in.be<std::uint16_t>(), in.remaining()));
  const auto c = crypto::Certificate::parse(der);
  if (!in.ok() || !c) return;
  const ByteView said = in.take(in.remaining());
  if (!is_list) {
    require(!crypto::ocsp_request(*c, *c, Bytes(16)).empty());
    return require_printable(crypto::status_by_ocsp(*c, *c, Bytes(16), said, kNow, {}).detail);
  }
  const auto list = crypto::RevocationList::read(said);
  if (!list) return;
  require(!list->next_update() || *list->next_update() != crypto::WallTime::max());
  require_printable(crypto::unproven(*list, *c, {}).value_or(""));
  for (const crypto::WallTime now :
       {list->this_update(), list->this_update() - std::chrono::hours(1000), kNow + std::chrono::hours(100'000)})
    require_printable(crypto::status_by_lists(*c, *c, {&*list, 1}, now, {}).detail);
}

/// A file of certificates, PEM or DER.
void file(ByteView data) {
  const auto all = crypto::Certificate::read(data);
  if (!all) return require_printable(all.error());
  for (const crypto::Certificate& c : *all) require(crypto::Certificate::parse(c.der()).has_value());
}

/// As a CERT payload carries it (RFC 2408 §3.9): each that comes out of it keeps the promises of one that came alone.
void wrapped(ByteView data) {
  const auto all = crypto::Certificate::unwrap(data);
  if (!all) return require_printable(all.error());
  require(!all->empty() && all->size() <= crypto::kMaxChain);
  for (const crypto::Certificate& c : *all) certificate(c.der());
}

void name(ByteView data) {
  require_printable(name_text(data));
  const auto n = parse_name(data);
  if (!n) return;
  const Bytes again = encode_name(*n);
  require(same_name(again, data) && same_name(data, again) && matches_name(data, again));
  (void)has_wildcard(*n);
  const auto text = parse_name_text(name_text(*n));
  if (text) require(same_name(encode_name(*text), data));
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView rest(data + 1, size - 1);
  if (data[0] == 4) return wrapped(rest), 0;
  if (data[0] == 5) return file(rest), 0;
  if (data[0] == 6 || data[0] == 7) return statement(rest, data[0] == 7), 0;
  switch (data[0] % 4) {
    case 0:
      certificate(rest);
      break;
    case 1:
      name(rest);
      break;
    case 2:
      if (const auto list = crypto::RevocationList::read(rest)) require_printable(list->issuer_text());
      break;
    default:
      if (const auto n = parse_name_text(std::string_view(reinterpret_cast<const char*>(rest.data()), rest.size()))) {
        require(parse_name(encode_name(*n)).has_value());
        require_printable(name_text(*n));
      }
  }
  return 0;
}
