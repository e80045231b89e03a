// One Diffie-Hellman job of the engine.
#include "control/ike/dh_job.hpp"

#include <exception>

#include "control/crypto/dh.hpp"

namespace culvert::ike {

DhResult run_dh_job(const ComputeDh& job) noexcept {
  DhResult result;
  result.job = job.job;
  try {
    result.key = job.key;
    if (!result.key) {
      auto made = crypto::DhKey::generate(job.group);
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
