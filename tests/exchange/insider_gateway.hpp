// An IKEv2 responder that has the keys and misuses them: takes what an engine begins, and answers as no well-behaved one does.
// Owns its own end of one IKE SA, in real cryptography; no timer, and no opinion about what it is told.
#pragma once

#include <deque>
#include <optional>

#include "control/crypto/dh.hpp"
#include "control/ikev2/cipher.hpp"
#include "control/ikev2/keymat.hpp"
#include "control/ikev2/message.hpp"
#include "control/ikev2/proposal.hpp"
#include "tests/exchange/world.hpp"

namespace culvert::test {

class InsiderGateway {
 public:
  /// At `address`, towards a host that offers "aes128gcm16-prfsha256-ecp256". The world's hook is taken; what goes elsewhere is counted.
  InsiderGateway(World& world, const IpAddress& address) : world_(world), address_(address) {
    world.real_dh = true;
    world.hook = [this](ike::Datagram& d) {
      if (d.remote.address != address_) ++elsewhere;
      if (d.remote.address == address_) came_.push_back(d);
      return d.remote.address != address_;
    };
  }

  ikev2::Builder in_init;     ///< what its IKE_SA_INIT has besides: notifications
  unsigned elsewhere = 0;     ///< messages of the host to others
  std::uint8_t exchange = 0;  ///< of the request at work

  /// The host's IKE_SA_INIT, answered, and the next request; nullopt: there was none.
  std::optional<ikev2::Message> meet() {
    const auto first = wait();
    const auto framed = first ? ike::parse_header(first->data) : std::unexpected(ike::HeaderError{});
    if (!framed) return std::nullopt;
    const auto asked = ikev2::Message::parse(ikev2::PayloadType{framed->header.next_payload}, framed->body);
    if (!asked) return std::nullopt;
    const auto suites = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    const auto key = crypto::DhKey::generate(DhGroup::Ecp256).value();
    ikev2::Builder b;
    b.add(ikev2::build_ike_offer(suites)).add(ikev2::Ke{DhGroup::Ecp256, Bytes(key->public_value().begin(), key->public_value().end())});
    b.add(ikev2::Nonce{Bytes(32, 0x22)});
    const auto more = ikev2::Message::parse(in_init.first(), in_init.chain());
    for (const ikev2::Payload& p : more.value().payloads()) b.add_raw(p.type, p.body);
    header_.spi_i = framed->header.spi_i;
    header_.spi_r = IkeSpi{0x9a7e3a};
    header_.message_id = {};
    header_.major = 2;
    header_.exchange = ike::kExchangeSaInit;
    header_.flags = ike::kFlagResponse;
    header_.next_payload = static_cast<std::uint8_t>(b.first());
    init_reply_ = ike::encode_message(header_, b.chain());
    nonce_i_ = asked->find<ikev2::Nonce>()->data;
    const auto shared = key->compute(asked->find<ikev2::Ke>()->data);
    keys_ = ikev2::derive({suites[0], nonce_i_, Bytes(32, 0x22), shared->view(), header_.spi_i, header_.spi_r});
    seal_.emplace(suites[0], keys_.er, keys_.ar);
    open_.emplace(suites[0], keys_.ei, keys_.ai);
    world_.deliver({first->local, first->remote, init_reply_});
    return next();
  }
  /// The host's next request; nullopt: there was none within a second.
  std::optional<ikev2::Message> next() {
    last_ = wait();
    const auto opened = last_ ? open_->open(last_->data) : std::unexpected(ikev2::OpenError::NoSk);
    if (!opened) return std::nullopt;
    const auto header = ike::parse_header(last_->data)->header;
    exchange = header_.exchange = header.exchange;
    header_.message_id = header.message_id;
    auto m = ikev2::Message::parse(opened->first, opened->chain);
    return m ? std::optional(std::move(*m)) : std::nullopt;
  }
  /// By a pre-shared key, over this identity; with a PPK, if there is one.
  [[nodiscard]] ikev2::Auth proof(const ikev2::IdR& id, ByteView secret, const std::optional<std::string>& ppk = {}) const {
    const SecretBytes pr = ppk ? ikev2::ppk_keys(keys_, as_bytes(*ppk)).pr : keys_.pr;
    const SecretBytes octets = ikev2::signed_octets(keys_.prf, init_reply_, nonce_i_, pr.view(), ikev2::encode_body(id), {});
    const SecretBytes auth = ikev2::shared_key_auth(keys_.prf, secret, octets.view());
    return {ikev2::AuthMethodId::SharedKey, Bytes(auth.view().begin(), auth.view().end())};
  }
  /// The answer to the request at work.
  void answer(const ikev2::Builder& payloads) {
    world_.deliver({last_->local, last_->remote, seal_->seal(header_, payloads.first(), payloads.chain())});
  }

 private:
  std::optional<ike::Datagram> wait() {
    if (!world_.run_until([&] { return !came_.empty(); }, 1s)) return std::nullopt;
    ike::Datagram out = std::move(came_.front());
    came_.pop_front();
    return out;
  }

  World& world_;
  IpAddress address_;
  std::deque<ike::Datagram> came_;
  std::optional<ike::Datagram> last_;
  ike::Header header_;
  ikev2::IkeKeys keys_;
  Bytes init_reply_, nonce_i_;
  std::optional<ikev2::Cipher> seal_, open_;
};

}  // namespace culvert::test
