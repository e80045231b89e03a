// The vendor ids in the field. Most are MD5 of a name; a few carry version bytes behind a fixed part.
#include "control/ikev1/vendor_ids.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace culvert::ikev1 {

namespace {
// clang-format off
constexpr std::array kTable{
    VendorIdInfo{VendorId::NatTRfc3947, "NAT-T (RFC 3947)", "4a131c81070358455c5728f20e95452f"},
    VendorIdInfo{VendorId::NatTDraft, "NAT-T (draft 03)", "7d9419a65310ca6f2c179d9215529d56"},
    VendorIdInfo{VendorId::NatTDraft, "NAT-T (draft 02\\n)", "90cb80913ebb696e086381b5ec427b1f"},
    VendorIdInfo{VendorId::NatTDraft, "NAT-T (draft 02)", "cd60464335df21f87cfdb2fc68b6a448"},
    VendorIdInfo{VendorId::NatTDraft, "NAT-T (draft 00)", "4485152d18b6bbcd0be8a8469579ddcc"},
    VendorIdInfo{VendorId::Dpd, "DPD", "afcad71368a1f1c96b8696fc77570100"},
    VendorIdInfo{VendorId::Dpd, "DPD", "afcad71368a1f1c96b8696fc7757", true},
    VendorIdInfo{VendorId::XAuth, "XAuth", "09002689dfd6b712"},
    VendorIdInfo{VendorId::Unity, "Cisco Unity", "12f5f28c457168a9702d9fe274cc", true},
    VendorIdInfo{VendorId::Fragmentation, "FRAGMENTATION", "4048b7d56ebce88525e7de7f00d6c2d3", true},
    VendorIdInfo{VendorId::StrongSwan, "strongSwan", "882fe56d6fd20dbc2251613b2ebe5beb"},
    VendorIdInfo{VendorId::Openswan, "Openswan", "4f45", true},
    VendorIdInfo{VendorId::Libreswan, "Libreswan", "4f452d4c696272657377616e2d", true},
    VendorIdInfo{VendorId::Windows, "MS NT5 ISAKMPOAKLEY", "1e2b516905991c7d7c96fcbfb587e461", true},
    VendorIdInfo{VendorId::Windows, "MS-Negotiation Discovery Capable", "fb1de3cdf341b7ea16b7e5be0855f120"},
    VendorIdInfo{VendorId::Windows, "Vid-Initial-Contact", "26244d38eddb61b3172a36e3d0cfb819"},
    VendorIdInfo{VendorId::Windows, "IKE CGA version 1", "e3a5966a76379fe707228231e5ce8652"},
    VendorIdInfo{VendorId::Cisco, "Cisco VPN 3000", "1f07f70eaa6514d3b0fa96542a50", true},
};
// clang-format on

Bytes bytes_of(std::string_view hex) {
  auto bytes = from_hex(hex);
  if (!bytes) throw std::logic_error("the vendor id table holds no hexadecimal");
  return std::move(*bytes);
}

struct Entry {
  Bytes bytes;
  const VendorIdInfo* info;
};
/// Longest first, so that a whole id wins over a prefix of it.
const std::vector<Entry>& entries() {
  static const std::vector<Entry> sorted = [] {
    std::vector<Entry> out;
    for (const VendorIdInfo& info : kTable) out.push_back({bytes_of(info.hex), &info});
    std::sort(out.begin(), out.end(), [](const Entry& a, const Entry& b) { return a.bytes.size() > b.bytes.size(); });
    return out;
  }();
  return sorted;
}
}  // namespace

std::span<const VendorIdInfo> vendor_id_table() { return kTable; }

const VendorIdInfo* recognise_vendor(ByteView data) {
  for (const Entry& e : entries()) {
    if (data.size() < e.bytes.size() || (!e.info->prefix && data.size() != e.bytes.size())) continue;
    if (std::equal(e.bytes.begin(), e.bytes.end(), data.begin())) return e.info;
  }
  return nullptr;
}

Bytes vendor_id_nat_t() { return bytes_of("4a131c81070358455c5728f20e95452f"); }
Bytes vendor_id_dpd() { return bytes_of("afcad71368a1f1c96b8696fc77570100"); }

}  // namespace culvert::ikev1
