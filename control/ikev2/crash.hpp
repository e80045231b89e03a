// Quick crash detection (RFC 6290): each side tells the other a token of the IKE SA that only it can make. One that was started anew, and
// is asked about an SA that it has no more, answers with the token: the other side need not wait until it takes it for dead. Owns the
// tokens, what is answered to whom about SAs that are not there, and the end of an SA whose token has come. Never gives the token of an SA
// that is there.
//
//   IKE_AUTH, with AUTH:   N(QUICK_CRASH_DETECTION)  -->  <--  N(QUICK_CRASH_DETECTION)           also behind the rekeying of the IKE SA
//   later, of an SA that the other side has lost:
//     HDR(SPIi, SPIr), SK {...}  -->  <--  HDR(SPIi, SPIr), N(INVALID_IKE_SPI), N(QUICK_CRASH_DETECTION)             in clear
#pragma once

#include <array>

#include "control/ike/header.hpp"
#include "control/ikev2/message.hpp"
#include "control/ikev2/states.hpp"

namespace culvert::ikev2 {

class Core;
struct Incoming;

inline constexpr std::size_t kTokenBytes = 16;                           ///< of ours
inline constexpr std::size_t kMinTokenBytes = 16, kMaxTokenBytes = 256;  ///< of a peer's (RFC 6290 §4.1)

/// Of the IKE SA with these SPIs: HMAC-SHA-256(secret, SPIi | SPIr), its beginning (RFC 6290 §5.1).
Bytes crash_token(ByteView secret, IkeSpi spi_i, IkeSpi spi_r);

/// How many answers about SAs that are not there: a few a second to each source, all told so many that a flood is none of ours.
class CrashAnswers {
 public:
  bool take(TimePoint now, const IpAddress& to);

 private:
  struct Bucket {
    TimePoint at{};
    double left = 0;
    bool take(TimePoint now, double burst, double per_second);
  };
  Bucket all_;
  std::array<Bucket, 256> sources_;  ///< by a hash of the address
};

/// Ours for this SA, where there is a secret that outlives us.
void add_token(Core& core, const IkeSa& sa, Builder& out);
/// The peer's.
void note_token(Core& core, IkeSa& sa, const Message& m);
/// ... in an answer of CREATE_CHILD_SA, about the new IKE SA; empty: there is none.
SecretBytes token_in(const Message& m);
/// We have rekeyed the IKE SA: a peer that has told tokens is told ours of the new one (RFC 6290 §4.3). Who answers has it in the answer.
void tell_token(Core& core, const IkeSa& old, IkeSa& heir);

/// A message of an SA that nobody here has.
void answer_unknown(Core& core, const Incoming& in);
/// In clear, about an SA that is there.
void on_crash_notice(Core& core, const Incoming& in, IkeSa& sa);

}  // namespace culvert::ikev2
