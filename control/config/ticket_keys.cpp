#include "control/config/ticket_keys.hpp"

#include <algorithm>
#include <array>

#include <unistd.h>

#include "control/config/lasting.hpp"
#include "control/config/secret.hpp"

namespace culvert::control {

namespace {
constexpr const char* kName = "ticket-keys";
constexpr std::int64_t kAgain = 60;  // seconds after a failure: a stranger's ticket is a reason to write, and must not be one each time
constexpr std::size_t kKeyBytes = 32, kRecord = 4 + 8 + kKeyBytes;
}  // namespace

std::expected<TicketKeys, std::string> TicketKeys::open(std::string folder) {
  TicketKeys out;
  out.folder_ = std::move(folder);
  const std::string path = out.folder_ + "/" + kName;
  if (out.folder_.empty() || ::access(path.c_str(), F_OK) != 0) return out;
  const auto content = read_private_file(path, "the file of ticket keys", kMost * kRecord);
  if (!content) return std::unexpected(content.error());
  if (content->size() % kRecord != 0)
    return std::unexpected("the file of ticket keys " + path + " is none: when it is removed, another one is made");
  Reader r(content->view());
  while (r.remaining() != 0) {
    Record one;
    one.key.id = r.be<std::uint32_t>();
    one.made = static_cast<std::int64_t>(r.be<std::uint64_t>());
    one.key.key = SecretBytes(r.take(kKeyBytes));
    out.records_.push_back(std::move(one));
  }
  return out;
}

std::expected<void, std::string> TicketKeys::write() const {
  if (folder_.empty()) return {};
  SecretBytes content(static_cast<std::size_t>(std::ranges::count(records_, false, &Record::retired)) * kRecord);
  MutableByteView left = content.mutable_view();
  for (const Record& one : records_) {
    if (one.retired) continue;
    Writer head;
    head.be(one.key.id);
    head.be(static_cast<std::uint64_t>(one.made));
    std::ranges::copy(head.view(), left.begin());
    std::ranges::copy(one.key.key.view(), left.begin() + static_cast<std::ptrdiff_t>(head.size()));
    left = left.subspan(kRecord);
  }
  return replace_private_file(folder_, kName, content.view());
}

std::expected<std::vector<ike::TicketKey>, std::string> TicketKeys::all(std::int64_t now) {
  // A clock that was set back does not make keys of the future good for longer.
  const bool fresh = !records_.empty() && !records_.front().retired && records_.front().made <= now && now - records_.front().made < kInUse;
  if (!fresh) {
    if (failed_ && now >= *failed_ && now - *failed_ < kAgain) return std::vector<ike::TicketKey>{};
    auto next = records_;
    std::erase_if(next, [&](const Record& one) { return one.made > now || now - one.made >= kKept; });
    Record made{now, {0, SecretBytes(kKeyBytes)}};
    std::array<std::uint8_t, 4> id{};
    random_secret(id);
    made.key.id = Reader(id).be<std::uint32_t>();
    random_secret(made.key.key.mutable_view());
    next.insert(next.begin(), std::move(made));
    if (next.size() > kMost) next.resize(kMost);
    std::swap(records_, next);
    if (auto written = write(); !written) {
      std::swap(records_, next);
      failed_ = now;
      return std::unexpected(std::move(written.error()));
    }
    failed_.reset();
  }
  std::vector<ike::TicketKey> out;
  for (const Record& one : records_) out.push_back(one.key);
  return out;
}

std::expected<void, std::string> TicketKeys::retire() {
  for (Record& one : records_) one.retired = true;
  return write();
}

}  // namespace culvert::control
