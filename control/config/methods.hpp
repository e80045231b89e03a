// Whether the cryptographic library at hand has what the configuration names: a KEM may be one that it lacks.
// Owns the findings; changes nothing.
#pragma once

#include "common/config/validate.hpp"

namespace culvert::control {

/// An error at the proposals of each connection and child that name a key exchange which cannot be done here.
void check_methods(const config::GatewayConfig& config, const config::Where& root);

}  // namespace culvert::control
