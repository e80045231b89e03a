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
  NatTDraft03,
  NatTDraft02Newline,  ///< the hash of the draft's name with a newline behind it: what most of the field sends for draft 02
  NatTDraft02,
  NatTDraft01,
  NatTDraft00,
  NatTOther,  ///< drafts that nobody here speaks
  Dpd,
  XAuth,
  Unity,
  Fragmentation,
  Product,  ///< says who the peer is, and asks for nothing
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
/// The bytes to send. Not for Unknown, NatTOther and Product.
Bytes vendor_id(VendorId id);

}  // namespace culvert::ikev1
