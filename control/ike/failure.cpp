#include "control/ike/failure.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace culvert::ike {

std::string_view kind(const Evidence& e) {
  static constexpr std::array<std::string_view, std::variant_size_v<Evidence>> kNames{
      "none", "proposal", "identity", "certificate", "selectors", "addresses", "secret", "user", "pool"};
  return kNames[e.index()];
}

std::string_view name(RefusedBy by) {
  switch (by) {
    case RefusedBy::Us:
      return "us";
    case RefusedBy::Peer:
      return "peer";
    case RefusedBy::Nobody:
      break;
  }
  return "nobody";
}

RefusedBy usual_refuser(Reason reason) {
  switch (reason) {
    case Reason::Timeout:
    case Reason::DpdTimeout:
    case Reason::Expired:
    case Reason::Replaced:
    case Reason::Redirected:
      return RefusedBy::Nobody;
    case Reason::PeerNoProposal:
    case Reason::PeerSelectorMismatch:
    case Reason::PeerRefused:
    case Reason::DeletedByPeer:
    case Reason::PeerRestarted:
      return RefusedBy::Peer;
    default:
      return RefusedBy::Us;
  }
}

namespace {

/// An exchange whose peer has not proved yet who it is. IKE_AUTH goes on about a CHILD SA once it has.
bool is_first(const Failure& f) {
  return f.exchange == Exchange::MainMode || f.exchange == Exchange::AggressiveMode || f.exchange == Exchange::IkeSaInit ||
         f.exchange == Exchange::IkeIntermediate || (f.exchange == Exchange::IkeAuth && !f.about_child());
}

std::optional<std::pair<VrfId, IpAddress>> host(const std::optional<Endpoint>& peer) {
  return peer ? std::optional(std::pair(peer->vrf, peer->address)) : std::nullopt;
}

/// The same thing went wrong; only the time, and a stranger's port and lifetimes, may differ.
bool alike(const Failure& a, const Failure& b) {
  return a.exchange == b.exchange && a.role == b.role && a.reason == b.reason && a.by == b.by && a.child == b.child &&
         a.cause.number == b.cause.number && a.cause.said == b.cause.said && host(a.peer) == host(b.peer) &&
         a.cause.evidence == b.cause.evidence;
}

/// Counts `next` with a like one of `list`, which becomes the newest. False: there is none.
bool repeat(std::vector<Failure>& list, Failure& next) {
  const auto like = std::ranges::find_if(list, [&](const Failure& f) { return alike(f, next); });
  if (like == list.end()) return false;
  if (!like->mended) {
    next.first = like->first;
    next.count = like->count + 1;
  }
  *like = std::move(next);
  std::rotate(like, like + 1, list.end());
  return true;
}

std::vector<Failure> newest_first(const std::vector<Failure>& list) { return {list.rbegin(), list.rend()}; }

}  // namespace

bool Failure::strangers() const { return role == Role::Responder && (is_first(*this) || exchange == Exchange::Informational); }

bool Failure::about_child() const {
  if (exchange == Exchange::QuickMode) return true;
  const bool selectors = std::holds_alternative<SelectorEvidence>(cause.evidence) || reason == Reason::SelectorMismatch ||
                         reason == Reason::PeerSelectorMismatch;
  if (exchange == Exchange::CreateChildSa || exchange == Exchange::IkeFollowupKe) return selectors || !child.empty();
  // IKE_AUTH has no proposals but those of a CHILD SA.
  const bool proposals = reason == Reason::NoProposalChosen || reason == Reason::PeerNoProposal;
  return exchange == Exchange::IkeAuth && (selectors || proposals || !child.empty());
}

void FailureBook::add(const std::string& connection, Failure failure) {
  ++counts_[static_cast<std::size_t>(failure.reason)];
  std::vector<Failure>& list = by_connection_[connection];
  failure.first = failure.when;
  if (repeat(list, failure)) return;
  const bool strangers = failure.strangers();
  const auto same_kind = [strangers](const Failure& f) { return f.strangers() == strangers; };
  if (static_cast<std::size_t>(std::ranges::count_if(list, same_kind)) >= kPerConnection) list.erase(std::ranges::find_if(list, same_kind));
  list.push_back(std::move(failure));
}

void FailureBook::add_stranger(Failure failure, bool heard) {
  ++counts_[static_cast<std::size_t>(failure.reason)];
  failure.first = failure.when;
  if (repeat(strangers_, failure) || !heard) return;
  if (strangers_.size() >= kStrangers) strangers_.erase(strangers_.begin());
  strangers_.push_back(std::move(failure));
}

void FailureBook::mended(TimePoint now, const std::string& connection, const std::string& child, const std::optional<IpAddress>& peer,
                         Role role) {
  const auto list = by_connection_.find(connection);
  if (list == by_connection_.end()) return;
  for (Failure& f : list->second) {
    if (f.mended || (peer && (!f.peer || f.peer->address != *peer))) continue;
    // What a peer asked in vain of no child of ours is over when the same role gets a child of ours after all.
    const bool asked_of_none = f.child.empty() && f.about_child();
    const bool over = child.empty() ? f.child.empty() && !asked_of_none : f.child == child || (asked_of_none && f.role == role);
    if (over) f.mended = now;
  }
}

std::vector<Failure> FailureBook::of(const std::string& connection) const {
  const auto list = by_connection_.find(connection);
  return list == by_connection_.end() ? std::vector<Failure>{} : newest_first(list->second);
}

std::vector<Failure> FailureBook::strangers() const { return newest_first(strangers_); }

std::optional<Failure> FailureBook::current(const std::string& connection, const std::string& child) const {
  const auto list = by_connection_.find(connection);
  if (list == by_connection_.end()) return std::nullopt;
  for (auto f = list->second.rbegin(); f != list->second.rend(); ++f)
    if (f->child == child && !f->mended) return *f;
  return std::nullopt;
}

}  // namespace culvert::ike
