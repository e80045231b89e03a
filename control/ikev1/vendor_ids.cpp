// The vendor ids in the field. Most are MD5 of a name; a few carry version bytes behind a fixed part.
#include "control/ikev1/vendor_ids.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace culvert::ikev1 {

namespace {
// clang-format off
// The first row of an id is what we send.
constexpr std::array kTable{
    VendorIdInfo{VendorId::NatTRfc3947, "NAT-T (RFC 3947)", "4a131c81070358455c5728f20e95452f"},
    VendorIdInfo{VendorId::NatTDraft03, "NAT-T (draft 03)", "7d9419a65310ca6f2c179d9215529d56"},
    VendorIdInfo{VendorId::NatTDraft02Newline, "NAT-T (draft 02\\n)", "90cb80913ebb696e086381b5ec427b1f"},
    VendorIdInfo{VendorId::NatTDraft02, "NAT-T (draft 02)", "cd60464335df21f87cfdb2fc68b6a448"},
    VendorIdInfo{VendorId::NatTDraft01, "NAT-T (draft 01)", "16f6ca16e4a4066d83821a0f0aeaa862"},
    VendorIdInfo{VendorId::NatTDraft00, "NAT-T (draft 00)", "4485152d18b6bbcd0be8a8469579ddcc"},
    VendorIdInfo{VendorId::NatTOther, "NAT-T (draft 04)", "9909b64eed937c6573de52ace952fa6b"},
    VendorIdInfo{VendorId::NatTOther, "NAT-T (draft 05)", "80d0bb3def54565ee84645d4c85ce3ee"},
    VendorIdInfo{VendorId::NatTOther, "NAT-T (draft 06)", "4d1e0e136deafa34c4f3ea9f02ec7285"},
    VendorIdInfo{VendorId::NatTOther, "NAT-T (draft 07)", "439b59f8ba676c4c7737ae22eab8f582"},
    VendorIdInfo{VendorId::NatTOther, "NAT-T (draft 08)", "8f8d83826d246b6fc7a8a6a428c11de8"},
    VendorIdInfo{VendorId::NatTOther, "NAT-T (draft, Apple)", "4df37928e9fc4fd1b3262170d515c662"},
    VendorIdInfo{VendorId::NatTOther, "NAT-T (draft-stenberg-01)", "27bab5dc01ea0760ea4e3190ac27c0d0"},
    VendorIdInfo{VendorId::NatTOther, "NAT-T (draft-stenberg-02)", "6105c422e76847e43f9684801292aecd"},
    VendorIdInfo{VendorId::NatTOther, "ESPThruNAT", "50760f624c63e5c53eea386c685ca083"},
    VendorIdInfo{VendorId::Dpd, "DPD", "afcad71368a1f1c96b8696fc77570100"},
    VendorIdInfo{VendorId::Dpd, "DPD", "afcad71368a1f1c96b8696fc7757", true},
    VendorIdInfo{VendorId::XAuth, "XAuth", "09002689dfd6b712"},
    VendorIdInfo{VendorId::Unity, "Cisco Unity", "12f5f28c457168a9702d9fe274cc0100"},
    VendorIdInfo{VendorId::Unity, "Cisco Unity", "12f5f28c457168a9702d9fe274cc", true},
    // Capabilities follow in the field: 0x80000000 is Main and Aggressive Mode. Windows sends none.
    VendorIdInfo{VendorId::Fragmentation, "FRAGMENTATION", "4048b7d56ebce88525e7de7f00d6c2d380000000"},
    VendorIdInfo{VendorId::Fragmentation, "FRAGMENTATION", "4048b7d56ebce88525e7de7f00d6c2d3", true},
    VendorIdInfo{VendorId::Product, "strongSwan", "882fe56d6fd20dbc2251613b2ebe5beb"},
    VendorIdInfo{VendorId::Product, "Libreswan", "4f452d4c696272657377616e2d", true},
    VendorIdInfo{VendorId::Product, "Openswan", "4f45", true},
    VendorIdInfo{VendorId::Product, "racoon", "7003cbc1097dbe9c2600ba6983bc8b35"},
    VendorIdInfo{VendorId::Product, "Windows 2000", "1e2b516905991c7d7c96fcbfb587e46100000002", true},
    VendorIdInfo{VendorId::Product, "Windows XP", "1e2b516905991c7d7c96fcbfb587e46100000003", true},
    VendorIdInfo{VendorId::Product, "Windows Server 2003", "1e2b516905991c7d7c96fcbfb587e46100000004", true},
    VendorIdInfo{VendorId::Product, "Windows Vista", "1e2b516905991c7d7c96fcbfb587e46100000006", true},
    VendorIdInfo{VendorId::Product, "Windows 7", "1e2b516905991c7d7c96fcbfb587e46100000008", true},
    VendorIdInfo{VendorId::Product, "Windows 8 or later", "1e2b516905991c7d7c96fcbfb587e46100000009", true},
    VendorIdInfo{VendorId::Product, "Windows (MS NT5 ISAKMPOAKLEY)", "1e2b516905991c7d7c96fcbfb587e461", true},
    VendorIdInfo{VendorId::Product, "Windows (MS-Negotiation Discovery Capable)", "fb1de3cdf341b7ea16b7e5be0855f120"},
    VendorIdInfo{VendorId::Product, "Windows (Vid-Initial-Contact)", "26244d38eddb61b3172a36e3d0cfb819"},
    VendorIdInfo{VendorId::Product, "Windows (IKE CGA version 1)", "e3a5966a76379fe707228231e5ce8652"},
    VendorIdInfo{VendorId::Product, "Windows (GSSAPI)", "621b04bb09882ac1e15935fefa24aeee"},
    VendorIdInfo{VendorId::Product, "Cisco VPN 3000 or ASA", "1f07f70eaa6514d3b0fa96542a", true},
    VendorIdInfo{VendorId::Product, "Cisco (delete with reason)", "434953434f2d44454c4554452d524541534f4e"},
    VendorIdInfo{VendorId::Product, "Cisco (FlexVPN)", "464c455856504e2d535550504f52544544"},
    VendorIdInfo{VendorId::Product, "Juniper or NetScreen", "9b096d9ac3275a7d6fe8b91c583111b09efed1a0", true},
    VendorIdInfo{VendorId::Product, "Juniper or NetScreen", "92d27a9ecb31d99246986d3453d0c3d57a222a61", true},
    VendorIdInfo{VendorId::Product, "Juniper or NetScreen", "699369228741c6d4ca094c93e242c9de19e7b7c6", true},
    VendorIdInfo{VendorId::Product, "Juniper (HeartBeat_Notify)", "4865617274426561745f4e6f74696679", true},
    VendorIdInfo{VendorId::Product, "Fortinet", "8299031757a36082c6a621de", true},
    VendorIdInfo{VendorId::Product, "Fortinet (auto-discovery sender)", "9b15e65a871aff342666623ba5022e60"},
    VendorIdInfo{VendorId::Product, "Fortinet (auto-discovery receiver)", "ca4a4cbb12eab6c58c57067c2e653786"},
    VendorIdInfo{VendorId::Product, "Apple", "4d6163204f53582031302e78"},
    VendorIdInfo{VendorId::Product, "Check Point", "f4ed19e0c114eb516faaac0ee37daf2807b4381f", true},
    VendorIdInfo{VendorId::Product, "SonicWall", "404bf439522ca3f6", true},
    VendorIdInfo{VendorId::Product, "ZyXEL", "b858d1addd08c1e8adafea150608aa4497aa6cc8"},
    VendorIdInfo{VendorId::Product, "ZyXEL", "625027749d5ab97f5616c1602765cf480a3b7d0b"},
    VendorIdInfo{VendorId::Product, "ZyXEL", "f758f22668750f03b08df6ebe1d0"},
    VendorIdInfo{VendorId::Product, "SafeNet", "47bbe7c993f1fc13b4e6d0db565c68e5", true},
    VendorIdInfo{VendorId::Product, "SafeNet or WatchGuard", "da8e9378", true},
    VendorIdInfo{VendorId::Product, "Nortel Contivity", "424e4553", true},
    VendorIdInfo{VendorId::Product, "TimeStep", "54494d4553544550", true},
    VendorIdInfo{VendorId::Product, "OpenPGP", "4f70656e504750", true},
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

Bytes vendor_id(VendorId id) {
  const auto* row = std::ranges::find_if(kTable, [id](const VendorIdInfo& r) { return r.id == id && !r.prefix; });
  return bytes_of(row->hex);
}

}  // namespace culvert::ikev1
