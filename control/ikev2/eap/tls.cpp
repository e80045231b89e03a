#include "control/ikev2/eap/tls.hpp"

#include <algorithm>
#include <utility>

#include "common/dn.hpp"
#include "common/net/ip.hpp"

namespace culvert::eap {

namespace {
constexpr std::uint8_t kLength = 0x80, kMore = 0x40, kStart = 0x20;

std::unexpected<std::string> wrong(const char* what) { return std::unexpected(std::string("a fragment of EAP-TLS ") + what); }
}  // namespace

std::expected<TlsFragments::Taken, std::string> TlsFragments::take(ByteView data) {
  Reader r(data);
  const auto flags = r.be<std::uint8_t>();
  const bool has_length = (flags & kLength) != 0, more = (flags & kMore) != 0;
  const std::size_t length = has_length ? r.be<std::uint32_t>() : 0;
  if (!r.ok()) return wrong("is cut off (RFC 5216 §3.1)");
  const ByteView part = r.take(r.remaining());
  if ((flags & kStart) != 0) {
    if (more || !part.empty() || pending() || received_ != 0) return wrong("begins in the middle of it, or with data");
    return Begin{};
  }
  if (part.empty()) {
    if (more || collecting_ || length != 0) return wrong("says that there is more, and has nothing");
    return pending() ? Taken(GoOn{}) : Taken(Nothing{});
  }
  if (pending()) return wrong("comes before ours have been taken in");
  if (!collecting_) {
    if (more && !has_length) return wrong("is the first one of several, and does not say how long all of them are (RFC 5216 §2.1.5)");
    announced_ = has_length ? length : part.size();
    in_.clear();
    collecting_ = true;
  } else if (has_length && length != announced_) {
    return wrong("says another length than the first one");
  }
  if (announced_ > kMaxTlsBytes - received_)
    return wrong(("is of more than the " + std::to_string(kMaxTlsBytes) + " bytes that are taken in").c_str());
  if (part.size() > announced_ - in_.size() || (part.size() == announced_ - in_.size()) == more)
    return wrong("does not fit the length that was said");
  in_.insert(in_.end(), part.begin(), part.end());
  if (more) return More{};
  received_ += in_.size();
  collecting_ = false;
  return Whole{std::exchange(in_, {})};
}

void TlsFragments::load(Bytes message) {
  out_ = std::move(message);
  sent_ = 0;
}

Bytes TlsFragments::next() {
  const std::size_t size = std::min(out_.size() - sent_, kTlsFragment);
  const bool more = sent_ + size < out_.size(), first = sent_ == 0 && more;
  Writer w;
  w.be(static_cast<std::uint8_t>((first ? kLength : 0) | (more ? kMore : 0)));
  if (first) w.be(static_cast<std::uint32_t>(out_.size()));
  w.bytes(ByteView(out_).subspan(sent_, size));
  sent_ += size;
  return std::move(w).take();
}

CertificateName certificate_name(std::string_view identity) {
  static constexpr std::uint8_t kV4 = 1, kFqdn = 2, kEmail = 3, kV6 = 5, kDn = 9;
  if (identity.find('=') != std::string_view::npos)
    if (const auto name = parse_name_text(identity)) return {kDn, encode_name(*name)};
  if (const auto ip = IpAddress::parse(identity))
    return {ip->family == Family::V4 ? kV4 : kV6, Bytes(ip->view().begin(), ip->view().end())};
  return {identity.find('@') != std::string_view::npos ? kEmail : kFqdn, to_bytes(identity)};
}

}  // namespace culvert::eap
