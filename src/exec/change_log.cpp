#include "exec/change_log.hpp"

#include <utility>

namespace soundhash::db {

change_log::change_log(std::shared_ptr<tag_listener> listener) noexcept
    : listener_{std::move(listener)}, changed_{no_rows()} {}

tag_set change_log::no_rows() const noexcept {
  return tag_set{listener_ ? tag_set::mode::write : tag_set::mode::ignore};
}

void change_log::add(std::string_view table, const tag_set& rows) {
  changed_.add_any(table);
  changed_.add(rows);
}

bool change_log::announce() noexcept {
  if (!is_heard() || !listener_->strict()) return true;
  announced_ = listener_->announce(changed_);
  return announced_;
}

void change_log::committed() const noexcept {
  if (is_heard()) listener_->committed(changed_);
}

void change_log::in_doubt() const noexcept {
  if (is_heard()) listener_->in_doubt(changed_);
}

void change_log::rolled_back() noexcept {
  if (std::exchange(announced_, false)) listener_->rolled_back(changed_);
}

}  // namespace soundhash::db
