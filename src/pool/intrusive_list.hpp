#pragma once

#include <cstddef>

namespace soundhash::db {

/// A doubly linked list through members `T* previous` and `T* next`; an element is in one list at
/// most. Allocates nothing and owns nothing.
/// Thread safety: one thread at a time.
template <class T>
class intrusive_list {
 public:
  intrusive_list() = default;
  intrusive_list(const intrusive_list&) = delete;
  intrusive_list& operator=(const intrusive_list&) = delete;

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] T* front() const noexcept { return front_; }
  [[nodiscard]] T* back() const noexcept { return back_; }

  void push_back(T& element) noexcept { link(back_, element, nullptr); }
  /// `position` is in the list.
  void insert_before(T& position, T& element) noexcept {
    link(position.previous, element, &position);
  }

  void erase(T& element) noexcept {
    (element.previous ? element.previous->next : front_) = element.next;
    (element.next ? element.next->previous : back_) = element.previous;
    element.previous = element.next = nullptr;
    --size_;
  }

  /// Takes the first out; nullptr when empty.
  T* pop_front() noexcept {
    T* const first = front_;
    if (first) erase(*first);
    return first;
  }

 private:
  void link(T* before, T& element, T* after) noexcept {
    element.previous = before;
    element.next = after;
    (before ? before->next : front_) = &element;
    (after ? after->previous : back_) = &element;
    ++size_;
  }

  T* front_ = nullptr;
  T* back_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace soundhash::db
