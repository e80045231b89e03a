// `culvert list-sas`: IKE SAs with their children, lifetimes and traffic.
#include <memory>

#include <fmt/format.h>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

namespace {
namespace json = boost::json;

std::string nat_text(const json::object& nat) {
  if (flag_of(nat, "forced")) return ", UDP encapsulation forced";
  if (flag_of(nat, "local") && flag_of(nat, "remote")) return ", both sides behind NAT";
  if (flag_of(nat, "local")) return ", we are behind NAT";
  if (flag_of(nat, "remote")) return ", peer is behind NAT";
  return {};
}

std::string lifetimes(const json::object& o) {
  std::string out = "age " + human_seconds(o.at("age_s"));
  if (!o.at("rekey_in_s").is_null()) out += ", rekey in " + human_seconds(o.at("rekey_in_s"));
  if (const auto* anew = o.if_contains("reauth_in_s"); anew != nullptr && !anew->is_null()) out += ", reauth in " + human_seconds(*anew);
  if (!o.at("expires_in_s").is_null()) out += ", expires in " + human_seconds(o.at("expires_in_s"));
  return out;
}

std::string direction_text(std::string_view name, std::string_view spi, const json::value& v) {
  if (!v.is_object()) return fmt::format("        {:<3} {}  not installed\n", name, spi);
  const json::object& d = v.get_object();
  std::string out = fmt::format("        {:<3} {}  {:>12} packets  {:>9}  worker {}", name, spi, human_count(count_of(d, "packets")),
                                human_bytes(count_of(d, "bytes")), count_of(d, "worker"));
  if (const auto* mtu = d.if_contains("mtu"); mtu != nullptr && !mtu->is_null()) {
    out += fmt::format("  MTU {}", count_of(d, "mtu"));
    if (!d.at("path_mtu").is_null()) out += fmt::format(" (path {})", count_of(d, "path_mtu"));
  }
  if (!d.at("idle_s").is_null()) out += fmt::format("  last {} ago", human_seconds(d.at("idle_s")));
  if (const std::string dropped = counts_text(d, "drops"); !dropped.empty()) out += "\n            dropped: " + dropped;
  if (const std::string gaps = counts_text(d, "gaps"); !gaps.empty()) out += "\n            on the path: " + gaps;
  return out + '\n';
}

/// "ESP", "AH, transport mode": tunnel mode goes without saying.
std::string ipsec_text(const json::object& o) {
  const std::string protocol = text_of(o, "protocol") == "ah" ? "AH" : "ESP";
  return text_of(o, "mode") == "transport" ? protocol + ", transport mode," : protocol;
}

std::string suite_text(const json::object& o, std::string_view protocol) {
  const std::string suite = text_of(o, "suite");
  return suite.empty() ? "suite not agreed yet" : fmt::format("{} {}", protocol, suite);
}

std::string ikev2_text(const json::object& sa) {
  return text_of(sa, "suite").empty() ? "IKEv2, suite not agreed yet" : suite_text(sa, "IKEv2");
}

/// Of one that is for one worker alone (RFC 9611).
std::string for_worker(const json::object& c) {
  const json::value* worker = c.if_contains("worker");
  return worker != nullptr && worker->is_number() ? fmt::format(", for worker {}", worker->to_number<unsigned>()) : std::string();
}

std::string child_text(const json::object& c) {
  const bool adopted = flag_of(c, "adopted");
  std::string out = fmt::format("    {}: {}, {}, {}{}{}\n", text_of(c, "child"), text_of(c, "state"),
                                adopted ? "of a former culvertd" : text_of(c, "role"),
                                adopted && text_of(c, "suite").empty() ? "suite unknown" : suite_text(c, ipsec_text(c)),
                                text_of(c, "encap") == "udp" ? " in UDP" : "", for_worker(c));
  out += fmt::format("        {} - {}{}\n", text_of(c, "local_ts"), text_of(c, "remote_ts"), vrf_text(c));
  out += fmt::format("        {}\n", lifetimes(c));
  out += direction_text("in", text_of(c, "spi_in"), c.at("in"));
  out += direction_text("out", text_of(c, "spi_out"), c.at("out"));
  return out;
}

/// Of the other family, beside the one that "virtual_address" has.
std::string second_address(const json::object& sa) {
  if (!sa.contains("virtual_addresses")) return {};
  const json::array& all = list_of(sa, "virtual_addresses");
  return all.size() == 2 && all[1].is_string() ? std::string(all[1].get_string()) : std::string();
}

/// "DNS 10.2.0.53, network 10.2.0.0/24"
std::string given_text(const json::object& sa) {
  std::string out;
  if (!sa.contains("given")) return out;
  for (const auto& [list, what] : {std::pair{"dns", "DNS "}, {"networks", "network "}})
    for (const auto& one : list_of(sa.at("given").as_object(), list))
      out += (out.empty() ? "" : ", ") + (what + std::string(one.as_string()));
  return out;
}

std::string render_list_sas(const json::object& result) {
  std::string out;
  if (!flag_of(result.at("dataplane").as_object(), "connected")) out += "The data plane is not attached, see `culvert log`.\n";
  for (const auto& value : list_of(result, "ike_sas")) {
    const json::object& sa = value.as_object();
    out += fmt::format("{} #{}: {}, {}, {}{}\n", text_of(sa, "connection"), count_of(sa, "id"), text_of(sa, "state"), text_of(sa, "role"),
                       of_ikev2(sa) ? ikev2_text(sa) : suite_text(sa, "IKEv1"), nat_text(sa.at("nat").as_object()));
    out += fmt::format("    {} [{}] - {} [{}]{}\n", text_of(sa, "local"), text_of(sa, "local_id"), text_of(sa, "remote"),
                       text_of(sa, "remote_id"), vrf_text(sa));
    std::string address = text_of(sa, "virtual_address");
    if (const std::string second = second_address(sa); !second.empty()) address += " and " + second;
    if (const std::string user = text_of(sa, "xauth_user"); !user.empty() || !address.empty())
      out += fmt::format("    {}{}{}\n", user.empty() ? "" : "user " + user, user.empty() || address.empty() ? "" : ", ",
                         address.empty() ? "" : "virtual address " + address);
    if (const std::string given = given_text(sa); !given.empty()) out += "    the peer gives us " + given + '\n';
    out += fmt::format("    SPIs {} {}, {}\n", text_of(sa, "initiator_spi"), text_of(sa, "responder_spi"), lifetimes(sa));
    if (can_move(sa)) {
      std::string others;
      for (const auto& one : list_of(sa, "peer_addresses")) others += (others.empty() ? "" : ", ") + std::string(one.as_string());
      out += "    can move (MOBIKE)" + (others.empty() ? "" : ", the peer is at " + others + ", too") + '\n';
    }
    if (can_sync(sa, "message_id_sync"))
      out += fmt::format("    message IDs{} can be set right (RFC 6311)\n",
                         can_sync(sa, "replay_counter_sync") ? " and sequence numbers" : "");
    if (const auto window = count_of(sa, "window"); window > 1)
      out += fmt::format("    the peer may have {} requests under way at once\n", window);
    std::string announced;
    for (const auto& vendor : list_of(sa, "vendor_ids")) announced += (announced.empty() ? "" : ", ") + std::string(vendor.as_string());
    if (!announced.empty()) out += fmt::format("    the peer announces {}\n", announced);
    for (const auto& child : list_of(sa, "children")) out += child_text(child.as_object());
  }
  for (const auto& value : list_of(result, "pairs_without_ike_sa")) {
    const json::object& lone = value.as_object();
    out += fmt::format("{}: no ISAKMP SA\n", text_of(lone, "connection"));
    for (const auto& child : list_of(lone, "children")) out += child_text(child.as_object());
  }
  const auto& orphans = list_of(result, "orphans");
  if (!orphans.empty()) out += "SAs of a former culvertd, in use until they are replaced:\n";
  for (const auto& value : orphans) {
    const json::object& o = value.as_object();
    out += fmt::format("    {}/{} {} {}  {}  {} - {}  {} packets  {}\n", text_of(o, "connection"), text_of(o, "child"),
                       text_of(o, "direction"), text_of(o, "spi"), text_of(o, "suite"), text_of(o, "local"), text_of(o, "remote"),
                       human_count(count_of(o, "packets")), human_bytes(count_of(o, "bytes")));
  }
  return out.empty() ? "There are no SAs.\n" : out;
}
}  // namespace

void add_list_sas(CLI::App& app, Call& call) {
  auto* command = app.add_subcommand("list-sas", "IKE and IPsec SAs, with their traffic");
  const auto connection = std::make_shared<std::string>();
  command->add_option("CONN", *connection, "of this connection only");
  command->callback([&call, connection] {
    call.request = {{"command", "list-sas"}, {"args", json::object{}}};
    if (!connection->empty()) call.request["args"].as_object()["connection"] = *connection;
    call.text = render_list_sas;
  });
}

}  // namespace culvert::control::cli
