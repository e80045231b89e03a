// The SPD: one Protect entry a child, numbered by its place in the file, then `policies:`, then what keeps the addresses of pools from
// leaving in clear; and, as peers come and go, one for each peer that has SAs of a child beside others, or whose selectors nobody
// knew before.
// Owns the numbering and the count of the SAs that need an entry; sends nothing.
//
// A child that is bound to a tunnel interface is under an entry that selects by route.
// A peer's entry stands just before its child's in the order of the SPD: what another child comes before, its peers do not get. Of the
// entries of a child's peers the youngest is first: a peer that comes again from elsewhere has its packets although what it had before
// still stands.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "common/config/config.hpp"
#include "common/shm/messages.hpp"

namespace culvert::control {

struct ChildRef {
  std::string connection, child;
  friend bool operator==(const ChildRef&, const ChildRef&) = default;
};

class PolicyTable {
 public:
  /// Entries of one peer under one child: so many that no peer takes what others need.
  static constexpr unsigned kMaxOfPeer = 256;

  explicit PolicyTable(const config::GatewayConfig& config);

  /// All entries: the configuration's in the order of their numbers, then the peers', the oldest first.
  [[nodiscard]] std::vector<shm::InstallPolicy> entries() const;
  /// A child's own entry; nullopt: there is none, for its selectors are not known before its peer is.
  [[nodiscard]] std::optional<PolicyId> of(const std::string& connection, const std::string& child) const;
  /// Of the configuration's entries.
  [[nodiscard]] const ChildRef* child_of(PolicyId policy) const;
  /// "connection/child", or what a policy is called; "" where there is none of this number.
  [[nodiscard]] std::string name_of(PolicyId policy) const;
  /// Whose packets it selects.
  [[nodiscard]] VrfId vrf_of(PolicyId policy) const;
  /// The child that an SA's name ("connection/child", perhaps cut) stands for.
  [[nodiscard]] const ChildRef* child_named(std::string_view name) const;
  /// Of a child's packets, inside and outside; the default ones where there is no such child.
  struct Vrfs {
    VrfId inner = kDefaultVrf, outer = kDefaultVrf;
  };
  [[nodiscard]] Vrfs vrfs_of(const ChildRef& child) const;
  [[nodiscard]] VrfId vrf_outside(const std::string& connection) const;

  // -- entries of peers
  struct Taken {
    PolicyId policy;
    std::optional<shm::InstallPolicy> fresh;  ///< to be installed before the SA
  };
  /// The entry of a peer's SA with these selectors, counted once more; a fresh one where another peer's for the same packets is in front
  /// of the one that there is: this peer has come back. nullopt: there are too many (of all peers, or of this one), or no such child.
  std::optional<Taken> take(const ChildRef& child, const shm::PeerTag& peer, const TrafficSelector& local, const TrafficSelector& remote,
                            const MoreSelectors& more = {});
  /// An SA of a former culvertd is under this entry: the same as take(), with a number that is given, and of an age that nobody knows any
  /// more. False: it is another's.
  bool adopt(PolicyId policy, const ChildRef& child, const shm::PeerTag& peer, const TrafficSelector& local, const TrafficSelector& remote,
             const MoreSelectors& more = {});
  /// An SA under it is gone. True: it was the last one, the entry is to be removed. Of a child's own entry: false.
  bool release(PolicyId policy);
  /// The data plane did not take it: the SAs under it are worth nothing.
  void refuse(PolicyId policy, std::string why);
  [[nodiscard]] const std::string* refusal(PolicyId policy) const;
  /// The data plane lost everything.
  void lose_all();
  static bool is_peers(PolicyId policy) { return policy.value > shm::kConfiguredPolicies; }

 private:
  struct Configured {
    ChildRef ref;
    std::uint32_t priority = 0, order = 0;
    std::optional<PolicyId> policy;
    shm::Name name;
    Vrfs vrfs{};
  };
  using Holder = std::tuple<std::string, std::string, shm::PeerTag>;
  /// Connection, child and selectors.
  using Packets = std::tuple<std::string, std::string, TrafficSelector, TrafficSelector, MoreSelectors>;
  struct Peers {
    shm::InstallPolicy policy;
    Packets packets;
    shm::PeerTag peer{};
    std::uint64_t made = 0;  ///< larger than that of each older one; 0: a former culvertd did
    unsigned users = 0;
    std::string refused;
  };
  static Holder holder(const Peers& p) { return {std::get<0>(p.packets), std::get<1>(p.packets), p.peer}; }
  [[nodiscard]] const Configured* configured(const ChildRef& ref) const;
  [[nodiscard]] Peers* first_for(const Packets& packets);
  Peers& add(PolicyId policy, const Configured& child, Packets packets, const shm::PeerTag& peer, std::uint64_t made);

  std::vector<shm::InstallPolicy> entries_;
  std::vector<Configured> children_;
  std::unordered_map<std::string, std::size_t> by_name_;  ///< of children_: "connection/child"
  std::unordered_map<std::string, VrfId> outer_;          ///< of connections
  std::map<std::uint32_t, Peers> peers_;                  ///< by number
  std::multimap<Packets, std::uint32_t> by_packets_;
  std::map<Holder, unsigned> held_;  ///< entries
  std::deque<std::uint32_t> free_;   ///< oldest first: a number comes back as late as possible
  std::uint64_t made_ = 0;           ///< peers' entries so far
};

}  // namespace culvert::control
