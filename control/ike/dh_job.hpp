// One Diffie-Hellman job of the engine, done where the caller stands: on a pool thread, or at once in a test.
// Owns nothing; safe to call from any thread as long as no other uses the same key.
#pragma once

#include "control/ike/engine_types.hpp"

namespace culvert::ike {

/// Makes the half that `job` lacks, finishes with it where the peer's value is given, or answers that as the responder. Never throws: a
/// failure of either is `ok == false`, whose reason is for the engine to name (a peer's value that the group forbids).
DhResult run_dh_job(const ComputeDh& job) noexcept;

}  // namespace culvert::ike
