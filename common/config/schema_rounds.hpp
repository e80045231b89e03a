// Sections local-SUFFIX and remote-SUFFIX of a connection: how they are read, put in order, and checked.
// Owns these rules; what a single proof needs is validate_auth.cpp's.
#pragma once

#include "common/config/section.hpp"
#include "common/config/validate.hpp"

namespace culvert::config {

Section<Place> place_section();
/// `auth`: the keys of a side's proof.
void add_further_sides(Section<Connection>& connection, const Section<LocalAuth>& local, const Section<RemoteAuth>& remote);
/// All keys are read: the sections of each side in their order.
void order_sides(const At& at, Connection& c);
/// What stands in one section, and what several may be.
void validate_rounds(const Connection& c, const Where& at);

}  // namespace culvert::config
