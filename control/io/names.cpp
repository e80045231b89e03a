#include "control/io/names.hpp"

#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>

namespace culvert::control::io {

namespace asio = boost::asio;

Names::Names(asio::io_context& context, Lookup lookup, Failed failed)
    : context_(context), lookup_(std::move(lookup)), failed_(std::move(failed)) {}
Names::~Names() {
  pool_.stop();  // what has not begun is not begun
  pool_.join();
}

Names::Addresses Names::ask_system(const std::string& host) {
  asio::io_context context;
  boost::system::error_code error;
  const auto found = asio::ip::tcp::resolver(context).resolve(host, "", error);
  if (error) return std::unexpected("its name cannot be resolved: " + error.message());
  std::vector<asio::ip::address> out;
  for (const auto& entry : found) out.push_back(entry.endpoint().address());
  return out;
}

void Names::resolve(const std::string& host, std::function<void(Addresses)> done) {
  const auto answer = [&](Addresses addresses) {
    asio::post(context_, [done = std::move(done), addresses = std::move(addresses)] { done(addresses); });
  };
  boost::system::error_code error;
  if (const auto address = asio::ip::make_address(host, error); !error) return answer(std::vector{address});
  const auto now = Clock::now();
  if (names_.size() >= kMaxNames && !names_.contains(host)) {
    std::erase_if(names_, [](const auto& entry) { return !entry.second.busy; });
    if (names_.size() >= kMaxNames) return answer(std::unexpected("too many names are being looked up already"));
  }
  Name& name = names_[host];
  if (name.busy && now - name.since > kPatience) return answer(std::unexpected("its name is still being looked up"));
  if (!name.busy && now < name.until) return answer(name.known);
  name.waiting.push_back(std::move(done));
  if (std::exchange(name.busy, true)) return;
  name.since = now;
  asio::post(pool_, [this, host] {
    try {
      asio::post(context_, [this, host, addresses = lookup_(host)] { learnt(host, addresses); });
    } catch (...) {
      if (!failed_) throw;
      failed_(std::current_exception());
    }
  });
}

void Names::learnt(const std::string& host, const Addresses& addresses) {
  Name& name = names_.at(host);
  const auto now = Clock::now();
  name.busy = false;
  name.known = addresses;
  name.until = now + (now - name.since > kPatience ? kBadHolds : kHolds);
  for (const auto& done : std::exchange(name.waiting, {})) done(addresses);
}

}  // namespace culvert::control::io
