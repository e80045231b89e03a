// Chained, shared and borrowed buffers: copied into one of our own, byte for byte, or left as they are (attack J11).
#include "dataplane/io/linear.hpp"

#include "dataplane/io/buffers.hpp"
#include "tests/dataplane/platform/tables.hpp"

namespace culvert::dp {

namespace {
std::size_t in_use(rte_mempool* pool) { return rte_mempool_in_use_count(pool); }

/// A buffer keeps what length it was given.
rte_mbuf* whole_room(rte_mbuf* m) {
  for (rte_mbuf* piece = m; piece != nullptr; piece = piece->next) piece->buf_len = rte_pktmbuf_data_room_size(piece->pool);
  return m;
}
/// A packet of these segments; each has `headroom` before it and nothing behind it.
rte_mbuf* chain(rte_mempool* pool, const std::vector<std::size_t>& segments, std::uint16_t headroom, Bytes& content) {
  rte_mbuf* first = nullptr;
  for (const std::size_t size : segments) {
    rte_mbuf* m = rte_pktmbuf_alloc(pool);
    REQUIRE(m != nullptr);
    whole_room(m);
    m->data_off = headroom;
    m->buf_len = static_cast<std::uint16_t>(headroom + size);
    auto* at = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(m, static_cast<std::uint16_t>(size)));
    for (std::size_t i = 0; i < size; ++i) content.push_back(at[i] = static_cast<std::uint8_t>(content.size() * 7 + 3));
    if (first == nullptr) {
      first = m;
    } else {
      REQUIRE(rte_pktmbuf_chain(first, m) == 0);
    }
  }
  first->port = 3;
  return first;
}
Bytes bytes_of(const rte_mbuf* m) {
  const auto* at = rte_pktmbuf_mtod(m, const std::uint8_t*);
  return {at, at + m->data_len};
}
}  // namespace

TEST_CASE("buffers in several pieces become one", "[port][attack-J11]") {
  need_eal();
  static const auto from = BufferPool::create("pieces", 127, 1500), into = BufferPool::create("linear", 127, 1500);
  REQUIRE((from && into));
  const std::uint16_t usual_room = 128;
  for (const auto& segments :
       std::vector<std::vector<std::size_t>>{{1}, {1, 1}, std::vector<std::size_t>(16, 1), {64, 1, 700}, {1, 1499}, {1500}})
    for (const std::uint16_t headroom : {std::uint16_t{0}, std::uint16_t{1}, usual_room}) {
      Bytes content;
      rte_mbuf* m = chain((*from)->raw(), segments, headroom, content);
      CHECK(is_own_and_linear(m) == (segments.size() == 1));
      rte_mbuf* copy = own_copy(m, (*into)->raw());
      REQUIRE(copy != nullptr);
      CHECK(bytes_of(copy) == content);
      CHECK(is_own_and_linear(copy));
      CHECK(copy->port == 3);
      CHECK(rte_pktmbuf_headroom(copy) == usual_room);  // for what ESP puts in front
      CHECK(rte_pktmbuf_tailroom(copy) >= 64);
      rte_pktmbuf_free(copy);
    }
  CHECK(in_use((*into)->raw()) == 0);
}

TEST_CASE("what others hold stays untouched", "[port][attack-J11]") {
  need_eal();
  static const auto pool = BufferPool::create("shared", 127, 1500);
  REQUIRE(pool);
  rte_mempool* raw = (*pool)->raw();
  Bytes content;
  rte_mbuf* theirs = whole_room(chain(raw, {300}, 128, content));
  rte_mbuf* clone = rte_pktmbuf_clone(theirs, raw);
  REQUIRE(clone != nullptr);
  CHECK_FALSE(is_own_and_linear(clone));
  CHECK_FALSE(is_own_and_linear(theirs));
  rte_mbuf* copy = own_copy(clone, raw);
  REQUIRE(copy != nullptr);
  std::memset(rte_pktmbuf_mtod(copy, void*), 0, 300);
  CHECK(bytes_of(theirs) == content);
  CHECK(is_own_and_linear(theirs));
  rte_mbuf_refcnt_update(theirs, 1);
  CHECK_FALSE(is_own_and_linear(theirs));
  rte_mbuf* mine = own_copy(theirs, raw);
  REQUIRE(mine != nullptr);
  CHECK(bytes_of(mine) == content);
  CHECK(bytes_of(theirs) == content);
  for (rte_mbuf* m : {theirs, copy, mine}) rte_pktmbuf_free(m);
  CHECK(in_use(raw) == 0);
}

TEST_CASE("what fits into no buffer stays as it is", "[port][attack-J11]") {
  need_eal();
  static const auto pool = BufferPool::create("toolong", 127, 1500);
  REQUIRE(pool);
  rte_mempool* raw = (*pool)->raw();
  Bytes content;
  rte_mbuf* m = whole_room(chain(raw, {1500, 1500}, 0, content));
  CHECK(own_copy(m, raw) == nullptr);
  CHECK(m->pkt_len == 3000);
  rte_pktmbuf_free(m);
  CHECK(in_use(raw) == 0);
}

}  // namespace culvert::dp
