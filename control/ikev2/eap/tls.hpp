// EAP-TLS (RFC 5216, RFC 9190): messages of TLS in packets of EAP, cut into fragments in each direction; and whose certificate a name asks
// for. Owns the order of fragments and their bounds. What the messages say is TLS's: eap::Server and eap::Client have it done by whoever
// drives them. Of either side.
//
//   |     Flags     |  TLS Message Length (with L; of all fragments)  |  TLS Data ...          RFC 5216 §3.1
//    L: there is a length   M: more comes   S: begin (server)          each fragment is answered, without data, before the next one
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <variant>

#include "common/bytes.hpp"

namespace culvert::eap {

inline constexpr std::size_t kMaxTlsBytes = 65536;  ///< of TLS that one side says in a conversation
inline constexpr std::size_t kTlsFragment = 1000;   ///< bytes of TLS in a packet of ours: 1,010 with all around (RFC 3748 §3.1)
inline constexpr unsigned kMaxTlsRounds = 160;      ///< of a conversation: both sides' messages in such fragments, and some

class TlsFragments {
 public:
  struct Begin {};  ///< the server's first word
  struct Whole {
    Bytes message;  ///< of TLS
  };
  struct More {};     ///< to be answered by ack()
  struct GoOn {};     ///< the other side has our fragment, and waits for next()
  struct Nothing {};  ///< an answer without data to no fragment
  using Taken = std::variant<Begin, Whole, More, GoOn, Nothing>;

  /// The data of a packet of type 13. The error is a part of a sentence.
  std::expected<Taken, std::string> take(ByteView data);
  /// A message for the other side; next() has its first fragment.
  void load(Bytes message);
  [[nodiscard]] bool pending() const { return sent_ < out_.size(); }
  Bytes next();
  static Bytes ack() { return {0}; }
  static Bytes begin() { return {0x20}; }

 private:
  Bytes in_, out_;
  std::size_t announced_ = 0, sent_ = 0, received_ = 0;
  bool collecting_ = false;
};

/// The identity of a certificate that an EAP identity stands for, as IKE has it (RFC 7296 §3.5): the address, FQDN, email address or
/// distinguished name that it reads as.
struct CertificateName {
  std::uint8_t id_type = 0;
  Bytes data;
};
CertificateName certificate_name(std::string_view identity);

}  // namespace culvert::eap
