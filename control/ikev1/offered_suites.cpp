#include "control/ikev1/offered_suites.hpp"

#include <algorithm>

#include "control/ikev1/transforms.hpp"

namespace culvert::ikev1 {

namespace {
constexpr std::size_t kListed = 8, kLookedAt = 64;

/// Calls `name` for each well-formed transform until enough are listed; it gives a name, or an empty text.
template <class F>
std::vector<std::string> list(const Sa& offered, std::uint8_t protocol, F&& name) {
  std::vector<std::string> out;
  std::size_t looked_at = 0;
  for (const Proposal& p : offered.proposals)
    for (const Transform& t : p.transforms) {
      if (p.protocol != protocol || looked_at++ >= kLookedAt || out.size() == kListed) continue;
      std::string text = name(t);
      if (!text.empty() && std::ranges::find(out, text) == out.end()) out.push_back(std::move(text));
    }
  return out;
}
}  // namespace

std::vector<std::string> configurable_ike(const Sa& offered, std::span<const std::uint16_t> methods) {
  return list(offered, kProtoIsakmp, [&](const Transform& transform) -> std::string {
    const ReadIkeTransform t = read_ike_transform(transform);
    const EncrInfo* e = t.encr_info();
    const PrfInfo* prf = t.prf_info();
    const DhInfo* d = t.dh_info();
    if (!t.problem.empty() || !e || !prf || !d || !t.auth || std::ranges::find(methods, *t.auth) == methods.end()) return {};
    return IkeSuite{e->id, e->key_bits, prf->id, d->id}.to_string();
  });
}

std::vector<std::string> configurable_esp(const Sa& offered, Encapsulation encapsulation, bool ke_present) {
  return list(offered, kProtoEsp, [&](const Transform& transform) -> std::string {
    const ReadEspTransform t = read_esp_transform(transform, SaProtocol::Esp);
    const auto suite = t.suite();
    return suite && t.mode == static_cast<std::uint16_t>(encapsulation) && t.group.has_value() == ke_present ? suite->to_string() : "";
  });
}

}  // namespace culvert::ikev1
