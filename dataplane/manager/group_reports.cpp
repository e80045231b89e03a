#include "dataplane/manager/group_reports.hpp"

#include <algorithm>

namespace culvert::dp {

void GroupReports::joined(std::uint16_t interface, std::uint64_t now) {
  if (!interfaces_[interface].has(Family::V6)) return;
  report(interface, true);
  of_[interface].again_ns = now + kAgain;
}

void GroupReports::asked(std::uint16_t interface, const MldQuery& query, std::uint64_t now) {
  const auto groups = groups_heard(interfaces_[interface]);
  if (groups.empty() || (!query.group.is_unspecified() && std::ranges::find(groups, query.group) == groups.end())) return;
  Due& due = of_[interface];
  const std::uint64_t at = now + random_() % (std::uint64_t{query.delay_ms} + 1) * kMs;
  if (due.answer_ns == 0) due.v1 = query.v1;
  due.v1 |= query.v1;
  due.answer_ns = due.answer_ns == 0 ? at : std::min(due.answer_ns, at);
}

void GroupReports::tick(std::uint64_t now) {
  for (std::uint16_t i = 0; i < of_.size(); ++i) {
    Due& due = of_[i];
    if (due.again_ns != 0 && now >= due.again_ns) {
      due.again_ns = 0;
      report(i, true);
    }
    if (due.answer_ns == 0 || now < due.answer_ns) continue;
    due.answer_ns = 0;
    if (due.v1)
      report_v1(i);
    else
      report(i, false);
  }
}

void GroupReports::report(std::uint16_t interface, bool joined) {
  const auto groups = groups_heard(interfaces_[interface]);
  for (std::span<const IpAddress> rest(groups); !rest.empty(); rest = rest.subspan(std::min(rest.size(), kMldGroups)))
    send_(interface,
          [&](Packet& p) { return mld_report(p, interfaces_[interface], rest.first(std::min(rest.size(), kMldGroups)), joined); });
}

void GroupReports::report_v1(std::uint16_t interface) {
  for (const IpAddress& group : groups_heard(interfaces_[interface]))
    send_(interface, [&](Packet& p) { return mld_report_v1(p, interfaces_[interface], group); });
}

}  // namespace culvert::dp
