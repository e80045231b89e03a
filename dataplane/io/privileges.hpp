// Giving up rights after start. Owns nothing; capabilities belong to a thread, so every thread must give up its own.
#pragma once

#include <expected>
#include <string>

namespace culvert::dp {

/// Keeps this process out of core dumps and away from ptrace, and bars it and its children from new privileges (all threads
/// started later inherit that).
std::expected<void, std::string> harden_process();
/// Drops all capabilities of the calling thread, for good. Open descriptors keep working: af_packet and VFIO need rights to open,
/// not to use.
std::expected<void, std::string> drop_thread_capabilities();

}  // namespace culvert::dp
