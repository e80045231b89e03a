// The list-certs command: the certificates of all connections, and the files that cannot be used.
#include <chrono>

#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

namespace {
/// Certificates live by the calendar, not by the clock of the engine.
std::int64_t calendar(std::chrono::sys_seconds t) { return t.time_since_epoch().count(); }
}  // namespace

Result list_certs(Gateway& gateway, const Args& args, ike::TimePoint) {
  const std::string only = args.text("connection").empty() ? std::string() : configured_child(gateway, args).connection;
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const auth::Inventory inventory = gateway.certificates_in_use();
  json::array certificates, problems;
  for (const auto& c : inventory.certificates) {
    if (!only.empty() && c.connection != only) continue;
    json::array names;
    for (const auto& n : c.names) names.emplace_back(n);
    certificates.push_back(json::object{{"connection", c.connection},
                                        {"role", c.role},
                                        {"subject", c.subject},
                                        {"names", std::move(names)},
                                        {"issuer", c.issuer},
                                        {"serial", c.serial},
                                        {"key", c.key},
                                        {"not_before", calendar(c.not_before)},
                                        {"not_after", calendar(c.not_after)},
                                        {"ends_in_s", calendar(c.not_after) - calendar(now)},
                                        {"begins_in_s", calendar(c.not_before) - calendar(now)}});
  }
  for (const auto& p : inventory.problems)
    if (only.empty() || p.connection == only)
      problems.push_back(json::object{{"connection", p.connection}, {"side", p.side}, {"message", p.message}});
  return json::object{{"certificates", std::move(certificates)}, {"problems", std::move(problems)}};
}

}  // namespace culvert::control::cli
