// What Prometheus sees of a gateway: every metric with its name, help and labels, in one place.
// Owns names and labels, no state. Labels come from the configuration and the files that it names, and from fixed tables, never from a
// peer.
#pragma once

#include <vector>

#include <prometheus/metric_family.h>

#include "control/gateway.hpp"

namespace culvert::control {

/// To be called on the event loop.
std::vector<prometheus::MetricFamily> metric_families(Gateway& gateway, ike::TimePoint now);

}  // namespace culvert::control
