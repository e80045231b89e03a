// What culvertd asks for, done: policies and SAs into the tables that workers read.
// Owns the installed policies, the moment from which packets are forwarded, the current SA of each, and the SA inventory in the segment.
// Believes nothing: every field of a message is checked before it is used. Runs on the manager's thread only.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/shm/segment.hpp"
#include "dataplane/fib/fib.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/io/rcu.hpp"
#include "dataplane/manager/slot_set.hpp"
#include "dataplane/nodes/path_mtu.hpp"
#include "dataplane/sad/sa_table.hpp"
#include "dataplane/spd/spd.hpp"
#include "dataplane/spd/spd_store.hpp"

namespace culvert::dp {

class Commands {
 public:
  struct Tables {
    shm::Segment& segment;
    InboundTable& inbound;
    OutboundTable& outbound;
    std::span<PolicyState> policies;
    std::atomic<const Spd*>& spd;
    Rcu& rcu;
    CryptoEngine& crypto;
    std::span<const OwnAddresses> own;  ///< by VRF
    unsigned workers;
    std::span<const Interface> tunnels{};
    const Fib* fib = nullptr;  ///< with the next: how large packets to a peer may be; nullptr: nobody asks
    std::span<const Interface> interfaces{};
    /// For commands that change no table, once those before them are done; BadMessage for what it does not know.
    std::function<shm::AckResult(const shm::Message&)> others{};
    std::function<void(const shm::Message&)> done{};  ///< is told of each command that was Ok
  };
  explicit Commands(const Tables& tables) : t_(tables), policies_(tables.tunnels) {}
  ~Commands();
  Commands(const Commands&) = delete;
  Commands& operator=(const Commands&) = delete;

  /// Does a batch of commands in order, and answers each: what an Ack says is so when it is sent.
  std::vector<shm::Ack> apply(std::span<const shm::Message> batch, std::uint64_t now_ns);

  /// How many snapshots of the SPD workers have been given.
  [[nodiscard]] std::uint64_t snapshots() const { return snapshots_; }
  /// Expirations since the last call.
  std::vector<shm::Expire> expirations(std::uint64_t now_ns);
  /// Inbound SAs whose peers have got other addresses since the last call: their pairs' outbound SAs lead there now.
  std::vector<shm::Moved> moves();
  /// RFC 1191, RFC 4301 §8.2.1: makes outer packets smaller, by what somebody claims of one that an outbound SA has sent; for ten minutes.
  /// False: none has, or it would have fitted. path_mtu_floor() is the least that is believed.
  bool learn_path_mtu(const PathMtuClaim& claim, std::uint64_t now_ns);
  /// Forgets what was learnt ten minutes ago, and tells of SAs whose port has another MTU now.
  void forget_path_mtus(std::uint64_t now_ns);
  /// SAs that owe a dummy packet since the last call.
  struct Dummy {
    std::uint16_t worker = 0;
    PolicyId policy;
    std::uint32_t slot = 0;
    Spi spi;
  };
  std::vector<Dummy> due_dummies(std::uint64_t now_ns);
  /// All that were ever reported of SAs that are still installed: for a culvertd that has just attached.
  [[nodiscard]] std::vector<shm::Expire> reported() const;
  /// SAs of this name, or of names that begin with it if it ends in '/', are to be captured, those to come included; "": none any more.
  void watch(std::string_view name);
  /// A culvertd has attached; it will send its policies.
  void attached() {
    lost_policies_ = false;
    sent_.clear();
  }

 private:
  using SlotKey = std::pair<Direction, std::uint32_t>;
  shm::AckResult install_policy(const shm::InstallPolicy& m);
  shm::AckResult remove_policy(const shm::RemovePolicy& m);
  shm::AckResult install_sa(const shm::InstallSa& m, std::uint64_t now_ns);
  shm::AckResult remove_sa(const shm::RemoveSa& m);
  shm::AckResult move_sa(const shm::MoveSa& m);
  void move_outbound(OutboundSa& sa, const Endpoint& remote);
  shm::AckResult skip_numbers(const shm::SkipNumbers& m);
  shm::AckResult relocate_sa(const shm::MoveSa& m);
  template <class Table>
  shm::AckResult relocate_in(Table& table, const shm::MoveSa& m);
  /// Into the SA's record. `local` nullptr: as it was.
  void note_addresses(Direction direction, std::uint32_t slot, const Endpoint* local, const Endpoint& remote);
  bool rebuild_spd();
  void publish(std::unique_ptr<const Spd> spd);
  shm::AckResult open_forwarding();
  void add_outbound(OutboundSa& sa);
  void remove_outbound(OutboundSa& sa);
  /// The SAs that packets choose the youngest of: a policy's that are for all, and each worker's own.
  using ChainKey = std::pair<std::uint32_t, std::uint16_t>;
  static ChainKey chain_of(const OutboundSa& sa);
  void each_outbound(std::uint32_t policy, const std::function<void(OutboundSa&)>& visit);
  void set_current(ChainKey chain, OutboundSa* sa);
  OutboundSa* exchange_own(ChainKey chain, OutboundSa* sa);
  [[nodiscard]] std::uint32_t outer_mtu(const OutboundSa& sa) const;
  void set_path_mtu(OutboundSa& sa, std::uint32_t mtu, std::uint64_t until);
  void note_mtu(const OutboundSa& sa);
  void mark_current(const OutboundSa* sa, bool current);
  template <class Table>
  shm::AckResult install(Table& table, const shm::InstallSa& m, std::uint64_t now_ns);

  Tables t_;
  [[nodiscard]] bool watched(const shm::Name& name) const;

  std::string watched_;
  [[nodiscard]] SlotSet& installed(Direction d) { return installed_[d == Direction::Inbound ? 0 : 1]; }
  template <class Visit>
  void each_installed(Visit&& visit) {
    for (const Direction direction : {Direction::Inbound, Direction::Outbound})
      for (const std::uint32_t slot : installed(direction)) visit(direction, slot);
  }

  SpdStore policies_;
  std::uint64_t snapshots_ = 0;
  bool lost_policies_ = false;                                  // of the one that is attached
  std::set<std::uint32_t> sent_;                                // policies that it sent so far; those before PoliciesComplete only
  std::unique_ptr<const Spd> staged_;                           // built, but forwarding is not open yet
  std::array<SlotSet, 2> installed_;                            // by direction
  SlotSet followers_;                                           // inbound: those whose peers are, or were, behind a NAT
  std::map<SlotKey, std::vector<shm::Expire>> expired_;         // what was reported of those that are installed
  std::map<ChainKey, std::vector<OutboundSa*>> outbound_of_;    // oldest first
  std::map<std::uint32_t, std::unique_ptr<OwnSas>> own_;        // by policy
  std::unordered_multimap<std::uint32_t, OutboundSa*> by_spi_;  // outbound; peers choose them, so that two may choose one
  std::uint64_t port_mtus_ = 0;                                 // of all ports, when records were written last
  std::map<OutboundSa*, std::uint64_t> dummies_;                // those that send dummy packets, and when the next one is due
  std::set<OutboundSa*> learnt_;                                // those with a path MTU
};

}  // namespace culvert::dp
