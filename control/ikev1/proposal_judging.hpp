// What phase 1 and phase 2 share in judging offers and replies: the rules of the attributes, and whether a reply is ours.
// For proposal.cpp and proposal_esp.cpp only.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "control/ike/judging.hpp"
#include "control/ikev1/proposal.hpp"
#include "control/ikev1/transforms.hpp"

namespace culvert::ikev1::judging {

using ike::judging::append;
using ike::judging::Closest;
using ike::judging::finish;
using ike::judging::kDescribed;
using ike::judging::kExplained;
using ike::judging::not_acceptable;
using ike::judging::wanted_text;

/// A set of attributes without order and format: replies may write "TV 14400" for "TLV 14400", as strongSwan does.
using Normal = std::vector<std::pair<std::uint16_t, Bytes>>;
inline Normal normal(const Transform& t) {
  Normal out;
  for (const Attribute& a : t.attributes) {
    const auto digits = std::find_if(a.value.begin(), a.value.end(), [](std::uint8_t b) { return b != 0; });
    // Behind those of the same number: a life duration belongs to the type before it.
    const auto at = std::find_if(out.begin(), out.end(), [&a](const auto& o) { return o.first > a.type; });
    out.emplace(at, a.type, Bytes(digits, a.value.end()));
  }
  return out;
}
inline bool same(const Transform& a, const Transform& b) { return a.id == b.id && normal(a) == normal(b); }

/// The one transform of a reply, and the proposal of our offer that holds the same; null: nothing of ours.
struct Matched {
  const Proposal* proposal = nullptr;
  const Transform* transform = nullptr;
};
inline Matched match_reply(const Sa& offer, const Sa& reply) {
  if (reply.proposals.size() != 1 || reply.proposals[0].transforms.size() != 1) return {};
  const Proposal& chosen = reply.proposals[0];
  for (const Proposal& p : offer.proposals) {
    if (p.protocol != chosen.protocol) continue;
    for (const Transform& t : p.transforms)
      if (same(t, chosen.transforms[0])) return {&p, &chosen.transforms[0]};
  }
  return {};
}

inline std::string describe_protocol(std::uint8_t protocol) {
  switch (protocol) {
    case kProtoIsakmp:
      return "ISAKMP";
    case kProtoAh:
      return "AH";
    case kProtoEsp:
      return "ESP";
    case kProtoIpcomp:
      return "IPCOMP";
    default:
      return "protocol " + std::to_string(protocol);
  }
}

inline std::string group_complaint(const std::optional<std::uint16_t>& group) {
  if (!group) return "no Diffie-Hellman group is offered, one is wanted";
  return not_acceptable("Diffie-Hellman group " + std::to_string(*group) + " (" + dh_name(*group) + ")");
}

inline Mismatch bad_reply(const Sa& offer, const Sa& reply) {
  std::string why = "the reply is not one transform of our offer";
  if (reply.proposals.size() != 1)
    why = "the reply holds " + std::to_string(reply.proposals.size()) + " proposals, one is allowed";
  else if (reply.proposals[0].transforms.size() != 1)
    why = "the reply holds " + std::to_string(reply.proposals[0].transforms.size()) + " transforms, one is allowed";
  return {NotifyType::BadProposalSyntax, describe(reply), describe(offer), why, {}};
}
}  // namespace culvert::ikev1::judging
