#include "tests/exchange/insider.hpp"

#include <algorithm>

namespace culvert::test {

Insider::Insider(const World& world) {
  const config::Connection& c = world.hosts.front()->config.connections.front();
  const IkeSuite suite = c.proposals.front();
  Bytes nonce_i, nonce_r;
  for (const ike::Datagram& d : world.wire) {
    const bool from_initiator = d.local.address == world.wire.front().local.address;
    const int number = main_mode_number(d, from_initiator);
    const auto seen = look(d);
    if (number == 3) nonce_i = seen->clear->raw(ikev1::PayloadType::Nonce)->body;
    if (number == 4) nonce_r = seen->clear->raw(ikev1::PayloadType::Nonce)->body;
    if (number != 6) continue;
    header_ = seen->header;
    responder_ = d.local;
    initiator_ = d.remote;
    std::copy_n(seen->message.end() - static_cast<std::ptrdiff_t>(iv_.size()), iv_.size(), iv_.begin());
  }
  const std::string psk = "secret";
  secrets_ = ikev1::derive_phase1({suite.prf, as_bytes(psk), nonce_i, nonce_r, world.first_shared.view(), header_.spi_i, header_.spi_r});
  cipher_ = std::make_unique<ikev1::Cipher>(suite.encr, ikev1::phase1_encryption_key(secrets_, suite.key_bits / 8U));
}

ike::Datagram Insider::informational(const ikev1::Builder& payloads, bool to_initiator, MessageId id) const {
  return message(ike::kExchangeInformational, id, payloads, to_initiator);
}

ike::Datagram Insider::message(std::uint8_t exchange, MessageId id, const ikev1::Builder& payloads, bool to_initiator) const {
  ike::Header h = header_;
  h.exchange = exchange;
  h.message_id = id;
  ikev1::Builder all = payloads;
  all.prepend_hash(ikev1::informational_hash(secrets_, h.message_id, payloads.chain()));
  h.next_payload = static_cast<std::uint8_t>(all.first());
  const auto sealed = cipher_->seal(ikev1::exchange_iv(secrets_.prf, iv_, cipher_->block(), h.message_id), all.chain());
  ike::Datagram d{initiator_, responder_, ike::encode_message(h, sealed.body)};
  if (!to_initiator) std::swap(d.local, d.remote);
  return d;
}

}  // namespace culvert::test
