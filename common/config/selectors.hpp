// A child's traffic as the file has it, and what is known of it before there is a peer.
// Owns the names of the children that a list of selectors makes with IKEv1: "office" with two and three of them is "office/1x1" to
// "office/2x3". With IKEv2 it is one child, whose CHILD SA has them all.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/config/config.hpp"

namespace culvert::config {

/// One child for each pair of a local and a remote selector of one family: IKEv1 negotiates one pair at a time (RFC 2409 §5.5).
std::vector<Child> expand(const std::vector<Child>& children);
/// Each child with all of its selectors, the first of both sides such that go together. A dynamic one is there for each family that the
/// other side has.
std::vector<Child> join(const std::vector<Child>& children);
/// Whether there are packets for the two: those of one family, and of one protocol.
bool go_together(const SideSelector& local, const SideSelector& remote);
/// Whether `wanted` means the child of this name: by it, or by the name that it has in the file.
bool is_child(std::string_view name, std::string_view wanted);
/// Whether it serves whoever comes and proves to be one of many: then its children's selectors are only what peers can have a part of.
bool waits_for_many(const Connection& connection);
/// "10.1.0.0/24", "dynamic[tcp/443]".
std::string text(const TrafficSelector& selector, bool dynamic);
/// "10.1.0.0/24, dynamic".
std::string text(const std::vector<SideSelector>& sides);
/// `selector` with this address for its addresses.
TrafficSelector at_address(const TrafficSelector& selector, const IpAddress& address);
/// The selectors that no peer has to tell us, ours and theirs; nullopt: they are dynamic, and the addresses not certain.
std::optional<std::pair<TrafficSelector, TrafficSelector>> fixed_selectors(const Connection& connection, const Child& child);
/// What there is behind these of a child of version 2.
MoreSelectors fixed_more(const Connection& connection, const Child& child);

}  // namespace culvert::config
