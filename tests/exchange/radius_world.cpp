#include "tests/exchange/radius_world.hpp"

#include "control/crypto/nt_hash.hpp"

namespace culvert::test {

using radius::Code;
using radius::Type;

RadiusWorld::RadiusWorld(World& world, Host& gateway, std::size_t servers) : world_(world), gateway_(gateway) {
  config::Radius& config = gateway.config.radius;
  for (std::size_t i = 0; i < servers; ++i) {
    config::RadiusServer s;
    s.name = i == 0 ? "main" : "spare";
    s.address = IpAddress::v4(0x0a4d0005U + static_cast<std::uint32_t>(i));
    s.preference = i == 0 ? 1 : 0;
    config.servers.push_back(s);
  }
  client_ = std::make_unique<radius::Client>(
      config, radius::Client::Hooks{[&world](std::size_t n) {
                                      Bytes out(n);
                                      for (auto& b : out) b = static_cast<std::uint8_t>(world.rng());
                                      return out;
                                    },
                                    [](const config::SecretRef&) { return SecretBytes(as_bytes("radius secret")); }});
  gateway.radius = [this](const ike::AskRadius& q) {
    client_->ask(world_.now, q);
    world_.at(world_.now, [this] { pump(); });  // behind what the engine is at
  };
}

std::uint64_t RadiusWorld::count(radius::Count c, std::size_t server) const {
  return client_->servers(world_.now).at(server).counts.at(static_cast<std::size_t>(c));
}

void RadiusWorld::pump() {
  for (const radius::Send& send : client_->take_sends()) {
    world_.at(world_.now + delay, [this, send] {
      const auto packet = radius::parse(send.data);
      if (!packet || silent.contains(send.server)) return;
      ++asked;
      questions.push_back(*packet);
      auto replies = mischief ? mischief(send, *packet) : std::nullopt;
      if (!replies) replies.emplace({answer(send, *packet)});
      for (const Bytes& reply : *replies)
        world_.at(world_.now + delay, [this, send, reply] {
          client_->on_datagram(world_.now, send.server, send.socket, reply);
          pump();
        });
    });
  }
  for (const ike::RadiusAnswer& a : client_->take_answers()) gateway_.step([&](ike::Engine& e) { e.on_radius(world_.now, a); });
  arm();
}

void RadiusWorld::arm() {
  const auto when = client_->deadline();
  if (!when || (armed_ && *armed_ <= *when)) return;
  armed_ = when;
  world_.at(*when, [this] {
    armed_.reset();
    client_->on_timer(world_.now);
    pump();
  });
}

Bytes RadiusWorld::answer(const radius::Send& question, const radius::Packet& packet) {
  if (const auto known = said_.find(question.data); known != said_.end()) return known->second;
  const Bytes eap = packet.joined(Type::EapMessage);
  const radius::Attribute* state = packet.find(Type::State);
  Bytes reply;
  if (!state) {
    const Bytes key = to_bytes("talk " + std::to_string(talkers_.size()));
    Bytes challenge(16);
    for (auto& b : challenge) b = static_cast<std::uint8_t>(world_.rng());
    const auto first = static_cast<std::uint8_t>(eap.at(1) - 1);  // the identity answers the gateway's request
    RadiusTalker& t = talkers_.emplace(key, RadiusTalker{eap::Server({challenge, challenge, first})}).first->second;
    (void)t.eap.begin();
    reply = say(question, key, t, t.eap.on_packet(eap));
  } else if (const auto it = talkers_.find(state->value); it != talkers_.end()) {
    reply = say(question, it->first, it->second, it->second.eap.on_packet(eap));
  }
  return said_[question.data] = reply;
}

Bytes RadiusWorld::say(const radius::Send& question, const Bytes& state, RadiusTalker& talker, const eap::Server::Verdict& verdict) {
  RadiusReply r;
  const auto eap = [&](const Bytes& packet) {
    radius::Packet p;
    p.add_split(Type::EapMessage, packet);
    r.attributes.insert(r.attributes.end(), p.attributes.begin(), p.attributes.end());
  };
  const auto challenge = [&](const Bytes& packet) {
    r.code = Code::AccessChallenge;
    eap(packet);
    r.attributes.push_back({Type::State, state});
    return radius_reply(question.data, r);
  };
  if (std::holds_alternative<eap::Identified>(verdict)) return challenge(talker.eap.choose(method, "radius"));
  if (const auto* next = std::get_if<eap::Reply>(&verdict)) return challenge(next->packet);
  if (const auto* who = std::get_if<eap::AskUser>(&verdict)) {
    const auto it = users.find(std::string(who->user.begin(), who->user.end()));
    if (it == users.end()) return say(question, state, talker, talker.eap.on_user(nullptr));
    const eap::Credential known{SecretBytes(as_bytes(it->second)), crypto::nt_hash(as_bytes(it->second))};
    return say(question, state, talker, talker.eap.on_user(&known));
  }
  if (const auto* end = std::get_if<eap::Proved>(&verdict)) {
    r.code = Code::AccessAccept;
    eap(end->packet);
    const ByteView msk = talker.eap.msk().view();
    if (!msk.empty()) {
      r.attributes.push_back(mppe_key(17, msk.first(32), question.data));
      r.attributes.push_back(mppe_key(16, msk.subspan(32), question.data));
    }
    r.attributes.insert(r.attributes.end(), grants.begin(), grants.end());
    return radius_reply(question.data, r);
  }
  r.code = Code::AccessReject;
  eap(talker.eap.failure());
  if (!rejection.empty()) r.attributes.push_back({Type::ReplyMessage, to_bytes(rejection)});
  return radius_reply(question.data, r);
}

}  // namespace culvert::test
