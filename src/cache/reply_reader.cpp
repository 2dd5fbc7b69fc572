#include "cache/reply_reader.hpp"

#include <exception>
#include <new>
#include <string>
#include <utility>

#include <hiredis/hiredis.h>

#include <soundhash/db/core/error.hpp>

#include "cache/link_error.hpp"

namespace soundhash::db::redis {
namespace {

reply::kind kind_of(int type) noexcept {
  switch (type) {
    case REDIS_REPLY_STATUS:
      return reply::kind::status;
    case REDIS_REPLY_ERROR:
      return reply::kind::error;
    default:
      return reply::kind::text;
  }
}

bool is_text(int type) noexcept {
  return type == REDIS_REPLY_STRING || type == REDIS_REPLY_STATUS || type == REDIS_REPLY_ERROR;
}

/// EXEC answers with MGET's arrays two levels deep; hiredis 0.14 itself stops at seven.
constexpr int deepest = 7;

int depth_of(const redisReadTask* task) noexcept {
  int depth = 1;
  while ((task = task->parent) != nullptr) ++depth;
  return depth;
}

constexpr const char* of_resp_3 = "a type of RESP 3, which nobody asked for";

}  // namespace

/// The answer that is being read, and what hiredis calls for each value of it: nullptr makes
/// hiredis give up, and no exception may pass through it. Elements are added as they come, so the
/// one that is being filled is always the last of its array, and pointers to it hold.
struct reply_reader::under_way {
  explicit under_way(reply_limits given) : limits{given} {}

  void begin() {
    root = {};
    bytes = elements = 0;
  }

  template <class Fill>
  static void* add(const redisReadTask* task, Fill fill) noexcept {
    auto& self = *static_cast<under_way*>(task->privdata);
    try {
      reply* const place = self.place_of(*task);
      if (place != nullptr) fill(*place);
      return place;
    } catch (const std::bad_alloc&) {
      self.problem = "out of memory";
      return nullptr;
    }
  }

  static void* add_text(const redisReadTask* task, char* text, std::size_t size) noexcept {
    auto& self = *static_cast<under_way*>(task->privdata);
    if (!is_text(task->type)) return self.refused(of_resp_3);
    self.bytes += size;
    if (self.bytes > self.limits.total_bytes) return self.refused("an answer of too many bytes");
    return add(task, [&](reply& place) {
      place.what = kind_of(task->type);
      place.text.assign(text, size);
    });
  }
  /// hiredis 1 takes any depth, and gives maps, sets and pushes of RESP 3 as arrays.
  template <class Count>  // int in hiredis 0.14, size_t in 1
  static void* add_array(const redisReadTask* task, Count) noexcept {
    auto& self = *static_cast<under_way*>(task->privdata);
    if (task->type != REDIS_REPLY_ARRAY) return self.refused(of_resp_3);
    if (depth_of(task) > deepest) return self.refused("an answer of too many levels");
    return add(task, [](reply& place) { place.what = reply::kind::array; });
  }
  static void* add_integer(const redisReadTask* task, long long value) noexcept {
    return add(task, [&](reply& place) {
      place.what = reply::kind::integer;
      place.integer = value;
    });
  }
  static void* add_nil(const redisReadTask* task) noexcept {
    return add(task, [](reply&) {});
  }
  static void free_nothing(void*) noexcept {}

  static redisReplyObjectFunctions* functions() {
    static auto made = [] {
      redisReplyObjectFunctions all{};
      all.createString = &add_text;
      all.createArray = &add_array;
      all.createInteger = &add_integer;
      all.createNil = &add_nil;
      all.freeObject = &free_nothing;
#if HIREDIS_MAJOR >= 1
      all.createDouble = [](const redisReadTask* task, double, char*, std::size_t) -> void* {
        return static_cast<under_way*>(task->privdata)->refused(of_resp_3);
      };
      all.createBool = [](const redisReadTask* task, int) -> void* {
        return static_cast<under_way*>(task->privdata)->refused(of_resp_3);
      };
#endif
      return all;
    }();
    return &made;
  }

  /// Where the value that hiredis has just read belongs; nullptr: too many.
  reply* place_of(const redisReadTask& task) {
    if (task.parent == nullptr) return &root;
    if (++elements > limits.elements) return refused("an answer of too many elements");
    return &static_cast<reply*>(task.parent->obj)->items.emplace_back();
  }

  reply* refused(const char* why) noexcept {
    problem = why;
    return nullptr;
  }

  const reply_limits limits;
  reply root;
  std::size_t bytes = 0;
  std::size_t elements = 0;
  const char* problem = nullptr;
};

void reply_reader::freed::operator()(redisReader* reader) const noexcept {
  redisReaderFree(reader);
}

reply_reader::reply_reader(reply_limits limits)
    : under_way_{std::make_unique<under_way>(limits)},
      reader_{redisReaderCreateWithFunctions(under_way::functions())} {
  if (!reader_) throw std::bad_alloc{};
  reader_->privdata = under_way_.get();
}

reply_reader::~reply_reader() = default;

void reply_reader::feed(std::string_view bytes) {
  redisReaderFeed(reader_.get(), bytes.data(), bytes.size());  // a failure shows in next()
}

std::optional<reply> reply_reader::next() {
  void* complete = nullptr;
  if (redisReaderGetReply(reader_.get(), &complete) != REDIS_OK) refuse();
  if (complete != nullptr) {
    std::optional<reply> taken{std::move(under_way_->root)};
    under_way_->begin();
    return taken;
  }
  // Complete values have been taken out of the buffer; what is left is one value's beginning.
  if (reader_->len - reader_->pos > under_way_->limits.text_bytes) {
    under_way_->problem = "a text of too many bytes";
    refuse();
  }
  return std::nullopt;
}

void reply_reader::refuse() const {
  throw link_error{"broken answer: " + (under_way_->problem != nullptr
                                            ? under_way_->problem
                                            : sanitize(reader_->errstr, sizeof reader_->errstr))};
}

}  // namespace soundhash::db::redis
