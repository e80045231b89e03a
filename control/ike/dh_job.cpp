// One key exchange job of the engine.
#include "control/ike/dh_job.hpp"

#include <exception>

#include "control/crypto/key_exchange.hpp"

namespace culvert::ike {

DhResult run_dh_job(const ComputeDh& job) noexcept {
  DhResult result;
  result.job = job.job;
  try {
    if (!job.key && job.peer_public) {
      auto answer = crypto::answer_exchange(job.group, *job.peer_public);
      if (!answer) return result;
      result.public_value = std::move(answer->public_value);
      result.shared = std::move(answer->shared);
      result.ok = true;
      return result;
    }
    result.key = job.key;
    if (!result.key) {
      auto made = crypto::begin_exchange(job.group);
      if (!made) return result;
      result.key = std::move(*made);
    }
    const ByteView own = result.key->public_value();
    result.public_value.assign(own.begin(), own.end());
    if (job.peer_public) {
      auto shared = result.key->compute(*job.peer_public);
      if (!shared) return result;
      result.shared = std::move(*shared);
    }
    result.ok = true;
  } catch (const std::exception&) {
    result.ok = false;  // no memory: the engine treats it like any other failed job
  }
  return result;
}

}  // namespace culvert::ike
