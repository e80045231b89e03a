// Vendor ids (RFC 2408 §3.16) that we send or recognise. Owns the table; what follows from one is the engine's to decide.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "common/bytes.hpp"

namespace culvert::ikev1 {

enum class VendorId : std::uint8_t {
  Unknown,
  NatTRfc3947,
  NatTDraft,
  Dpd,
  XAuth,
  Unity,
  Fragmentation,
  StrongSwan,
  Openswan,
  Libreswan,
  Windows,
  Cisco,
};
struct VendorIdInfo {
  VendorId id{};
  std::string_view name;  ///< "RFC 3947"
  std::string_view hex;   ///< the bytes, or their first ones where `prefix`
  bool prefix = false;    ///< version bytes follow
};
std::span<const VendorIdInfo> vendor_id_table();
/// nullptr: nobody that we know.
const VendorIdInfo* recognise_vendor(ByteView data);
/// The bytes to send for RFC 3947 (§3.1) and DPD (RFC 3706 §5.1, version 1.0).
Bytes vendor_id_nat_t();
Bytes vendor_id_dpd();

}  // namespace culvert::ikev1
