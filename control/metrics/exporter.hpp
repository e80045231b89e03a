// The Prometheus endpoint: an HTTP server in threads of its own, which asks the event loop for the figures at each scrape.
// Owns the server. Touches nothing of the gateway from its threads: a scrape that the loop does not answer in time is empty.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace prometheus {
struct MetricFamily;
}

namespace culvert::control {

class Exporter {
 public:
  using Families = std::function<std::vector<prometheus::MetricFamily>()>;
  using Post = std::function<void(std::function<void()>)>;  ///< runs a function on the event loop, later

  /// Listens on `address` ("127.0.0.1:9464"). Throws std::runtime_error when it cannot.
  Exporter(const std::string& address, Post post, Families families);
  ~Exporter();
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::control
