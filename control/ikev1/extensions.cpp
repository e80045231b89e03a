#include "control/ikev1/extensions.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "control/ikev1/vendor_ids.hpp"

namespace culvert::ikev1 {

namespace {
using ike::NatDialect;

struct NatText {
  VendorId id;
  NatDialect dialect;
};
/// The best first.
constexpr std::array kNatTexts{
    NatText{VendorId::NatTRfc3947, NatDialect::Rfc3947},        NatText{VendorId::NatTDraft03, NatDialect::Draft02},
    NatText{VendorId::NatTDraft02Newline, NatDialect::Draft02}, NatText{VendorId::NatTDraft02, NatDialect::Draft02},
    NatText{VendorId::NatTDraft01, NatDialect::Draft00},        NatText{VendorId::NatTDraft00, NatDialect::Draft00},
};

/// The capabilities behind the id, where there are some: the highest bit is Main and Aggressive Mode.
bool fragments_announced(const Bytes& id) {
  constexpr std::size_t kHash = 16;
  return id.size() == kHash || (id.size() > kHash && (id[kHash] & 0x80) != 0);
}

Bytes first_bytes(Bytes bytes, std::size_t most) {
  bytes.resize(std::min(bytes.size(), most));
  return bytes;
}

/// Mode Config is spoken, and Cisco's attributes with it.
bool has_addresses(const config::Connection& c) { return !c.pools.empty() || !c.vips.empty(); }
}  // namespace

void offer_extensions(const config::Connection& c, const Phase1Auth& auth, Builder& out) {
  for (const NatText& text : kNatTexts) out.add(Vendor{vendor_id(text.id)});
  out.add(Vendor{vendor_id(VendorId::Dpd)});
  if (c.fragmentation != config::Fragmentation::No) out.add(Vendor{vendor_id(VendorId::Fragmentation)});
  if (auth.user) out.add(Vendor{vendor_id(VendorId::XAuth)});  // draft-beaulieu-ike-xauth-02 §3.2
  if (has_addresses(c)) out.add(Vendor{vendor_id(VendorId::Unity)});
}

void answer_extensions(const config::Connection& c, const Negotiated& negotiated, Builder& out) {
  const auto asked = [&](VendorId id) { return std::ranges::find(negotiated.announced, id) != negotiated.announced.end(); };
  if (asked(negotiated.nat_text)) out.add(Vendor{vendor_id(negotiated.nat_text)});
  if (asked(VendorId::Dpd)) out.add(Vendor{vendor_id(VendorId::Dpd)});
  if (negotiated.auth.user && asked(VendorId::XAuth)) out.add(Vendor{vendor_id(VendorId::XAuth)});
  if (has_addresses(c) && asked(VendorId::Unity)) out.add(Vendor{vendor_id(VendorId::Unity)});
  // As long as the peer's: Windows sends no capabilities.
  if (asked(VendorId::Fragmentation) && c.fragmentation != config::Fragmentation::No)
    out.add(Vendor{first_bytes(vendor_id(VendorId::Fragmentation), negotiated.fragmentation_id_bytes)});
}

void note_extensions(const Message& message, Negotiated& out) {
  out.announced.clear();
  for (const Vendor* v : message.all<Vendor>()) {
    const VendorIdInfo* known = recognise_vendor(v->data);
    if (!known) continue;
    if (known->id == VendorId::Dpd && !std::exchange(out.dpd, true)) out.announced.push_back(known->id);
    if (known->id == VendorId::XAuth && !std::exchange(out.xauth, true)) out.announced.push_back(known->id);
    if (known->id == VendorId::Unity && !std::exchange(out.unity, true)) out.announced.push_back(known->id);
    if (known->id == VendorId::Fragmentation && fragments_announced(v->data) && !std::exchange(out.fragmentation, true)) {
      out.fragmentation_id_bytes = v->data.size();
      out.announced.push_back(known->id);
    }
    if (std::ranges::find(out.vendor_ids, known->name) == out.vendor_ids.end()) out.vendor_ids.emplace_back(known->name);
  }
}

void note_extensions(const Message& message, Negotiated& out, ike::NatStatus& nat) {
  note_extensions(message, out);
  std::size_t best = kNatTexts.size();
  for (const Vendor* v : message.all<Vendor>())
    if (const VendorIdInfo* known = recognise_vendor(v->data))
      best = std::min(best, static_cast<std::size_t>(std::ranges::find(kNatTexts, known->id, &NatText::id) - kNatTexts.begin()));
  if (best == kNatTexts.size()) return;
  nat.supported = true;
  nat.dialect = kNatTexts[best].dialect;
  out.nat_text = kNatTexts[best].id;
  out.announced.push_back(out.nat_text);
}

}  // namespace culvert::ikev1
