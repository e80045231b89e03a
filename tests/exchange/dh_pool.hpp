// Key exchanges for tests that make thousands: a few pairs a group, and each result computed once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "control/crypto/key_exchange.hpp"
#include "control/ike/dh_job.hpp"

namespace culvert::test {

/// Key pairs that all tests share, and what became of each combination: a key exchange that costs nothing.
class DhPool {
 public:
  ike::DhResult run(const ike::ComputeDh& job, std::uint64_t pick) {
    ike::DhResult out;
    out.job = job.job;
    const DhInfo* info = find_ke(job.group);
    if (job.peer_public && !job.key && info && info->kem()) return ike::run_dh_job(job);  // to whoever's key it is
    out.key = job.key ? job.key : keys(job.group).at(pick % kKeys);
    out.public_value = Bytes(out.key->public_value().begin(), out.key->public_value().end());
    out.ok = true;
    if (!job.peer_public) return out;
    const auto known = shared_.find({out.public_value, *job.peer_public});
    if (known != shared_.end()) {
      out.shared = known->second;
      return out;
    }
    const auto secret = out.key->compute(*job.peer_public);
    out.ok = secret.has_value();
    if (secret) out.shared = shared_[{out.public_value, *job.peer_public}] = *secret;
    return out;
  }

 private:
  static constexpr std::size_t kKeys = 3;
  std::vector<std::shared_ptr<crypto::KeyExchange>>& keys(DhGroup group) {
    auto& list = keys_[group];
    while (list.size() < kKeys) list.push_back(crypto::begin_exchange(group).value());
    return list;
  }
  std::map<DhGroup, std::vector<std::shared_ptr<crypto::KeyExchange>>> keys_;
  std::map<std::pair<Bytes, Bytes>, SecretBytes> shared_;
};

}  // namespace culvert::test
