// Fuzzes IKE's fragments: parsing, putting together in whatever order and number, and cutting.
//   input: records: time (1 byte, seconds), source (1 byte), length (1 byte), body of a fragment payload; and the whole as a message to
//   cut. The same records are parts of IKEv2's messages, behind their seal: source: message and exchange; body: number, total, chain.
// What comes out is never longer than its bound, stays within what was put in, and what is cut comes together again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "control/ikev1/fragments.hpp"
#include "control/ikev2/fragments.hpp"

namespace {

using namespace culvert;
using namespace culvert::ikev1;

void require(bool condition) {
  if (!condition) std::abort();
}

void put_together(Reader in) {
  FragmentSet set;
  FirstFragments strangers;
  ike::TimePoint now{};
  std::size_t taken = 0;
  while (in.ok() && in.remaining() > 3) {
    now += std::chrono::seconds(in.be<std::uint8_t>() % 16);
    const std::uint32_t source = in.be<std::uint8_t>();
    const ByteView body = in.take(std::min<std::size_t>(in.be<std::uint8_t>(), in.remaining()));
    const auto fragment = parse_fragment(body);
    set.expire(now);
    if (!fragment) continue;
    require(fragment->number >= 1 && !fragment->data.empty());
    taken += fragment->data.size();
    if (const auto whole = set.add(now, *fragment); whole && *whole) {
      require((*whole)->size() <= kMaxReassembled && (*whole)->size() <= taken);
      require(!set.deadline());
    }
    const auto other = strangers.add(now, {IpAddress::v4(0x0a000000 + source % 8), 500}, IkeSpi{source + 1U}, *fragment);
    if (other && *other) require((*other)->size() <= kMaxReassembled);
    require(strangers.size() <= kMaxFirstSets);
  }
}

void put_together_v2(Reader in) {
  ikev2::Fragments set;
  ike::TimePoint now{};
  std::size_t taken = 0;
  while (in.ok() && in.remaining() > 3) {
    now += std::chrono::seconds(in.be<std::uint8_t>() % 16);
    const std::uint8_t source = in.be<std::uint8_t>();
    Reader body(in.take(std::min<std::size_t>(in.be<std::uint8_t>(), in.remaining())));
    ikev2::Opened part;
    part.place = {body.be<std::uint8_t>(), body.be<std::uint8_t>()};
    const ByteView chain = body.take(body.remaining());
    if (!body.ok() || part.place.number == 0 || part.place.number > part.place.total) continue;  // Cipher::open refuses these
    part.chain.assign(chain.begin(), chain.end());
    taken += chain.size();
    const auto whole = set.add(now, {source % 4U, static_cast<std::uint8_t>(35 + source % 3)}, std::move(part));
    require(set.bytes() <= ikev2::kMaxReassembled && set.bytes() <= taken);
    if (whole && *whole) require((*whole)->chain.size() <= taken && !set.deadline());
  }
}

void cut(ByteView message) {
  const auto pieces = cut_message(message, 200, 7);
  if (pieces.empty()) return;
  require(pieces.size() <= kMaxFragments);
  FragmentSet set;
  std::optional<Bytes> whole;
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {  // the last one first
    require(piece->size() <= 200);
    const auto framed = ike::parse_header(*piece);
    require(framed && framed->header.next_payload == kFragmentPayload);
    const auto fragment = parse_fragment(framed->body);
    require(fragment.has_value());
    const auto added = set.add({}, *fragment);
    require(added.has_value());
    whole = *added;
  }
  require(whole && std::ranges::equal(*whole, message));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  put_together(Reader(input));
  put_together_v2(Reader(input));
  if (ike::parse_header(input)) cut(input);
  return 0;
}
