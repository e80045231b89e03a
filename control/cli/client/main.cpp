// culvert: the operator's command. Asks culvertd over its Unix socket, prints the answer as text or as JSON.
// Exit codes: 0 done, 1 culvertd refused or it failed, 2 wrong usage, 3 culvertd cannot be reached.
#include <cstdlib>
#include <iostream>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/connection.hpp"
#include "control/cli/client/text.hpp"
#include "control/cli/protocol.hpp"

namespace {

using namespace culvert::control::cli;

enum Exit : int { kDone = 0, kFailed = 1, kUsage = 2, kUnreachable = 3 };

bool is_ok(const boost::json::object& reply) {
  const auto* ok = reply.if_contains("ok");
  return ok != nullptr && ok->is_bool() && ok->get_bool();
}

int fail(const boost::json::object& reply, bool as_json) {
  const auto* error = reply.if_contains("error");
  if (error == nullptr || !error->is_object()) throw std::runtime_error("culvertd answered without a reason");
  if (as_json) std::cout << boost::json::serialize(reply) << '\n';
  std::cerr << "culvert: " << text_of(error->get_object(), "message") << '\n';
  return kFailed;
}

/// Lines until culvertd ends or the operator interrupts.
int follow(Connection& connection, const Call& call, bool as_json) {
  for (;;) {
    const auto line = connection.receive(std::chrono::milliseconds(0));
    if (!line) {
      std::cerr << "culvert: " << line.error() << '\n';
      return kUnreachable;
    }
    if (!is_ok(*line)) return fail(*line, as_json);
    const auto* event = line->if_contains("event");
    if (event == nullptr || !event->is_object()) throw std::runtime_error("culvertd sent a line without an event");
    if (call.on_event) {
      const boost::json::object& said = event->get_object();
      if (as_json) std::cout << boost::json::serialize(said) << std::endl;
      if (as_json ? said.contains("end") : !call.on_event(said)) return kDone;
      continue;
    }
    std::cout << (as_json ? boost::json::serialize(*event) : call.event_text(event->get_object())) << std::endl;
  }
}

int ask(const std::string& socket, const Call& call, bool as_json) {
  auto connection = Connection::open(socket);
  const auto unreachable = [](const std::string& why) {
    std::cerr << "culvert: " << why << '\n';
    return kUnreachable;
  };
  if (!connection) return unreachable(connection.error());
  if (const auto sent = connection->send(call.request); !sent) return unreachable(sent.error());
  if (call.event_text || call.on_event) return follow(*connection, call, as_json);
  const auto reply = connection->receive(call.timeout);
  if (!reply) return unreachable(reply.error());
  if (!is_ok(*reply)) return fail(*reply, as_json);
  const auto* result = reply->if_contains("result");
  if (result == nullptr || !result->is_object()) throw std::runtime_error("culvertd answered without a result");
  if (as_json) {
    std::cout << boost::json::serialize(*result) << '\n';
  } else {
    std::cout << call.text(result->get_object());
  }
  return kDone;
}

}  // namespace

int main(int argc, char** argv) {
  std::string socket = kDefaultSocket, output = "text";
  Call call;
  CLI::App app{"culvert: what the gateway does, and how to tell it otherwise", "culvert"};
  app.footer("Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 culvertd cannot be reached.");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--socket", socket, "culvertd's socket (control.socket)")->envname("CULVERT_SOCKET")->capture_default_str();
  app.add_option("-o,--output", output, "text, or json for scripts")->check(CLI::IsMember({"text", "json"}));
  add_list_conns(app, call);
  add_list_sas(app, call);
  add_list_pools(app, call);
  add_list_certs(app, call);
  add_initiate(app, call);
  add_terminate(app, call);
  add_redirect(app, call);
  add_sync_counters(app, call);
  add_rekey(app, call);
  add_capture(app, call);
  add_counters(app, call);
  add_debug(app, call);
  add_explain(app, call);
  add_log(app, call);
  add_trace(app, call);
  add_trace_packet(app, call);
  add_version(app, call);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kDone : kUsage;
  }
  try {
    return ask(socket, call, output == "json");
  } catch (const std::exception& e) {
    std::cerr << "culvert: " << e.what() << '\n';
    return kFailed;
  }
}
