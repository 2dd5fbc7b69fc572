#pragma once

#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace soundhash::db {

/// What must happen to a tag in Redis.
enum class tag_act : std::uint8_t {
  drop,    ///< its stamp goes
  mark,    ///< its stamp gives way to the mark of a change that is announced or in doubt
  settle,  ///< the mark of that change goes, and its stamp
};

/// One act on one tag, by the text of the tag ("*" is the global one).
struct tag_order {
  std::string tag;
  tag_act act = tag_act::drop;
  std::uint64_t change = 0;  ///< whose mark; 0 for a drop

  friend auto operator<=>(const tag_order&, const tag_order&) = default;
};

/// Orders that Redis has not acknowledged yet: being sent, or failed. While a tag is here, this
/// process neither believes Redis about it nor fills what carries it. Beyond `most`, the global tag
/// stands for all.
/// Thread safety: safe for concurrent use. Asking whether there are any costs a load.
class undelivered_tags {
 public:
  static constexpr std::size_t most = 10'000;
  static constexpr std::string_view global = "*";

  /// Some orders that somebody sends now.
  class parcel {
   public:
    [[nodiscard]] const std::vector<tag_order>& orders() const noexcept { return orders_; }
    [[nodiscard]] bool empty() const noexcept { return orders_.empty(); }

   private:
    friend class undelivered_tags;
    std::vector<tag_order> orders_;
    std::vector<std::uint64_t> numbers_;
  };

  /// Takes orders in, to be sent by the caller. A settlement replaces the mark of its change.
  [[nodiscard]] parcel add(std::vector<tag_order> orders);
  /// Up to `limit` of those that failed, to be sent by the caller.
  [[nodiscard]] parcel take_failed(std::size_t limit);
  /// Redis did all of them.
  void delivered(const parcel& sent) noexcept;
  /// It is not known whether Redis did any.
  void failed(const parcel& sent) noexcept;
  /// No memory for orders: the global tag must go.
  void lose() noexcept;

  [[nodiscard]] bool empty() const noexcept { return count_.load(std::memory_order_acquire) == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return count_.load(std::memory_order_acquire); }
  [[nodiscard]] bool hold(std::span<const std::string_view> tags) const;

 private:
  struct state {
    std::uint64_t number = 0;  ///< of the last time it was added
    bool sending = false;
  };

  [[nodiscard]] bool holds(std::string_view tag) const;
  void put(tag_order order, parcel& into);
  void overflow();
  void recount() noexcept;

  mutable std::mutex mutex_;
  std::map<tag_order, state> orders_;
  bool lost_ = false;  // all, with no room to say so
  std::uint64_t last_number_ = 0;
  std::atomic<std::size_t> count_{0};
};

}  // namespace soundhash::db
