// Rules for DPDK's acl, which tells for a packet's key the first that matches. Owns the layout of the rules.
#pragma once

#include <expected>
#include <memory>
#include <span>
#include <string>

#include "dataplane/spd/rules.hpp"
#include "dataplane/spd/spd.hpp"

namespace culvert::dp {

/// Of policies in their order. Fails when DPDK has no memory for it.
std::expected<std::shared_ptr<Classifier>, std::string> classifier_of(std::span<const std::shared_ptr<const SpdPolicy>> order);

}  // namespace culvert::dp
