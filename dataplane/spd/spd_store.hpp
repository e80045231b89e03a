// All policies that are installed, and how a set of changes becomes the next snapshot of the SPD. Owns which of them have rows
// (peer_rows.hpp: those of peers that come and go, as far as there is room) and which are in the classifier, which is built anew only if
// one of the latter has changed. Publishes nothing; of the manager's thread only.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>

#include "dataplane/interface.hpp"
#include "dataplane/spd/peer_rows.hpp"
#include "dataplane/spd/rules.hpp"
#include "dataplane/spd/spd.hpp"

namespace culvert::dp {

class SpdStore {
 public:
  explicit SpdStore(std::span<const Interface> tunnels = {}) : tunnels_(tunnels) {}

  /// In the place of the one with this number, if there is one, and as old as that. It has passed Spd::check(), and names a tunnel or none.
  void install(const shm::InstallPolicy& policy);
  /// False: there is no such policy.
  bool remove(PolicyId policy);
  /// Removes all whose numbers are not here.
  void keep(const std::set<std::uint32_t>& numbers);

  /// nullptr: there is none.
  [[nodiscard]] const shm::InstallPolicy* find(PolicyId policy) const;
  [[nodiscard]] std::size_t size() const { return policies_.size(); }
  /// Whether there is something that the last snapshot does not say.
  [[nodiscard]] bool changed() const { return !before_.empty(); }
  /// With all changes. Error: there is no memory or there are no numbers; all is as the last snapshot says.
  std::expected<std::unique_ptr<Spd>, std::string> snapshot();
  [[nodiscard]] std::size_t rows() const { return rows_.v4.size() + rows_.v6.size(); }
  [[nodiscard]] std::size_t classifiers_built() const { return classifiers_; }

 private:
  using Policy = std::shared_ptr<const SpdPolicy>;
  struct Held {
    Policy policy;  ///< nullptr: no numbers were left for it
    bool rows = false;
  };
  void note(std::uint32_t number);
  void put(std::uint32_t number, Held held);
  void take_out(std::uint32_t number);
  [[nodiscard]] bool add_rows(const SpdPolicy& policy);
  void remove_rows(const SpdPolicy& policy);
  void roll_back();
  std::expected<std::shared_ptr<const Classifier>, std::string> classifier_up_to_date();

  std::span<const Interface> tunnels_;
  std::shared_ptr<EntryPool> pool_ = std::make_shared<EntryPool>();
  std::map<std::uint32_t, Held> policies_;
  std::map<std::uint32_t, Held> before_;  ///< what has changed since the last snapshot, as it was; without a policy: was not there
  struct Rows {
    PeerRows<FlowKey> v4;
    PeerRows<FlowKeyV6> v6;
  };
  Rows rows_, rows_before_;
  std::shared_ptr<const Classifier> classifier_;  ///< of the last snapshot
  bool stale_ = true;                             ///< the classifier
  bool exhausted_ = false;
  std::size_t classifiers_ = 0;
  std::uint64_t made_ = 0;  ///< policies so far
};

}  // namespace culvert::dp
