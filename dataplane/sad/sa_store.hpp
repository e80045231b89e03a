// Making SAs out of InstallSa messages, and the memory that they live in.
// Owns validation of what culvertd asks for, key expansion, outer header templates, and wiping. Used by the manager only.
#pragma once

#include <expected>
#include <memory>
#include <vector>

#include "common/shm/messages.hpp"
#include "dataplane/sad/sa.hpp"

namespace culvert::dp {

/// Memory for objects with keys in them: locked, left out of core dumps, never given back to the system before the arena's end.
/// Must outlive all of its objects.
class SaArena {
 public:
  explicit SaArena(std::size_t object_bytes);
  SaArena(const SaArena&) = delete;
  SaArena& operator=(const SaArena&) = delete;
  ~SaArena();
  /// 64-byte aligned, zeroed; nullptr if the system has no more.
  void* allocate();
  /// Wipes and keeps for reuse.
  void free(void* object);
  /// False if the system refused to lock some of it (RLIMIT_MEMLOCK): it works all the same, but may be swapped.
  [[nodiscard]] bool locked() const { return locked_; }

 private:
  struct Chunk {
    void* base;
    std::size_t bytes;
  };
  std::size_t object_bytes_;
  std::vector<Chunk> chunks_;
  std::vector<void*> free_;
  bool locked_ = true;
};

/// The process's arenas, one a direction.
SaArena& inbound_arena();
SaArena& outbound_arena();

struct SaDeleter {
  void operator()(InboundSa* sa) const;
  void operator()(OutboundSa* sa) const;
};
template <class Sa>
using SaPtr = std::unique_ptr<Sa, SaDeleter>;

/// Who owns the SA and where it counts.
struct SaPlacement {
  std::uint16_t worker = 0;
  shm::SaCounters* counters = nullptr;  ///< of its record; must outlive the SA
  std::uint64_t now_ns = 0;             ///< CLOCK_MONOTONIC
};

/// Prepares an SA. The engine is the manager's. Fails with BadMessage (a field contradicts itself or the table's `capacity`),
/// Unsupported (suite or address family), NoMemory.
std::expected<SaPtr<InboundSa>, shm::AckResult> make_inbound(const shm::InstallSa& m, std::uint32_t capacity, CryptoEngine& engine,
                                                             const SaPlacement& placement);
std::expected<SaPtr<OutboundSa>, shm::AckResult> make_outbound(const shm::InstallSa& m, std::uint32_t capacity, CryptoEngine& engine,
                                                               const SaPlacement& placement);

/// Manager: tells the SA's owner where it is from now on. What it was told before is returned, to be freed when no worker looks at it any
/// more. BadMessage: the SA cannot be there, and stays where it is.
std::expected<std::unique_ptr<const Relocation>, shm::AckResult> relocate(const shm::MoveSa& m, InboundSa& sa);
std::expected<std::unique_ptr<const Relocation>, shm::AckResult> relocate(const shm::MoveSa& m, OutboundSa& sa);

}  // namespace culvert::dp
