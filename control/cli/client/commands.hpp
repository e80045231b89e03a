// The client's commands: what each one asks, and how its result looks as text. One file a command beside this one.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

namespace culvert::control::cli {

/// What the command line chose.
struct Call {
  boost::json::object request;
  std::function<std::string(const boost::json::object& result)> text;       ///< of the reply's result
  std::function<std::string(const boost::json::object& event)> event_text;  ///< set: lines follow without end
  std::function<bool(const boost::json::object& event)> on_event;           ///< set: lines follow until it says false
  std::chrono::milliseconds timeout{10'000};
};

void add_list_certs(CLI::App& app, Call& call);
void add_list_conns(CLI::App& app, Call& call);
void add_list_sas(CLI::App& app, Call& call);
void add_list_pools(CLI::App& app, Call& call);
void add_initiate(CLI::App& app, Call& call);
void add_terminate(CLI::App& app, Call& call);
void add_redirect(CLI::App& app, Call& call);
void add_sync_counters(CLI::App& app, Call& call);
void add_rekey(CLI::App& app, Call& call);
void add_capture(CLI::App& app, Call& call);
void add_counters(CLI::App& app, Call& call);
void add_debug(CLI::App& app, Call& call);
void add_explain(CLI::App& app, Call& call);
void add_log(CLI::App& app, Call& call);
void add_trace(CLI::App& app, Call& call);
void add_trace_packet(CLI::App& app, Call& call);
void add_version(CLI::App& app, Call& call);

/// "CONN" or "CONN/CHILD" as the arguments `connection` and `child`.
boost::json::object target_args(const std::string& target);

}  // namespace culvert::control::cli
