// MS-CHAP version 2: what its two sides calculate (RFC 2759 §8, RFC 3079 §3), and its messages inside of EAP
// (draft-kamath-pppext-eap-mschapv2-02 §2). Owns the formulas and the layouts. Keeps nothing, compares nothing.
//
//   server -> client   Challenge(16 bytes, the server's name)
//   server <- client   Response(16 bytes, the proof, the user's name)
//   server -> client   Success(the server's proof that it knows the password, too)    |    Failure(E=691: name or password are wrong)
//   server <- client   Success                                                        |    Failure
#pragma once

#include <optional>

#include "common/bytes.hpp"
#include "common/secret.hpp"

namespace culvert::eap {

inline constexpr std::size_t kMschapChallenge = 16, kNtResponse = 24;
inline constexpr std::size_t kMsk = 64;  ///< RFC 5247 §1.2

/// Both challenges, and who answers.
struct Challenges {
  ByteView server, peer;
  ByteView user;  ///< as it stands in the Response: what is in front of a backslash, a domain, is not calculated with
};
/// GenerateNTResponse(), from the hash of the password.
SecretBytes nt_response(const Challenges& c, ByteView nt_hash);
/// GenerateAuthenticatorResponse(): "S=" and 40 digits.
SecretBytes authenticator_response(const Challenges& c, ByteView nt_hash, ByteView nt_response);
/// GetMasterKey().
SecretBytes master_key(ByteView nt_hash, ByteView nt_response);
/// GetAsymmetricStartKey(), 128 bits of it: what the server sends with, or what it receives with.
SecretBytes start_key(ByteView master_key, bool server_sends);
/// The server's receiving key, its sending key, and zeros up to 64 bytes: as Windows and others have it.
SecretBytes mschapv2_msk(ByteView nt_hash, ByteView nt_response);

enum class MsOp : std::uint8_t { Challenge = 1, Response = 2, Success = 3, Failure = 4 };

///  |    OpCode     |  MS-CHAPv2-ID |           MS-Length           |  Value-Size   |  Challenge (16) | Name ...
struct MsChallenge {
  std::uint8_t id = 0;
  Bytes challenge, name;
};
///  ... |  Value-Size (49) | Peer-Challenge (16) | reserved (8) | NT-Response (24) | Flags | Name ...
struct MsResponse {
  std::uint8_t id = 0;
  Bytes challenge, proof, name;
};
///  ... | Message: "S=... M=..." or "E=691 R=0 C=... V=3 M=..."
struct MsVerdict {
  MsOp op{};
  std::uint8_t id = 0;
  Bytes message;
};
/// What a message of EAP-MSCHAPv2 is; nullopt: it has not even a byte, or one that means nothing.
std::optional<MsOp> ms_op(ByteView data);
Parsed<MsChallenge> parse_ms_challenge(ByteView data);
Parsed<MsResponse> parse_ms_response(ByteView data);
/// Of a request: an answer is the first byte alone.
Parsed<MsVerdict> parse_ms_verdict(ByteView data);
Bytes encode(const MsChallenge& m);
Bytes encode(const MsResponse& m);
Bytes encode(const MsVerdict& m);

}  // namespace culvert::eap
