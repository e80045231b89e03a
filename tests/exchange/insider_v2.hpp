// An IKEv2 initiator that has the keys and misuses them: proves itself, then sends what two well-behaved engines never say to each other.
// Owns its own end of one IKE SA, in real cryptography; no timer, and no opinion about what it is told.
#pragma once

#include <optional>
#include <set>
#include <vector>

#include "control/crypto/dh.hpp"
#include "control/ikev2/cipher.hpp"
#include "control/ikev2/keymat.hpp"
#include "control/ikev2/message.hpp"
#include "tests/exchange/world.hpp"

namespace culvert::test {

class InsiderV2 {
 public:
  /// Towards a host whose connection "c" takes "aes128gcm16-prfsha256-ecp256" and the secret "secret". The host's answers to `address`
  /// are this one's: no host may have that address, and the world's hook is taken.
  InsiderV2(World& world, Host& host, const IpAddress& address);

  /// How another's client begins: its SA payload, of which the host is to choose this suite, and who it says that it is.
  struct Manner {
    IkeSuite suite;
    Bytes sa;
    ikev2::IdI id;
  };
  std::optional<Manner> manner{};
  std::optional<ikev2::IdI> calls_itself{};  ///< from now on
  /// IKE_SA_INIT; false: it came to nothing.
  bool begin();
  std::optional<ikev2::Message> init_answer;

  /// IKE_SA_INIT and IKE_AUTH with a CHILD SA for these selectors; the answer to IKE_AUTH; nullopt: there was none that opens.
  /// With a configuration payload, if there is one to send.
  std::optional<ikev2::Message> connect(const TrafficSelector& mine, const TrafficSelector& theirs,
                                        const std::optional<ikev2::Cp>& asked = {});
  /// The same as a user, without a proof: what the host says to that.
  std::optional<ikev2::Message> connect_as_user(const TrafficSelector& mine, const TrafficSelector& theirs);
  /// The proof behind EAP, or by a pre-shared key: by this key, or by SK_pi.
  [[nodiscard]] ikev2::Auth proof(const SecretBytes& msk) const;
  [[nodiscard]] ikev2::IdI identity() const;
  /// The next request; its answer, if there is one.
  std::optional<ikev2::Message> ask(std::uint8_t exchange, const ikev2::Builder& payloads);
  /// The same with a chain as it is.
  std::optional<ikev2::Message> ask(std::uint8_t exchange, ikev2::PayloadType first, ByteView chain);
  /// The next request, as it would be sent.
  [[nodiscard]] Bytes sealed(std::uint8_t exchange, const ikev2::Builder& payloads);
  [[nodiscard]] Bytes sealed(std::uint8_t exchange, ikev2::PayloadType first, ByteView chain);
  /// The same in fragments with so many bytes inside (RFC 7383).
  [[nodiscard]] std::vector<Bytes> sealed_parts(std::uint8_t exchange, const ikev2::Builder& payloads, std::size_t room);
  /// Sends what was sealed; what the host answers is for the world's hook.
  void send(const Bytes& message) { world_.deliver({host_, own_, message}); }
  /// What is inside of a message of the host's.
  [[nodiscard]] std::optional<ikev2::Message> opened(ByteView message) const;
  /// The inbound SPI of the n-th CHILD SA that this one asked for.
  [[nodiscard]] static Spi spi(std::uint32_t n) { return Spi{0xc0de0000U + n}; }
  std::uint32_t next_id = 0;
  ikev2::Builder in_init, in_auth;                        ///< what its IKE_SA_INIT and IKE_AUTH have besides: notifications
  std::optional<std::string> ppk{};                       ///< what its AUTH is made with
  std::string proposal = "aes128gcm16-prfsha256-ecp256";  ///< offered; its first suite must be the one that is chosen

  /// What connect() is made of behind begin(), for those who do it otherwise.
  /// IKE_INTERMEDIATE with a key of this method (RFC 9370 §2.2.2); the answer. Its keys are the new ones then, if it has a KE payload.
  std::optional<ikev2::Message> exchange_key(DhGroup method);
  std::optional<ikev2::Message> prove(const TrafficSelector& mine, const TrafficSelector& theirs,
                                      const std::optional<ikev2::Cp>& asked = {});
  /// Rekeys the IKE SA; the answer. It goes on under the new one, if that is made.
  std::optional<ikev2::Message> rekey();
  ikev2::IntAuth int_auth;  ///< of what it has exchanged so far

  /// From now on it is there; what is sent to where it was reaches it, too.
  void go(const IpAddress& address);
  std::vector<ikev2::NotifyType> announces;  ///< in IKE_AUTH
  /// The last request of the host since our own last one, and where it came to; nullopt: there was none.
  struct Asked {
    ike::Header header;
    ikev2::Message message;
    Endpoint at;
  };
  [[nodiscard]] std::optional<Asked> asked() const;
  void answer(const Asked& request, const ikev2::Builder& payloads);
  Bytes last;  ///< request, as sent
  [[nodiscard]] const Endpoint& host() const { return host_; }

 private:
  [[nodiscard]] ike::Header header(std::uint8_t exchange) const;
  std::optional<Bytes> exchange(const Bytes& message);
  [[nodiscard]] SecretBytes sk_pi() const;
  [[nodiscard]] SecretBytes octets() const;  ///< that this one proves itself by
  void take(ikev2::IkeKeys keys);
  [[nodiscard]] IkeSuite agreed() const;

  World& world_;
  Endpoint own_, host_;
  std::shared_ptr<crypto::DhKey> key_;
  IkeSpi spi_i_{0x1d51de}, spi_r_;
  std::optional<ikev2::Cipher> seal_, open_;
  ikev2::IkeKeys keys_;
  Bytes request_, nonce_r_;  ///< IKE_SA_INIT
  std::vector<ike::Datagram> answers_;
  std::set<IpAddress> addresses_;
};

}  // namespace culvert::test
