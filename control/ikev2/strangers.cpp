#include "control/ikev2/strangers.hpp"

#include <algorithm>

#include "control/ikev2/sa_init_responder.hpp"

namespace culvert::ikev2 {

bool asks_for_cookies(const Core& core, const Endpoint& peer, std::size_t besides) {
  const config::Ike& limits = core.config.ike;
  return core.table.half_open() >= besides + std::min<std::size_t>(kCookieThreshold, limits.half_open_limit) ||
         core.table.half_open(peer) >= besides + std::min<std::size_t>(kCookieThresholdOfSource, limits.half_open_per_source);
}

bool is_worth(const Core& core, const Endpoint& peer, std::size_t request, std::size_t answer) {
  return asks_for_cookies(core, peer) ? answer <= request : 2 * answer <= 3 * request;
}

bool owes_no_more(const Core& core, const IkeSa& sa) {
  return core.table.unheard().contains(sa.id) && asks_for_cookies(core, sa.remote, 1);
}

bool from_elsewhere(const Incoming& in, const IkeSa& sa) {
  const bool being_made = sa.role == Role::Responder && !sa.established() && !std::holds_alternative<Closing>(sa.state);
  return being_made && in.datagram.remote.address != sa.remote.address;
}

unsigned most_repeats(const IkeSa& sa) { return sa.established() ? ike::kMaxRepeatsProven : ike::kMaxRepeatsOfInit; }

void answer_newer_version(Core& core, TimePoint now, const ike::Datagram& datagram, const ike::Header& header) {
  constexpr std::uint8_t kNewest = 2;
  const Endpoint& peer = datagram.remote;
  if (core.shared.shutting_down || header.major <= kNewest || !header.spi_i || (header.flags & ike::kFlagResponse) != 0) return;
  if (!core.shared.by_peer.any(datagram.local, peer.address, kNewest)) return;
  ike::Header out = header;  // SPIs, exchange and message ID are the request's (RFC 7296 §1.5)
  out.major = kNewest;
  out.minor = 0;
  out.flags = static_cast<std::uint8_t>(ike::kFlagResponse | ((header.flags & ike::kFlagInitiator) != 0 ? 0 : ike::kFlagInitiator));
  Builder b;
  b.notify(NotifyType::InvalidMajorVersion);
  out.next_payload = static_cast<std::uint8_t>(b.first());
  const Bytes message = ike::encode_message(out, b.chain());
  if (!is_worth(core, peer, header.length, message.size()) || !core.version_answers.take(now, peer.address)) return;
  core.send_stateless(datagram, message);
}

}  // namespace culvert::ikev2
