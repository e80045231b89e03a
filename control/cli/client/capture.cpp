// `culvert capture`: a tunnel's packets into a pcapng file, to standard output for a reader of such files, or as lines to look at.
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "common/bytes.hpp"
#include "common/net/ip.hpp"
#include "control/cli/client/commands.hpp"
#include "control/cli/client/pcapng.hpp"
#include "control/cli/client/text.hpp"
#include "control/cli/protocol.hpp"

namespace culvert::control::cli {

namespace {
namespace json = boost::json;

Bytes data_of(const json::object& packet) {
  auto data = from_hex(text_of(packet, "data"));
  if (!data) throw std::runtime_error("culvertd sent a packet that is not hexadecimal");
  return *std::move(data);
}
std::string tunnel_of(const json::object& p) {
  const std::string connection = text_of(p, "connection");
  return connection.empty() ? "unknown" : connection + "/" + text_of(p, "child");
}
std::string comment_of(const json::object& p) {
  return fmt::format("{} {}bound SA {}, {} packet, worker {} number {}", tunnel_of(p), text_of(p, "direction"), text_of(p, "spi"),
                     text_of(p, "layer"), count_of(p, "worker"), count_of(p, "number"));
}

/// "10.1.0.5 > 10.2.0.5 protocol 17".
std::string flow_of(ByteView data) {
  const unsigned version = data.empty() ? 0 : data[0] >> 4;
  const std::size_t header = version == 4 ? 20 : 40, size = version == 4 ? 4 : 16;
  if ((version != 4 && version != 6) || data.size() < header) return "not an IP header";
  const auto address = [&](std::size_t at) { return IpAddress::from_bytes(data.subspan(at, size))->to_string(); };
  const std::size_t source = version == 4 ? 12 : 8;
  return fmt::format("{} > {} protocol {}", address(source), address(source + size), data[version == 4 ? 9 : 6]);
}

std::string line_of(const json::object& p) {
  return fmt::format("{} {:<3} {} {}: {}, {} bytes\n", time_text(count_of(p, "time_ns")), text_of(p, "direction"), text_of(p, "layer"),
                     tunnel_of(p), flow_of(data_of(p)), count_of(p, "length"));
}

/// Where the packets go: lines on standard output, or a pcapng file.
class Sink {
 public:
  explicit Sink(const std::string& path) {
    if (path.empty()) return;
    if (path != "-") {
      // Its owner's alone: inner packets are in clear.
      const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
      if (fd < 0) throw std::runtime_error(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
      ::close(fd);
      file_.open(path, std::ios::binary);
    }
    writer_.emplace(path == "-" ? static_cast<std::ostream&>(std::cout) : file_);
  }
  void packet(const json::object& p) {
    if (!writer_) {
      std::cout << line_of(p) << std::flush;
      return;
    }
    const Bytes data = data_of(p);
    const std::string port = text_of(p, "port");
    writer_->write({.interface = text_of(p, "layer") == "outer" ? (port.empty() ? "unknown" : port) : tunnel_of(p),
                    .time_ns = count_of(p, "time_ns"),
                    .inbound = text_of(p, "direction") == "in",
                    .length = static_cast<std::uint32_t>(count_of(p, "length")),
                    .data = data,
                    .comment = comment_of(p)});
    if (!writer_->good()) throw std::runtime_error("cannot write any further");
  }
  static void end(const json::object& e) {
    const std::uint64_t missed = count_of(e, "missed");
    std::cerr << fmt::format("{} copies{}\n", human_count(count_of(e, "copies")),
                             missed == 0 ? "" : fmt::format(", {} more had no room: --sample takes fewer", human_count(missed)));
  }

 private:
  std::ofstream file_;
  std::optional<PcapngWriter> writer_;
};
}  // namespace

void add_capture(CLI::App& app, Call& call) {
  struct Options {
    std::string target, write;
    bool outer = false, inner = false, both = false;
    double count = kDefaultCopies, bytes = 2000, sample = 1, seconds = kDefaultCapture;
    std::shared_ptr<Sink> sink;
  };
  const auto o = std::make_shared<Options>();
  auto* command =
      app.add_subcommand("capture",
                         "packets of a tunnel as pcapng: as on the wire, and as inside of it. The inner ones are in clear: whoever "
                         "may use culvertd's socket may read them");
  command->add_option("target", o->target, "CONNECTION or CONNECTION/CHILD")->required();
  auto* outer = command->add_flag("--outer", o->outer, "as on the wire");
  auto* inner = command->add_flag("--inner", o->inner, "as inside of the tunnel");
  command->add_flag("--both", o->both, "both (the default)")->excludes(outer)->excludes(inner);
  command->add_option("--count", o->count, "copies, then it ends")->check(CLI::Range(1.0, kMaxCopies))->capture_default_str();
  command->add_option("--bytes", o->bytes, "of each packet, from its IP header on")->check(CLI::Range(1, 2000))->capture_default_str();
  command->add_option("--sample", o->sample, "one packet in so many")->check(CLI::Range(1.0, 1e9))->capture_default_str();
  const std::map<std::string, double> units{{"s", 1}, {"m", 60}, {"h", 3600}};
  command->add_option("--for", o->seconds, "how long at most: 30s, 1m (the default), 1h")
      ->transform(CLI::AsNumberWithUnit(units, CLI::AsNumberWithUnit::CASE_SENSITIVE));
  command->add_option("-w,--write", o->write, "this pcapng file, mode 0600; - is standard output, as for `| tshark -r -`");
  command->callback([&call, o] {
    json::object args = target_args(o->target);
    args["outer"] = o->outer || o->both;
    args["inner"] = o->inner || o->both;
    args["count"] = o->count;
    args["bytes"] = o->bytes;
    args["every"] = o->sample;
    args["for_s"] = o->seconds;
    call.request = {{"command", "capture"}, {"args", std::move(args)}};
    call.on_event = [o](const json::object& event) {
      if (!o->sink) o->sink = std::make_shared<Sink>(o->write);
      if (const auto* end = event.if_contains("end")) return Sink::end(end->as_object()), false;
      if (const auto* packet = event.if_contains("packet")) o->sink->packet(packet->as_object());
      return true;
    };
  });
}

}  // namespace culvert::control::cli
