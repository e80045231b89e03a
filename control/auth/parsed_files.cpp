#include "control/auth/parsed_files.hpp"

namespace culvert::control::auth {

/// What was kept, or what the file holds now. One that changes while it is read has another stamp afterwards.
template <class T, class Read>
T ParsedFiles::look_up(Table<T>& table, const std::string& path, std::size_t max, Read read) {
  const std::lock_guard lock(table.mutex);
  const Stamp now = stamps({path}).front();
  if (const auto it = table.entries.find(path); it != table.entries.end() && it->second.stamp == now) return it->second.value;
  const auto content = read_file(path, max);
  if (!content) return std::unexpected(content.error());  // may be over before the file changes
  T value = read(*content);
  if (!value) value = std::unexpected(printable(as_bytes(path), 256) + ": " + value.error());
  return table.entries.insert_or_assign(path, typename Table<T>::Entry{now, std::move(value)}).first->second.value;
}

ParsedFiles::Certificates ParsedFiles::certificates(const std::string& path) {
  return look_up(certificates_, path, crypto::kMaxCertificateFile, crypto::Certificate::read);
}
ParsedFiles::List ParsedFiles::list(const std::string& path) {
  return look_up(lists_, path, crypto::kMaxList, crypto::RevocationList::read);
}

}  // namespace culvert::control::auth
