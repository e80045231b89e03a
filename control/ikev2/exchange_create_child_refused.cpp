// CREATE_CHILD_SA, our requests: what a refusal of the peer means.
#include <algorithm>
#include <utility>

#include "control/ikev1/evidence.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/reauth.hpp"
#include "control/ikev2/shares.hpp"

namespace culvert::ikev2 {

namespace {

/// The peer takes one pair of addresses a CHILD SA (RFC 7296 §2.9): those of the packet that waits, if there is one.
bool one_by_one(Core& core, IkeSa& sa, const MakeChild& make) {
  ChildRun& run = core.run(sa.connection).children.at(make.child);
  const bool known = std::exchange(run.single, true);
  if (known || !run.packet || make.rekeyed != 0) return false;
  core.say(sa, Severity::Info, {}, Reason::PeerRefused,
           "The peer takes two addresses a CHILD SA (SINGLE_PAIR_REQUIRED): we ask for those of each packet that waits.", make.child);
  run.requested = true;
  abandon_request(core, sa);
  return true;
}

}  // namespace

void child_refused(Core& core, TimePoint now, IkeSa& sa, const MakeChild& make, const Notify& n) {
  if (n.type == NotifyType::SinglePairRequired && one_by_one(core, sa, make)) return;
  if (make.share.own() && make.rekeyed == 0 && (n.type == NotifyType::TsMaxQueue || n.type == NotifyType::NoAdditionalSas))
    return share_refused(core, sa, n);
  if (n.type == NotifyType::NoAdditionalSas && child_begins_anew(core, now, sa, make)) return;
  const std::string said = name(n.type), ours = selectors_text(make.asked.local), theirs = selectors_text(make.asked.remote);
  Cause cause{.number = sa.request && sa.request->auth ? 3U : 1U, .said = said, .said_proven = true};
  if (n.type == NotifyType::InternalAddressFailure || n.type == NotifyType::FailedCpRequired) {
    cause.evidence = ike::PoolEvidence{"", "the gateway gives no address"};
    cause.by = ike::RefusedBy::Peer;
    return request_failed(core, now, sa, Reason::NoAddress, "The gateway gives us no virtual address (" + said + ").", std::move(cause));
  }
  if (n.type == NotifyType::TsUnacceptable) {
    cause.evidence = ikev1::selector_evidence(core.connection(sa), ours, theirs);
    return request_failed(core, now, sa, Reason::PeerSelectorMismatch,
                          "The peer refused our traffic selectors " + make.asked.to_string() + " (ours - theirs) with " + said + ".",
                          std::move(cause));
  }
  if (n.type == NotifyType::NoProposalChosen) {
    cause.evidence = ike::ProposalEvidence{suites_text(make.suites), {}, {}, {}};
    return request_failed(core, now, sa, Reason::PeerNoProposal,
                          "The peer accepts none of our proposals (we offered " + suites_text(make.suites) + "): " + said + ".",
                          std::move(cause));
  }
  request_failed(core, now, sa, Reason::PeerRefused, "The peer refused with " + said + ".", std::move(cause));
}

}  // namespace culvert::ikev2
