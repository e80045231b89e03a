#include "control/ikev1/extensions.hpp"

#include <algorithm>
#include <array>
#include <optional>

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
}  // namespace

void offer_extensions(const Phase1Auth& auth, Builder& out) {
  for (const NatText& text : kNatTexts) out.add(Vendor{vendor_id(text.id)});
  out.add(Vendor{vendor_id(VendorId::Dpd)});
  if (auth.user) out.add(Vendor{vendor_id(VendorId::XAuth)});  // draft-beaulieu-ike-xauth-02 §3.2
}

void answer_extensions(const IsakmpSa& sa, const Negotiated& negotiated, Builder& out) {
  if (sa.nat.supported) out.add(Vendor{vendor_id(negotiated.nat_text)});
  if (negotiated.dpd) out.add(Vendor{vendor_id(VendorId::Dpd)});
  if (negotiated.auth.user && negotiated.xauth) out.add(Vendor{vendor_id(VendorId::XAuth)});
}

void note_extensions(const Message& message, Negotiated& out, ike::NatStatus& nat) {
  std::size_t best = kNatTexts.size();
  for (const Vendor* v : message.all<Vendor>()) {
    const VendorIdInfo* known = recognise_vendor(v->data);
    if (!known) continue;
    const auto text = static_cast<std::size_t>(std::ranges::find(kNatTexts, known->id, &NatText::id) - kNatTexts.begin());
    best = std::min(best, text);
    if (known->id == VendorId::Dpd) out.dpd = true;
    if (known->id == VendorId::XAuth) out.xauth = true;
    if (std::ranges::find(out.vendor_ids, known->name) == out.vendor_ids.end()) out.vendor_ids.emplace_back(known->name);
  }
  if (best == kNatTexts.size()) return;
  nat.supported = true;
  nat.dialect = kNatTexts[best].dialect;
  out.nat_text = kNatTexts[best].id;
}

}  // namespace culvert::ikev1
