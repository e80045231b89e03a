// One golden vector per payload, written out by hand from the RFC's layouts. Used by the payload tests and as seeds for fuzzing.
#pragma once

#include <array>

#include "control/ikev1/message.hpp"

namespace culvert::ikev1::test {

struct Golden {
  const char* name;
  PayloadType type;
  const char* body;  ///< hexadecimal, without the generic header
};

inline constexpr std::array kGolden{
    // One ISAKMP proposal, two KE_IKE transforms: AES-256/SHA2-256/modp2048/PSK/14400 s and AES-128/SHA1/...; the last one
    // with a life duration in TLV form.
    Golden{"SA, phase 1", PayloadType::Sa,
           "00000001 00000001"
           "00000054 01010002"
           "03000024 01010000 80010007 800e0100 80020004 8004000e 80030001 800b0001 800c3840"
           "00000028 02010000 80010007 800e0080 80020002 8004000e 80030001 800b0001 000c0004 00015180"},
    // ESP with SPI c0ffee01, one transform: AES-128-GCM-16, UDP tunnel, 3600 s, group 19.
    Golden{"SA, phase 2", PayloadType::Sa,
           "00000001 00000001"
           "00000028 01030401 c0ffee01"
           "0000001c 01140000 80010001 80020e10 80030013 80040003 80060080"},
    Golden{"KE", PayloadType::Ke, "000102030405060708090a0b0c0d0e0f"},
    Golden{"ID, FQDN", PayloadType::Id, "02 11 01f4 67772d612e6578616d706c65"},
    Golden{"ID, subnet", PayloadType::Id, "04 06 0050 0a010000 ffffff00"},
    Golden{"HASH", PayloadType::Hash, "ffeeddccbbaa99887766554433221100ffeeddcc"},
    Golden{"NONCE", PayloadType::Nonce, "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"},
    Golden{"N, NO-PROPOSAL-CHOSEN", PayloadType::Notify, "00000001 03 04 000e c0ffee01"},
    Golden{"N, R-U-THERE", PayloadType::Notify, "00000001 01 10 8d28 01020304050607081112131415161718 0000002a"},
    Golden{"D, two ESP SPIs", PayloadType::Delete, "00000001 03 04 0002 c0ffee01 c0ffee02"},
    Golden{"D, ISAKMP", PayloadType::Delete, "00000001 01 10 0001 01020304050607081112131415161718"},
    Golden{"VID, RFC 3947", PayloadType::Vendor, "4a131c81070358455c5728f20e95452f"},
    Golden{"NAT-D", PayloadType::NatD, "000102030405060708090a0b0c0d0e0f10111213"},
    Golden{"NAT-OA", PayloadType::NatOa, "01 000000 0a090001"},
    Golden{"ATTR, XAuth request", PayloadType::Attributes, "01 00 1234  c088 0000  4089 0000  408a 0000"},
    Golden{"ATTR, Mode Config reply", PayloadType::Attributes,
           "02 00 0001  0001 0004 0a030007  0003 0004 0a010035  7004 000e 0a010000ffffff00000000000000  7000 0003 486921"},
    Golden{"CERT", PayloadType::Cert, "04 3082"},
    Golden{"CR", PayloadType::CertReq, "04"},
    Golden{"SIG", PayloadType::Sig, "0011223344"},
    Golden{"private payload 200", static_cast<PayloadType>(200), "cafe"},
};

}  // namespace culvert::ikev1::test
