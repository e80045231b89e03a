// EAP, the side that is asked (RFC 3748): we are a user, and prove it by the one method that is configured.
// Owns the conversation with one server. Pure. Never answers by another method, however the server asks for it, and never takes an end
// for good before the method has come to its own.
//
//   user <- server   Request(Identity)                                       user -> server   Response(Identity)
//   user <- server   Request of another method                               user -> server   Response(Nak, ours)
//   user <- server   Request(MS-CHAPv2 Challenge), Request(MD5-Challenge)    user -> server   Response(...)
//   user <- server   Request(MS-CHAPv2 Success)                              user -> server   Response(Success), if the server has proved
//   (EAP-TLS: requests and responses of it as with the server)
//   user <- server   Success, Failure                                                         that it knows the password, too
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "control/ikev2/eap/server.hpp"

namespace culvert::eap {

class Client {
 public:
  using Verdict = std::variant<Reply, StepTls, Proved, Refusal>;

  struct Own {
    Method method{};
    Bytes identity;
    SecretBytes password;
    Bytes challenge;  ///< random, 16 bytes
  };
  explicit Client(Own own) : own_(std::move(own)) {}

  Verdict on_packet(ByteView bytes);
  /// Behind StepTls.
  Verdict on_tls(TlsNews news);
  /// TLS has failed, and the server is told so: what its answer, whatever it is, comes too late for.
  [[nodiscard]] const std::optional<Refusal>& failed() const { return failed_; }
  /// Behind Proved, as with the server.
  [[nodiscard]] const SecretBytes& msk() const { return msk_; }

 private:
  enum class State : std::uint8_t { Begun, Answered, Done };
  Verdict on_request(const Packet& p);
  Verdict on_mschapv2(const Packet& p);
  Verdict on_ms_verdict(const Packet& p);
  Verdict on_md5(const Packet& p);
  Verdict on_tls_packet(const Packet& p);

  Own own_;
  State state_{};
  std::string other_;     ///< the method that the server asked for last, and we do not do
  SecretBytes expected_;  ///< the server's proof, as it must say it
  SecretBytes msk_;
  TlsFragments tls_;
  std::uint8_t tls_request_ = 0;  ///< that is at work
  bool tls_steps_ = false;
  std::optional<Refusal> failed_;
};

}  // namespace culvert::eap
