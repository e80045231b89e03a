// The version command: what runs here, and what it is attached to.
#include "control/version.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

Result version(Gateway& gateway, const Args&, ike::TimePoint) {
  json::object dataplane{{"connected", gateway.link() != nullptr}};
  if (const Link* link = gateway.link()) {
    const auto& header = link->segment().header();
    dataplane["boot_id"] = fmt::format("{:016x}", link->boot_id());
    dataplane["workers"] = header.workers;
    dataplane["ports"] = header.ports;
    dataplane["sa_capacity"] = header.sa_capacity;
  }
  return json::object{{"version", kVersion}, {"pid", ::getpid()}, {"dataplane", std::move(dataplane)}};
}

}  // namespace culvert::control::cli
