#include "tests/exchange/insider_v2.hpp"

#include <algorithm>

#include "control/ikev2/proposal.hpp"

namespace culvert::test {

using namespace ikev2;

InsiderV2::InsiderV2(World& world, Host& host, const IpAddress& address)
    : world_(world),
      own_{address, 500},
      host_{host.config.connections[0].local_addrs[0], 500},
      key_(crypto::DhKey::generate(DhGroup::Ecp256).value()),
      addresses_{address} {
  world.real_dh = true;
  world.hook = [this](ike::Datagram& d) {
    if (!addresses_.contains(d.remote.address)) return true;
    answers_.push_back(d);
    return false;
  };
}

std::optional<Bytes> InsiderV2::exchange(const Bytes& message) {
  answers_.clear();
  last = message;
  world_.deliver({host_, own_, message});
  world_.run(20ms);
  return answers_.empty() ? std::nullopt : std::optional(answers_.front().data);
}

void InsiderV2::go(const IpAddress& address) {
  own_.address = address;
  addresses_.insert(address);
}

std::optional<InsiderV2::Asked> InsiderV2::asked() const {
  for (auto it = answers_.rbegin(); it != answers_.rend(); ++it) {
    const auto framed = ike::parse_header(it->data);
    if (!framed || (framed->header.flags & ike::kFlagResponse) != 0) continue;
    const auto opened = open_->open(it->data);
    auto m = opened ? Message::parse(opened->first, opened->chain) : std::unexpected(ParseError{});
    if (m) return Asked{framed->header, std::move(*m), it->remote};
  }
  return std::nullopt;
}

void InsiderV2::answer(const Asked& request, const Builder& payloads) {
  ike::Header h;
  h.spi_i = spi_i_;
  h.spi_r = spi_r_;
  h.major = 2;
  h.exchange = request.header.exchange;
  h.flags = ike::kFlagInitiator | ike::kFlagResponse;
  h.message_id = request.header.message_id;
  answers_.clear();
  world_.deliver({host_, own_, seal_->seal(h, payloads.first(), payloads.chain())});
  world_.run(20ms);
}

namespace {
void append(Builder& to, const Builder& more) {
  const auto m = Message::parse(more.first(), more.chain());
  for (const Payload& p : m.value().payloads()) to.add_raw(p.type, p.body);
}
}  // namespace

namespace {
const Bytes kNonce(32, 0x11);
}  // namespace

bool InsiderV2::begin() {
  const auto suites = manner ? std::vector{manner->suite} : parse_ike_proposal_v2(proposal).value();
  const DhGroup group = suites[0].group;
  if (manner) key_ = crypto::DhKey::generate(group).value();
  const Bytes value(key_->public_value().begin(), key_->public_value().end());
  Builder first;
  first.add_raw(PayloadType::Sa, manner ? manner->sa : encode_body(build_ike_offer(suites))).add(Ke{group, value}).add(Nonce{kNonce});
  append(first, in_init);
  ike::Header h;
  h.spi_i = spi_i_;
  h.major = 2;
  h.exchange = ike::kExchangeSaInit;
  h.flags = ike::kFlagInitiator;
  h.next_payload = static_cast<std::uint8_t>(first.first());
  request_ = ike::encode_message(h, first.chain());
  const auto reply = exchange(request_);
  const auto framed = reply ? ike::parse_header(*reply) : std::unexpected(ike::HeaderError{});
  if (!framed) return false;
  auto m = Message::parse(PayloadType{framed->header.next_payload}, framed->body);
  if (m) init_answer = *m;
  if (!m || !m->find<Ke>() || !m->find<Nonce>()) return false;
  spi_r_ = framed->header.spi_r;
  nonce_r_ = m->find<Nonce>()->data;
  const auto shared = key_->compute(m->find<Ke>()->data);
  take(derive({suites[0], kNonce, nonce_r_, shared->view(), spi_i_, spi_r_}));
  next_id = 1;
  return true;
}

IkeSuite InsiderV2::agreed() const { return manner ? manner->suite : parse_ike_proposal_v2(proposal).value().front(); }

void InsiderV2::take(IkeKeys keys) {
  const auto suite = agreed();
  keys_ = std::move(keys);
  seal_.emplace(suite, keys_.ei, keys_.ai);
  open_.emplace(suite, keys_.er, keys_.ar);
}

std::optional<Message> InsiderV2::exchange_key(DhGroup method) {
  const auto key = crypto::begin_exchange(method).value();
  Builder b;
  b.add(Ke{method, Bytes(key->public_value().begin(), key->public_value().end())});
  const auto answer = ask(ike::kExchangeIntermediate, b);
  if (!answer || !answer->find<Ke>()) return answer;
  // As they went over the wire, each in one message.
  const auto opened = open_->open(answers_.front().data);
  int_auth.of_initiator =
      ikev2::int_auth(keys_.prf, keys_.pi.view(), int_auth.of_initiator, last, static_cast<std::uint8_t>(b.first()), b.chain());
  int_auth.of_responder = ikev2::int_auth(keys_.prf, keys_.pr.view(), int_auth.of_responder, answers_.front().data,
                                          static_cast<std::uint8_t>(opened->first), opened->chain);
  ++int_auth.exchanges;
  const auto suite = agreed();
  const auto shared = key->compute(answer->find<Ke>()->data);
  take(derive_rekeyed({suite, kNonce, nonce_r_, shared->view(), spi_i_, spi_r_}, keys_.prf, keys_.d.view()));
  return answer;
}

SecretBytes InsiderV2::sk_pi() const { return ppk ? ppk_keys(keys_, as_bytes(*ppk)).pi : keys_.pi; }

std::optional<Message> InsiderV2::rekey() {
  const IkeSpi spi{spi_i_.value + 1};
  const auto key = crypto::DhKey::generate(DhGroup::Ecp256).value();
  Builder b;
  b.add(build_ike_offer(std::vector{agreed()}, spi))
      .add(Nonce{kNonce})
      .add(Ke{DhGroup::Ecp256, Bytes(key->public_value().begin(), key->public_value().end())});
  const auto answer = ask(ike::kExchangeCreateChildSa, b);
  if (!answer || !answer->find<Ke>()) return answer;
  Reader theirs(answer->find<ikev2::Sa>()->proposals.front().spi);
  spi_i_ = spi;
  spi_r_ = IkeSpi{theirs.be<std::uint64_t>()};
  nonce_r_ = answer->find<Nonce>()->data;
  const auto shared = key->compute(answer->find<Ke>()->data);
  take(derive_rekeyed({agreed(), kNonce, nonce_r_, shared->view(), spi_i_, spi_r_}, keys_.prf, keys_.d.view()));
  next_id = 0;
  return answer;
}

SecretBytes InsiderV2::octets() const {
  return signed_octets(keys_.prf, request_, nonce_r_, sk_pi().view(), encode_body(identity()), int_auth);
}

IdI InsiderV2::identity() const {
  if (calls_itself) return *calls_itself;
  if (manner) return manner->id;
  return {IdType::Ipv4Addr, Bytes(own_.address.view().begin(), own_.address.view().end())};
}

Auth InsiderV2::proof(const SecretBytes& msk) const {
  const SecretBytes auth = shared_key_auth(keys_.prf, msk.empty() ? sk_pi().view() : msk.view(), octets().view());
  return {AuthMethodId::SharedKey, Bytes(auth.view().begin(), auth.view().end())};
}

namespace {
Builder& add_child(Builder& b, Spi spi, const TrafficSelector& mine, const TrafficSelector& theirs) {
  b.add(build_child_offer(parse_esp_proposal("aes128gcm16").value(), spi, false)).add(TsI{{mine}, 0}).add(TsR{{theirs}, 0});
  return b;
}
}  // namespace

std::optional<Message> InsiderV2::connect(const TrafficSelector& mine, const TrafficSelector& theirs, const std::optional<Cp>& asked) {
  if (!begin()) return std::nullopt;
  return prove(mine, theirs, asked);
}

std::optional<Message> InsiderV2::prove(const TrafficSelector& mine, const TrafficSelector& theirs, const std::optional<Cp>& asked) {
  Builder b;
  b.add(identity()).add(proof(SecretBytes(as_bytes("secret"))));
  if (asked) b.add(*asked);
  add_child(b, spi(0), mine, theirs);
  append(b, in_auth);
  for (const NotifyType type : announces) b.notify(type);
  return ask(ike::kExchangeAuth, b);
}

std::optional<Message> InsiderV2::connect_as_user(const TrafficSelector& mine, const TrafficSelector& theirs) {
  if (!begin()) return std::nullopt;
  Builder b;
  b.add(identity());
  add_child(b, spi(0), mine, theirs);
  append(b, in_auth);
  for (const NotifyType type : announces) b.notify(type);
  return ask(ike::kExchangeAuth, b);
}

std::optional<Message> InsiderV2::ask(std::uint8_t type, const Builder& payloads) { return ask(type, payloads.first(), payloads.chain()); }

Bytes InsiderV2::sealed(std::uint8_t type, const Builder& payloads) { return sealed(type, payloads.first(), payloads.chain()); }

ike::Header InsiderV2::header(std::uint8_t type) const {
  ike::Header h;
  h.spi_i = spi_i_;
  h.spi_r = spi_r_;
  h.major = 2;
  h.exchange = type;
  h.flags = ike::kFlagInitiator;
  h.message_id = MessageId{next_id};
  return h;
}

Bytes InsiderV2::sealed(std::uint8_t type, PayloadType first, ByteView chain) { return seal_->seal(header(type), first, chain); }

std::vector<Bytes> InsiderV2::sealed_parts(std::uint8_t type, const Builder& payloads, std::size_t room) {
  const Bytes chain = payloads.chain();
  const auto total = static_cast<std::uint16_t>((chain.size() + room - 1) / room);
  std::vector<Bytes> out;
  for (std::uint16_t i = 0; i < total; ++i) {
    const ByteView piece = ByteView(chain).subspan(i * room, std::min(room, chain.size() - i * room));
    out.push_back(seal_->seal_fragment(header(type), payloads.first(), piece, {static_cast<std::uint16_t>(i + 1), total}));
  }
  return out;
}

std::optional<Message> InsiderV2::opened(ByteView message) const {
  const auto inside = open_->open(message);
  auto m = inside ? Message::parse(inside->first, inside->chain) : std::unexpected(ParseError{});
  return m ? std::optional(std::move(*m)) : std::nullopt;
}

std::optional<Message> InsiderV2::ask(std::uint8_t type, PayloadType first, ByteView chain) {
  const auto reply = exchange(sealed(type, first, chain));
  const auto opened = reply ? open_->open(*reply) : std::unexpected(OpenError::NoSk);
  if (!opened) return std::nullopt;
  ++next_id;
  auto m = Message::parse(opened->first, opened->chain);
  return m ? std::optional(std::move(*m)) : std::nullopt;
}

}  // namespace culvert::test
