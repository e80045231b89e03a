#include "control/metrics/exporter.hpp"

#include <chrono>
#include <future>
#include <stdexcept>
#include <utility>

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>

namespace culvert::control {

namespace {
constexpr std::chrono::seconds kLoopTimeout{3};  // Prometheus' own scrape timeout is 10 s by default

class LoopCollectable final : public prometheus::Collectable {
 public:
  LoopCollectable(Exporter::Post post, Exporter::Families families) : post_(std::move(post)), families_(std::move(families)) {}
  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override {
    // Shared, since the loop may answer after we stopped waiting.
    const auto promise = std::make_shared<std::promise<std::vector<prometheus::MetricFamily>>>();
    auto answer = promise->get_future();
    post_([promise, families = families_] { promise->set_value(families()); });
    if (answer.wait_for(kLoopTimeout) != std::future_status::ready) return {};
    return answer.get();
  }

 private:
  Exporter::Post post_;
  Exporter::Families families_;
};
}  // namespace

struct Exporter::Impl {
  std::shared_ptr<LoopCollectable> collectable;
  prometheus::Exposer exposer;
};

Exporter::Exporter(const std::string& address, Post post, Families families) {
  auto collectable = std::make_shared<LoopCollectable>(std::move(post), std::move(families));
  try {
    // Slow clients hold a thread for request_timeout_ms at most; they never hold the loop.
    impl_ = std::unique_ptr<Impl>(new Impl{
        collectable, prometheus::Exposer(std::vector<std::string>{"listening_ports", address, "num_threads", "4", "request_timeout_ms",
                                                                  "5000", "keep_alive_timeout_ms", "1000"})});
  } catch (const std::exception& e) {
    throw std::runtime_error("cannot serve metrics on " + address + " (control.metrics.listen): " + e.what());
  }
  impl_->exposer.RegisterCollectable(impl_->collectable);
}

Exporter::~Exporter() = default;

}  // namespace culvert::control
